"""What the pictures of a clip do not predict, and the watermark's wave in it.

Every frame is reduced to a small square of fine contrast. Each sample's course is whitened by
linear prediction, so that slow changes do not count, and demodulated at the carrier's frequency in
blocks of one period. Samples are weighted by the inverse of the noise around them in the block:
a chip counts most where and when the picture is at rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from heygem.core.types import FloatArray
from heygem.provenance.watermark.pattern import CARRIER_HZ, GRID, PERIOD_S

FINE = 3  # samples per chip, across and down
SIDE = GRID * FINE
_ORDER = 3  # of the prediction, frames
_LIMIT = 2.0  # of a sample in a block, in deviations of its noise: more is movement
_NOISE_BLUR = 9  # samples across which noise is averaged
_FLOOR = 0.6  # of the median noise: samples that never change hold no watermark either
_LASTING = 0.3  # share of the whole clip's noise in a block's


@dataclass(frozen=True)
class Blocks:
    """The watermark's wave in every block.

    Attributes
    ----------
    waves : complex64 [K, SIDE, SIDE]
        Weighted by inverse noise.
    first : int [K]
        Index of each block's first frame.
    """

    waves: NDArray[np.complex64]
    first: NDArray[np.intp]


class Residual:
    """The whitened course of all samples.

    Parameters
    ----------
    times_s
        Of the frames.
    fine
        Fine contrast, float16 [T, SIDE, SIDE].
    """

    def __init__(self, times_s: Sequence[float], fine: Sequence[NDArray[np.float16]]) -> None:
        self.times_s = np.asarray(times_s, np.float64) - times_s[0]
        values = np.stack(fine).reshape(len(fine), -1).astype(np.float32)
        values -= values.mean(0)
        self._values = _whiten(values)
        self._noise = _average(self._values)
        self._floor = _FLOOR * float(np.median(self._noise)) + 1e-6

    def blocks(self, offset_s: float = 0.0, speed: float = 1.0) -> Blocks:
        """The wave in blocks of one period.

        Parameters
        ----------
        offset_s
            Of the first frame from the start of a period, at the original speed.
        speed
            Original seconds per second of this clip.
        """
        ages = self.times_s * speed + offset_s
        number = ((ages + 1e-4) // PERIOD_S).astype(int)
        carrier = np.exp(-2j * np.pi * CARRIER_HZ * ages).astype(np.complex64)
        first = np.flatnonzero(np.diff(number, prepend=-1))
        waves = []
        for start, stop in zip(first, [*first[1:], len(number)], strict=True):
            part, wave = self._values[start:stop], carrier[start:stop]
            noise = (1 - _LASTING) * _average(part) + _LASTING * self._noise + self._floor
            value = (wave.real @ part + 1j * (wave.imag @ part)).reshape(SIDE, SIDE)
            level = _LIMIT * np.sqrt(noise * (stop - start) / 2)
            value *= np.minimum(1, level / (np.abs(value) + 1e-9)) / noise
            waves.append(value.astype(np.complex64))
        return Blocks(np.stack(waves), first)


def _whiten(values: FloatArray) -> FloatArray:
    """The error of a linear prediction that is the same for all samples: float32 [T, n]."""
    from scipy.linalg import solve_toeplitz  # a film that is only labelled does not need it

    count = len(values)
    weight = 1 / ((values * values).mean(0) + 0.05)
    correlation = np.array(
        [
            np.mean((values[lag:] * values[: count - lag]).mean(0) * weight)
            for lag in range(min(_ORDER, count // 4) + 1)
        ]
    )
    correlation[0] = correlation[0] * 1.01 + 1e-6
    errors = values.copy()
    for lag, factor in enumerate(solve_toeplitz(correlation[:-1], correlation[1:]), 1):
        errors[lag:] -= np.float32(factor) * values[:-lag]
    return errors


def _average(values: FloatArray) -> FloatArray:
    """The mean square over frames and neighbouring samples, float32 [SIDE, SIDE]."""
    square = np.einsum("tn,tn->n", values, values) / len(values)
    return cv2.blur(square.reshape(SIDE, SIDE), (_NOISE_BLUR, _NOISE_BLUR))
