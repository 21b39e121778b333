"""A frame in the codec's own planes, of which only the windows that change are converted.

A decoded 8-bit 4:2:0 frame has a luma value for each pixel and two chroma values for 2x2 pixels. To
convert it to RGB and back takes longer than to decode it, and changes many values by a level. A
`YuvImage` converts only the window that is drawn into; all other values reach the encoder as the
decoder made them.
"""

import sys
import threading
from typing import TypeVar

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from heygem.core.types import BoolArray, Image
from heygem.media.colour import (
    HDR_TRANSFERS,
    ColourCoding,
    plane_values,
    rgb_factors,
    rgb_to_frame,
    ycbcr_factors,
    ycbcr_matrix,
)

_FORMAT = "yuv420p"


class FrameBuffers:
    """Memory for copies of frames, used again once nothing refers to a copy any more.

    A frame is too large for the gaps that others leave in a heap: copies that are allocated one by
    one let it grow by 100 MB and more while a film is made at 1080p.
    """

    def __init__(self) -> None:
        self._arrays: list[Image] = []
        self._lock = threading.Lock()
        (self._unused,) = _references([np.empty(0, np.uint8)])

    def frame(self, height: int, width: int) -> av.VideoFrame:
        """A frame of any content, of even width and height."""
        shape = (height * 3 // 2, width)
        with self._lock:
            for array, count in zip(self._arrays, _references(self._arrays), strict=True):
                if count == self._unused and array.shape == shape:
                    break
            else:
                array = np.empty(shape, np.uint8)
                self._arrays.append(array)
            return av.VideoFrame.from_numpy_buffer(array, _FORMAT)


def _references(arrays: list[Image]) -> list[int]:
    """How often each is referred to, this count included."""
    return [sys.getrefcount(array) for array in arrays]


class YuvImage:
    """One picture as 8-bit 4:2:0 planes of limited range, of even width and height.

    Like an RGB array it has a `shape`, and `image[y0:y1, x0:x1]` is uint8 [h, w, 3], a copy.

    Parameters
    ----------
    frame : av.VideoFrame
        yuv420p; of a decoder, it must not be written: make a `copy`.
    matrix : Colorspace
        YCbCr matrix.
    buffers : FrameBuffers, optional
        For its copies; they take memory of their own where none is given.

    Attributes
    ----------
    y : uint8 [H, W]
    u, v : uint8 [H / 2, W / 2]
    is_for_encoder : bool
        Nobody but the encoder needs it any more, so that it may be labelled in place.
    """

    def __init__(
        self, frame: av.VideoFrame, matrix: Colorspace, buffers: FrameBuffers | None = None
    ) -> None:
        self.frame = frame
        self._buffers = buffers
        self.matrix = matrix
        self.is_for_encoder = False
        self.y, self.u, self.v = (plane_values(plane) for plane in frame.planes)
        self._converted: tuple[int, int, Image] | None = None  # first row and column, and RGB

    @classmethod
    def from_rgb(
        cls, image: Image, matrix: Colorspace, buffers: FrameBuffers | None = None
    ) -> "YuvImage":
        """Convert uint8 [H, W, 3] RGB, of even width and height."""
        frame = rgb_to_frame(image, _FORMAT, VideoReformatter(), ColourCoding(matrix))
        return cls(frame, matrix, buffers)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and 3, as of the RGB array."""
        return (*self.y.shape, 3)

    @property
    def nbytes(self) -> int:
        """Size of the planes, bytes."""
        return self.y.nbytes * 3 // 2

    def copy(self) -> "YuvImage":
        """A copy, whose planes may be written."""
        buffers, (height, width) = self._buffers, self.y.shape
        frame = buffers.frame(height, width) if buffers else av.VideoFrame(width, height, _FORMAT)
        copied = YuvImage(frame, self.matrix, buffers)
        for name in ("y", "u", "v"):
            np.copyto(getattr(copied, name), getattr(self, name))
        copied._converted = self._converted
        return copied

    def rgb(self) -> Image:
        """The whole picture : uint8 [H, W, 3], RGB."""
        return self[:, :]

    def __getitem__(self, window: tuple[slice, slice]) -> Image:
        (y0, y1, _), (x0, x1, _) = (s.indices(n) for s, n in zip(window, self.shape, strict=False))
        if self._converted is not None:
            top, left, pixels = self._converted
            inside = pixels[max(0, y0 - top) : y1 - top, max(0, x0 - left) : x1 - left]
            if y0 >= top and x0 >= left and inside.shape[:2] == (y1 - y0, x1 - x0):
                return inside.copy()
        # A little more, for `paste`, which needs the pixels around.
        rows, columns = (
            _around(a, b, n) for a, b, n in ((y0, y1, len(self.y)), (x0, x1, self.y.shape[1]))
        )
        from heygem.media import yuv_kernels

        pixels = np.empty((rows.stop - rows.start, columns.stop - columns.start, 3), np.uint8)
        factors = rgb_factors(self.matrix)
        yuv_kernels.to_rgb(self.y, self.u, self.v, rows.start, columns.start, factors, pixels)
        self._converted = rows.start, columns.start, pixels
        return pixels[
            y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start
        ].copy()

    def paste(self, pixels: Image, mask: BoolArray, x: int, y: int) -> None:
        """Write RGB pixels where the mask is set, in place; chroma where any of its 2x2 pixels is.

        Parameters
        ----------
        pixels : uint8 [h, w, 3]
        mask : bool [h, w]
        x, y : int
            Place of the first pixel.
        """
        from heygem.media import yuv_kernels

        h, w = mask.shape
        rows, columns = _around(y, y + h, len(self.y)), _around(x, x + w, self.y.shape[1])
        window = self[rows, columns]
        inside = np.zeros(window.shape[:2], np.uint8)
        part = np.s_[y - rows.start : y - rows.start + h, x - columns.start : x - columns.start + w]
        inside[part] = mask
        cv2.copyTo(pixels, inside[part], window[part])
        half = tuple(slice(s.start // 2, s.stop // 2) for s in (rows, columns))
        yuv_kernels.from_rgb(
            window,
            inside,
            ycbcr_factors(self.matrix),
            self.y[rows, columns],
            self.u[half],
            self.v[half],
        )
        self._converted = None


Picture = TypeVar("Picture", Image, YuvImage)  # a frame of either kind


def has_planes(frame: av.VideoFrame, coding: ColourCoding) -> bool:
    """Whether a decoded frame's planes are those that a film of this coding is encoded from."""
    return (
        frame.format.name == _FORMAT
        and int(frame.color_range) != 2  # full range
        and int(frame.color_trc) not in HDR_TRANSFERS
        and ycbcr_matrix(frame) == coding.matrix
        and frame.width % 2 == frame.height % 2 == 0
    )


def _around(start: int, stop: int, size: int) -> slice:
    """An even range around a range, at least a pixel wider where there is one; `size` is even."""
    return slice(max(0, start - 1) // 2 * 2, min(size, (stop + 2) // 2 * 2))
