"""The one path from planned renderer to finished frames: decode -> render -> paste."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic

import numpy as np

from heygem.avatar.avatar import Avatar
from heygem.avatar.timeline import Timeline
from heygem.core.streaming import prefetch
from heygem.core.types import FloatArray, Image
from heygem.media.yuv import Picture, YuvImage
from heygem.pipeline.progress import StepClock
from heygem.rendering.base import BatchRenderer, Patch, Renderer
from heygem.rendering.compose import paste


@dataclass(frozen=True)
class FinishedFrame(Generic[Picture]):
    """One output frame before labelling.

    Attributes
    ----------
    index : int
        Position in the timeline.
    source : uint8 [H, W, 3], RGB; or YuvImage
        The avatar's frame.
    image : the same kind
        With the new mouth; `source` itself where nothing was drawn.
    patch : Patch or None
        What was drawn.
    """

    index: int
    source: Picture
    image: Picture
    patch: Patch | None


def finished_frames(
    images: Iterable[Picture],
    renderer: Renderer,
    timeline: Timeline,
    *,
    first: int = 0,
    threads: int = 1,
    batch_size: int = 1,
    steps: StepClock | None = None,
) -> Iterator[FinishedFrame[Picture]]:
    """Render and paste every frame of a timeline, in order.

    Parameters
    ----------
    images : iterable of uint8 [H, W, 3], RGB; or of YuvImage
        The avatar's frames in the order of the timeline; see
        `heygem.avatar.timeline.frames_in_order` and `planes_in_order`.
    renderer : Renderer
        Planned for this timeline.
    timeline : Timeline
        Frames after `timeline.spoken` stay as they are.
    first : int
        Position in the timeline of the first image.
    threads : int
        Frames rendered at the same time; a few more are held in memory.
    batch_size : int
        Frames that a `BatchRenderer` draws at once, with one thread.
    steps : StepClock, optional
        Gets the steps "render" and "paste".
    """
    steps = steps if steps is not None else StepClock()
    if batch_size > 1 and threads <= 1 and isinstance(renderer, BatchRenderer):
        yield from _finished_in_batches(images, renderer, timeline, first, batch_size, steps)
        return

    def finish(index: int, image: Picture) -> FinishedFrame[Picture]:
        patch = None
        if index < timeline.spoken:
            with steps.step("render"):
                patch = renderer.render(_readable(image, renderer), index)
        with steps.step("paste"):
            return FinishedFrame(index, image, paste(image, patch), patch)

    if threads <= 1:
        for index, image in enumerate(images, first):
            yield finish(index, image)
        return
    pending: deque[Future[FinishedFrame[Picture]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for index, image in enumerate(images, first):
            pending.append(pool.submit(finish, index, image))
            if len(pending) > threads + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _finished_in_batches(
    images: Iterable[Picture],
    renderer: BatchRenderer,
    timeline: Timeline,
    first: int,
    size: int,
    steps: StepClock,
) -> Iterator[FinishedFrame[Picture]]:
    def drawn() -> Iterator[list[tuple[int, Picture, Patch | None]]]:
        stream = enumerate(images, first)
        batch: list[tuple[int, Picture]]
        while batch := list(islice(stream, size)):
            spoken: list[int] = [index for index, _ in batch if index < timeline.spoken]
            with steps.step("render"):
                readable: list[Any] = [
                    _readable(image, renderer) for _, image in batch[: len(spoken)]
                ]
                patches = [*renderer.render_batch(readable, spoken), *[None] * len(batch)]
            yield [(k, image, patch) for (k, image), patch in zip(batch, patches, strict=False)]

    for batch in prefetch(drawn(), ahead=1):  # the next one is drawn while these are used
        for index, image, patch in batch:
            with steps.step("paste"):
                finished = FinishedFrame(index, image, paste(image, patch), patch)
            yield finished


def _readable(image: Image | YuvImage, renderer: Renderer) -> Any:
    """A frame as a renderer reads it: in planes only for one that takes windows of them."""
    if isinstance(image, YuvImage) and not getattr(renderer, "reads_windows", False):
        return image.rgb()
    return image


def face_boxes(avatar: Avatar) -> FloatArray:
    """Face boxes of the whole clip, for the label to keep clear of : float32 [n, 4], x0 y0 x1 y1.

    The frames of a second are put into one box, in which the face also is where the tracker lost
    it for some frames.
    """
    track = avatar.track
    rows = np.flatnonzero(track.detected)
    if not len(rows):
        return np.zeros((0, 4), np.float32)
    _, first = np.unique(np.floor(track.times_s[rows]), return_index=True)
    # Contiguous, in which the smallest is found ten times as fast.
    x, y = (np.ascontiguousarray(track.points[rows, :, k]) for k in (0, 1))
    low = [np.minimum.reduceat(places.min(1), first) for places in (x, y)]
    high = [np.maximum.reduceat(places.max(1), first) for places in (x, y)]
    return np.stack([*low, *high], -1)
