"""Small copies of some of the frames that pass by, so that nobody decodes the film for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from heygem.core.types import FloatArray, Image
from heygem.media.yuv import YuvImage


@dataclass(frozen=True)
class Still:
    """A reduced frame: its time in the film [s], and uint8 [h, w, 3], RGB."""

    time_s: float
    image: Image


class StillTaker:
    """Keeps reduced copies of the frames in the middles of equal parts of a film.

    Parameters
    ----------
    times_s : float64 [T]
        Of the film's frames.
    count : int
        Of the parts.
    longest_px : int
        Longer side of a copy at most, pixels.
    """

    def __init__(self, times_s: FloatArray, count: int, longest_px: int) -> None:
        shares = (np.arange(count) + 0.5) / max(count, 1)
        middles_s = times_s[0] + shares * (times_s[-1] - times_s[0])
        self._wanted = [float(time_s) for time_s in times_s[np.searchsorted(times_s, middles_s)]]
        self._taken: dict[float, Image] = {}
        self._longest_px = longest_px

    def __call__(self, image: Image | YuvImage, time_s: float) -> None:
        """Take a finished frame; it is neither changed nor kept."""
        if time_s in self._wanted and time_s not in self._taken:
            pixels = image.rgb() if isinstance(image, YuvImage) else image
            longest_px = min(self._longest_px, max(pixels.shape[:2]))
            self._taken[time_s] = reduced(pixels, longest_px)

    @property
    def stills(self) -> Sequence[Still]:
        """One for each part; none at all where some of the frames did not pass by."""
        if len(self._taken) < len(set(self._wanted)):
            return ()
        return tuple(Still(time_s, self._taken[time_s]) for time_s in self._wanted)


def reduced(image: Image, longest_px: int) -> Image:
    """A picture uint8 [H, W, 3] whose longer side has this length."""
    height, width = image.shape[:2]
    scale = longest_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
