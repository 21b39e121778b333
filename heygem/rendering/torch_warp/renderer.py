"""The warp renderer with its pixels drawn on a device, several frames at once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from heygem.avatar.avatar import Avatar
from heygem.config.params import RendererSettings
from heygem.core.device_batches import DeviceBatches
from heygem.core.types import Image
from heygem.media.yuv import YuvImage
from heygem.rendering.base import Patch
from heygem.rendering.torch_warp.draw import draw
from heygem.rendering.torch_warp.windows import Pictures
from heygem.rendering.warp.geometry import FrameGeometry
from heygem.rendering.warp.renderer import FULL_STRENGTH, WarpRenderer

GEOMETRY_THREADS = 4  # frames laid out at once; most of that work is done without the GIL


class TorchWarpRenderer(WarpRenderer):
    """Draws one avatar's mouth in batches; a `heygem.rendering.base.BatchRenderer`.

    The plan and each frame's geometry are those of `WarpRenderer`; where memory of the device runs
    out, so are the pixels.

    Parameters
    ----------
    avatar : Avatar
    settings : RendererSettings
    device : str
        A torch device.
    """

    def __init__(self, avatar: Avatar, settings: RendererSettings, device: str) -> None:
        super().__init__(avatar, settings, reduces_faded=False)
        self._device = torch.device(device)
        self._batches = DeviceBatches(self._device)
        self._library: Pictures | None = None
        try:
            self._library = Pictures(avatar.library.crops, self._device)
        except torch.OutOfMemoryError:
            self._batches.shrink(1)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report should say about the way this person is drawn."""
        ran_out = self._batches.note
        return super().notes if ran_out is None else (*super().notes, ran_out)

    def render_batch(
        self, images: Sequence[Image | YuvImage], indices: Sequence[int]
    ) -> list[Patch | None]:
        """Draw several output frames; see `heygem.rendering.base.BatchRenderer.render_batch`."""
        patches: list[Patch | None] = []

        def draw_some(part: slice) -> None:
            patches.extend(self._drawn(images[part], indices[part]))

        done = self._batches.run(len(indices), len(indices), draw_some)
        return patches + [self.render(images[k], indices[k]) for k in range(done, len(indices))]

    def _drawn(
        self, images: Sequence[Image | YuvImage], indices: Sequence[int]
    ) -> list[Patch | None]:
        assert self._library is not None

        def lay_out(image: Image | YuvImage, index: int) -> tuple[FrameGeometry, Image] | None:
            geometry = self.geometry(index, image.shape)
            if geometry is None or geometry.strength < FULL_STRENGTH:
                return None
            return geometry, image[geometry.window]

        with ThreadPoolExecutor(GEOMETRY_THREADS) as pool:
            plans = list(pool.map(lay_out, images, indices))
        geometries = [plan[0] for plan in plans if plan is not None]
        views = [plan[1] for plan in plans if plan is not None]
        pictures = iter(draw(geometries, views, self._library) if views else ())
        patches: list[Patch | None] = []
        for image, index, plan in zip(images, indices, plans, strict=True):
            if plan is None:  # left as it is, or one of a few that fade to the frame's own mouth
                patches.append(self.render(image, index))
            else:
                patches.append(plan[0].patch(next(pictures)))
        return patches
