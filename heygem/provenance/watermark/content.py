"""The sign that a picture's content gives each chip.

A secret function of the surroundings: the grey picture, one cell for 2×2 chips, is filtered with
three secret band-pass kernels; the sign is that of the three results' product. A pattern estimated
from one picture therefore has signs that are wrong by chance on any other. The function depends on
the surroundings alone, so that it moves with the picture when that is shifted, cropped or mirrored.

Where a result is close to zero, the sign may not survive encoding: the content then has a value
between -1 and 1, by which the embedder weakens the pattern and the detector weights it. Cells are
averaged over time, so that the signs do not follow every movement: each change costs bits.
"""

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

import cv2
import numpy as np

from heygem.core.types import FloatArray
from heygem.provenance.watermark.pattern import GRID

CELLS = 32  # across and down
_KERNELS = 3
_KERNEL_CELLS = 17  # across and down
_WINDOW_CELLS = 4.0  # standard deviation of the kernels' window
_BAND_CELLS = (1.4, 2.8)  # standard deviations of the Gaussians whose difference is passed
_FLAT_LEVELS = 2.0  # deviation that is added to that of the surroundings, grey levels
_CERTAIN = 0.1  # result in deviations of the surroundings that survives encoding
_SMOOTHING = 0.3  # weight of a new picture in the average over periods


@lru_cache(maxsize=8)
def _kernels(secret: bytes) -> FloatArray:
    """The kernels of a secret, float32 [_KERNELS, _KERNEL_CELLS, _KERNEL_CELLS], without mean."""
    side = _KERNEL_CELLS
    stream = hashlib.shake_256(b"heygem content 1" + secret).digest(_KERNELS * side * side)
    noise = np.frombuffer(stream, np.uint8).reshape(_KERNELS, side, side) - np.float64(127.5)
    offset = np.arange(side) - side // 2
    window = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * _WINDOW_CELLS**2))
    kernels = []
    for plane in noise:
        fine, coarse = (cv2.GaussianBlur(plane, (0, 0), sigma) for sigma in _BAND_CELLS)
        kernel = (fine - coarse) * window
        kernel -= window * kernel.sum() / window.sum()
        kernels.append(kernel / np.sqrt(np.sum(kernel**2)))
    return np.stack(kernels).astype(np.float32)


def content_values(
    secret: bytes, cells: FloatArray, size: tuple[int, int] = (GRID, GRID)
) -> FloatArray:
    """The content's sign and certainty.

    Parameters
    ----------
    secret
    cells
        Grey levels, float32 [h, w]; `CELLS` across a whole picture.
    size
        Of the result, across and down: one value a chip by default.

    Returns
    -------
    float32 [size[1], size[0]]
        -1 .. 1
    """
    side = (_KERNEL_CELLS, _KERNEL_CELLS)
    mean = cv2.blur(cells, side)
    spread = np.sqrt(np.maximum(cv2.blur(cells * cells, side) - mean * mean, 0))
    scale = 1 / (_CERTAIN * (spread + _FLAT_LEVELS))
    value = np.ones_like(cells)
    margin = np.full_like(cells, np.inf)
    for kernel in _kernels(secret):
        result = cv2.filter2D(cells, -1, kernel, borderType=cv2.BORDER_REFLECT) * scale
        value = value * np.sign(result)
        margin = np.minimum(margin, np.abs(result))
    return np.tanh(cv2.resize(value * margin, size, interpolation=cv2.INTER_LINEAR))


def smooth(pictures: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """The running average of cells, one picture a period."""
    average = None
    for cells in pictures:
        average = update_average(average, cells)
        yield average


def update_average(average: FloatArray | None, cells: FloatArray) -> FloatArray:
    """The running average with one more period's cells."""
    return cells if average is None else average + np.float32(_SMOOTHING) * (cells - average)
