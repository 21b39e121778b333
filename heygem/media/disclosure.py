"""What a film must carry to be written: a label, or the statement that nothing in it is AI-made.

`VideoWriter` takes one of the two and has no default, so that no AI-made film can be written
unlabelled because something was left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from heygem.core.types import Image
from heygem.media.yuv import Picture, YuvImage


@runtime_checkable
class FrameLabel(Protocol):
    """Labels a film while it is written; `heygem.provenance.Labeller` is one."""

    @property
    def tags(self) -> Mapping[str, str]:
        """Container tags, the only ones written."""

    def label_frame(self, image: Picture, time_s: float, /) -> Picture:
        """The frame as it is encoded, of the same kind; called once a frame, in order."""


@runtime_checkable
class BatchLabel(FrameLabel, Protocol):
    """A label that marks several frames at once, on a device that gains by it."""

    def label_frames(
        self, images: Sequence[Image | YuvImage], times_s: Sequence[float], /
    ) -> Sequence[Image | YuvImage]:
        """As `label_frame`, for frames that follow each other."""


@dataclass(frozen=True)
class RecordedFrames:
    """States that a film shows frames as they were recorded: none of them is AI-made.

    For working copies of recordings. A recording that carries a label itself keeps it: see
    `heygem.provenance.containers.recorded`.

    Attributes
    ----------
    tags : mapping of str to str
        Container tags to write.
    """

    tags: Mapping[str, str] = field(default_factory=dict)

    def label_frame(self, image: Picture, time_s: float) -> Picture:
        """The frame itself."""
        return image
