"""The interface of all renderers: motion and sound in, new pixels for a window of a frame out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from heygem.avatar.timeline import Timeline
from heygem.core.types import FloatArray, Image
from heygem.lips.motion import Motion
from heygem.media.yuv import YuvImage


@dataclass(frozen=True)
class Patch:
    """New pixels for a window of the frame.

    Attributes
    ----------
    image : uint8 [h, w, 3], RGB
    mask : float32 [h, w]
        0 keeps the frame's own pixel, 1 takes the patch's.
    x, y : int
        Position of the window's first pixel in the frame.
    """

    image: Image
    mask: FloatArray
    x: int
    y: int


class Renderer(Protocol):
    """Draws the mouth of one avatar.

    Attributes
    ----------
    uses_motion : bool
        Whether it draws the given motion. One that does not makes its own mouth from the sound;
        no trajectory is then recorded.
    """

    uses_motion: bool

    def plan(self, motion: Motion | None, samples: FloatArray, timeline: Timeline) -> None:
        """Prepare a whole sequence; afterwards frames may be rendered in any order and thread.

        Parameters
        ----------
        motion : Motion or None
            Lower-face movement relative to rest, for renderers with `uses_motion`.
        samples : float32 [n]
            The speech, mono, 16 kHz, -1..1; sample 0 sounds at 0 s of the timeline.
        timeline : Timeline
            Which frame of the avatar each output frame shows, and when.
        """

    def render(self, image: Image, index: int) -> Patch | None:
        """Draw the mouth of output frame `index`.

        Parameters
        ----------
        image : uint8 [H, W, 3], RGB
            The avatar's frame that the output frame shows.
        index : int
            Position in the planned sequence.

        Returns
        -------
        Patch or None
            None where the frame has to stay as it is.
        """


@runtime_checkable
class WindowRenderer(Renderer, Protocol):
    """A renderer that takes no more of a frame than windows: `image.shape`, `image[y0:y1, x0:x1]`.

    Frames are then given to it in the codec's planes, and the windows alone are converted.

    Attributes
    ----------
    reads_windows : bool
    """

    reads_windows: bool

    def render(self, image: Image | YuvImage, index: int) -> Patch | None:
        """As of any `Renderer`."""


@runtime_checkable
class BatchRenderer(Renderer, Protocol):
    """A renderer that draws several frames at once faster than one after the other."""

    def render_batch(self, images: Sequence[Image], indices: Sequence[int]) -> list[Patch | None]:
        """As `render`, for several output frames."""
