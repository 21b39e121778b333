"""The one path from planned renderer to finished frames: decode -> render -> paste."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from heygem.avatar.timeline import Timeline
from heygem.core.types import Image
from heygem.rendering.base import Patch, Renderer
from heygem.rendering.compose import paste


@dataclass(frozen=True)
class FinishedFrame:
    """One output frame before labelling.

    Attributes
    ----------
    index : int
        Position in the timeline.
    source : uint8 [H, W, 3], RGB
        The avatar's frame.
    image : uint8 [H, W, 3], RGB
        With the new mouth; `source` itself where nothing was drawn.
    patch : Patch or None
        What was drawn.
    """

    index: int
    source: Image
    image: Image
    patch: Patch | None


def finished_frames(
    images: Iterable[Image], renderer: Renderer, timeline: Timeline, *, threads: int = 1
) -> Iterator[FinishedFrame]:
    """Render and paste every frame of a timeline, in order.

    Parameters
    ----------
    images : iterable of uint8 [H, W, 3], RGB
        The avatar's frames in the order of the timeline; see
        `heygem.avatar.timeline.frames_in_order`.
    renderer : Renderer
        Planned for this timeline.
    timeline : Timeline
        Frames after `timeline.spoken` stay as they are.
    threads : int
        Frames rendered at the same time; a few more are held in memory.
    """

    def finish(index: int, image: Image) -> FinishedFrame:
        patch = renderer.render(image, index) if index < timeline.spoken else None
        return FinishedFrame(index, image, paste(image, patch), patch)

    if threads <= 1:
        for index, image in enumerate(images):
            yield finish(index, image)
        return
    pending: deque[Future[FinishedFrame]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for index, image in enumerate(images):
            pending.append(pool.submit(finish, index, image))
            if len(pending) > threads + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
