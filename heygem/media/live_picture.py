"""A small picture now and then of the frames that pass by, for somebody who watches."""

import time
from collections.abc import Callable

import av
import cv2

from heygem.core.types import Image
from heygem.media.yuv import YuvImage

LONGEST_PX = 480
INTERVAL_S = 0.4  # at least, between two pictures
_QUALITY = 80


class LivePicture:
    """Gives a JPEG of some of the frames that it is called with; the others cost a look at a clock.

    Parameters
    ----------
    deliver : callable
        Called with the JPEG, on the thread of the frames.
    is_wanted : callable, optional
        Whether a picture would be looked at now; default: always.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self,
        deliver: Callable[[bytes], object],
        *,
        is_wanted: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deliver, self._is_wanted, self._clock = deliver, is_wanted, clock
        self._next_s = float("-inf")

    def __call__(self, image: Image | YuvImage, time_s: float = 0.0) -> None:
        """Take a finished frame; it is neither changed nor kept, and may be of any time."""
        now_s = self._clock()
        if now_s < self._next_s or not self._is_wanted():
            return
        self._next_s = now_s + INTERVAL_S
        self._deliver(small_jpeg(image))


def small_jpeg(image: Image | YuvImage, longest_px: int = LONGEST_PX) -> bytes:
    """A picture of at most `longest_px` in its longer side, as JPEG."""
    height, width = image.shape[:2]
    scale = min(1.0, longest_px / max(height, width))
    size = _even(width * scale), _even(height * scale)  # which planes need
    if isinstance(image, YuvImage):
        small = YuvImage(av.VideoFrame(size[0], size[1], "yuv420p"), image.matrix)
        half = size[0] // 2, size[1] // 2
        for name, plane_size in (("y", size), ("u", half), ("v", half)):
            plane = getattr(image, name)
            getattr(small, name)[:] = cv2.resize(plane, plane_size, interpolation=cv2.INTER_AREA)
        pixels = small.rgb()
    else:
        pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), quality)
    return data.tobytes() if encoded else b""


def _even(length_px: float) -> int:
    return max(2, round(length_px / 2) * 2)
