"""Perceptual fingerprint of a file: a few hundred bytes that survive re-encoding.

Video: twice a second, the signs of the 64 lowest frequencies of a small grey copy (perceptual hash;
Zauner, 2010). Audio: signs of energy differences between neighbouring bands and times (Haitsma and
Kalker, ISMIR 2002). Two results from one recording with different speech have similar video and
different audio, so a copy is attributed to a run only if both match.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from heygem.core.types import FloatArray, Image, IntArray

VIDEO_STEP_S = 0.5  # between two video hashes
AUDIO_STEP_S = 0.0928  # between two audio hashes
_AUDIO_RATE_HZ = 8000
_WINDOW = 2048  # samples, 0.26 s
_BANDS = 33  # one more than the bits of an audio hash
MAX_VIDEO_ERROR = 0.20  # bit error rate; unrelated videos have about 0.5
MAX_AUDIO_ERROR = 0.35  # bit error rate; Haitsma and Kalker's threshold


@dataclass(frozen=True)
class Fingerprint:
    """Hashes over time: `video : uint64 [n]`, `audio : uint32 [m]`."""

    video: NDArray[np.uint64]
    audio: NDArray[np.uint32]

    def to_dict(self) -> dict[str, Any]:
        """Hexadecimal text, for the ledger."""
        return {
            "picture": [f"{int(word):016x}" for word in self.video],
            "sound": self.audio.astype(">u4").tobytes().hex(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Fingerprint":
        """Read what `to_dict` returned."""
        return cls(
            np.array([int(word, 16) for word in data["picture"]], np.uint64),
            np.frombuffer(bytes.fromhex(data["sound"]), ">u4").astype(np.uint32),
        )


class FrameHasher:
    """Hashes the frames of one clip, added in order of time."""

    def __init__(self) -> None:
        self._hashes: list[int] = []
        self._next_s: float | None = None

    def add(self, image: Image, time_s: float) -> None:
        """Add one frame and its time [s]. Only one frame per `VIDEO_STEP_S` is hashed."""
        if self._next_s is not None and time_s < self._next_s - 1e-6:
            return
        self._next_s = (0.0 if self._next_s is None else self._next_s) + VIDEO_STEP_S
        step = max(1, min(image.shape[:2]) // 128)  # enough samples for 32, at any resolution
        small = cv2.resize(image[::step, ::step], (32, 32), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        low = cv2.dct(grey.astype(np.float32))[:9, :9].reshape(-1)[1:65]
        bits = (low > np.median(low)).astype(np.uint8)
        self._hashes.append(int.from_bytes(np.packbits(bits).tobytes(), "big"))

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """The hashes so far, uint64 [n]."""
        return np.array(self._hashes, np.uint64)


def hash_audio(samples: FloatArray, rate_hz: int) -> NDArray[np.uint32]:
    """Hashes of a mono signal.

    Parameters
    ----------
    samples
        float32 [n]
    rate_hz

    Returns
    -------
    uint32 [m]
        Empty for less than 0.26 s.
    """
    if len(samples) == 0:
        return np.zeros(0, np.uint32)
    count = int(len(samples) * _AUDIO_RATE_HZ / rate_hz)
    if count < _WINDOW + 1:
        return np.zeros(0, np.uint32)
    hop = AUDIO_STEP_S * _AUDIO_RATE_HZ
    starts = np.round(np.arange(0, count - _WINDOW, hop)).astype(int)
    window = np.hanning(_WINDOW)
    frequencies = np.fft.rfftfreq(_WINDOW, 1 / _AUDIO_RATE_HZ)
    edges = np.geomspace(300, 2000, _BANDS + 1)  # Hz: the range that telephones and codecs keep
    band = np.digitize(frequencies, edges) - 1
    in_bands = (band >= 0) & (band < _BANDS)
    energy = np.empty((len(starts), _BANDS))
    for row, start in enumerate(starts):
        power = np.abs(np.fft.rfft(_resample_window(samples, rate_hz, start) * window)) ** 2
        energy[row] = np.bincount(band[in_bands], power[in_bands], _BANDS)
    across = energy[:, :-1] - energy[:, 1:]
    bits = (across[1:] - across[:-1] > 0).astype(np.uint32)
    return (bits << np.arange(32, dtype=np.uint32)).sum(1, dtype=np.uint32)


def _resample_window(samples: FloatArray, rate_hz: int, start: int) -> FloatArray:
    """One window at `_AUDIO_RATE_HZ`, from sample `start` at that rate: float64 [_WINDOW].

    Window by window, so that a resampled copy of an hour of audio is never held in memory.
    """
    ratio = rate_hz / _AUDIO_RATE_HZ
    positions = (start + np.arange(_WINDOW)) * ratio
    # A moving average before sampling, against aliasing of what lies above 4 kHz.
    width = max(1, round(ratio))
    low, high = int(positions[0]), int(positions[-1]) + 2
    first, last = max(0, low - width), min(len(samples), high + width)
    kernel = np.ones(width, np.float32) / width
    smooth = np.convolve(samples[first:last], kernel, "same")
    return np.interp(positions - first, np.arange(len(smooth)), smooth)


def bit_error_rate(a: IntArray, b: IntArray, *, min_hashes: int = 4) -> float:
    """Share of differing bits at the best alignment of two hash sequences, 0..1.

    Parameters
    ----------
    a, b
        uint64 [n] or uint32 [n]; the shorter slides along the longer.
    min_hashes
        Fewer cannot be compared.

    Returns
    -------
    float
        1.0 if they cannot be compared.
    """
    if len(a) > len(b):
        a, b = b, a
    if len(a) < min_hashes:
        return 1.0
    views = np.lib.stride_tricks.sliding_window_view(b, len(a))
    bits = np.bitwise_count(views ^ a).mean(1)
    return float(bits.min()) / (8 * a.dtype.itemsize)
