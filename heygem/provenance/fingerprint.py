"""Perceptual fingerprint of a file: some kilobytes that survive re-encoding.

Picture: twice a second, the signs of the 64 lowest frequencies of a small grey copy (perceptual
hash; Zauner, 2010); and up to `MAX_LAYOUTS` times in all, the brightness of 24×24 cells relative to
their surroundings, which can be compared with a part of the picture. Sound: signs of energy
differences between neighbouring bands and times (Haitsma and Kalker, ISMIR 2002). Two results from
one recording with different speech have similar pictures and different sound, so a copy is
attributed to a run only if both match. `heygem.provenance.similarity` compares fingerprints.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from heygem.core.types import FloatArray, Image
from heygem.media.colour import grey_factors
from heygem.media.yuv import YuvImage

VIDEO_STEP_S = 0.5  # between two video hashes
LAYOUT_STEP_S = 1.0  # between two layouts; doubled whenever there are too many
MAX_LAYOUTS = 32
CELLS = 24  # of a layout, across and down
THUMBNAIL_PX = 128
AUDIO_STEP_S = 0.0928  # between two audio hashes
_AUDIO_RATE_HZ = 8000
_WINDOW = 2048  # samples, 0.26 s
_BANDS = 33  # one more than the bits of an audio hash
_SURROUNDINGS_CELLS = 3.0  # standard deviation of the average that is subtracted
_MAX_DEVIATIONS = 2.5  # stronger cells are limited, so that one lamp does not outweigh the rest
_LEVELS_PER_DEVIATION = 3


@dataclass(frozen=True)
class Fingerprint:
    """What a file looks and sounds like.

    Attributes
    ----------
    video : uint64 [n]
    audio : uint32 [m]
    layouts : int8 [k, CELLS, CELLS]
        In steps of a third of a standard deviation; none in rows of heygem 0.1.
    width, height : int
        Of the picture, pixels; 0 where unknown.
    """

    video: NDArray[np.uint64]
    audio: NDArray[np.uint32]
    layouts: NDArray[np.int8] = field(default_factory=lambda: np.zeros((0, CELLS, CELLS), np.int8))
    width: int = 0
    height: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Text and numbers, for the ledger."""
        return {
            "picture": [f"{int(word):016x}" for word in self.video],
            "sound": self.audio.astype(">u4").tobytes().hex(),
            "layouts": base64.b64encode(_pack_nibbles(self.layouts)).decode(),
            "size": [self.width, self.height],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Fingerprint":
        """Read what `to_dict` returned, in this version or in 0.1."""
        width, height = data.get("size", (0, 0))
        return cls(
            np.array([int(word, 16) for word in data["picture"]], np.uint64),
            np.frombuffer(bytes.fromhex(data["sound"]), ">u4").astype(np.uint32),
            _unpack_nibbles(base64.b64decode(data.get("layouts", ""))),
            width,
            height,
        )


class FrameHasher:
    """Hashes the frames of one clip, added in order of time.

    Attributes
    ----------
    width, height : int
        Of the frames, pixels.
    """

    def __init__(self) -> None:
        self.width = self.height = 0
        self._hashes: list[int] = []
        self._mirrored: list[int] = []
        self._thumbnails: list[NDArray[np.uint8]] = []
        self._layout_step = round(LAYOUT_STEP_S / VIDEO_STEP_S)  # hashes for each thumbnail

    def add(self, image: Image | YuvImage, time_s: float) -> None:
        """Add one frame and its time [s]. Only one frame per `VIDEO_STEP_S` is hashed."""
        if not self._hashes:
            self._start_s = time_s
        if time_s < self._start_s + len(self._hashes) * VIDEO_STEP_S - 1e-6:
            return
        self.height, self.width = image.shape[:2]
        if len(self._hashes) % self._layout_step == 0:
            self._add_thumbnail(image)
        small = _shrink(image, 32)
        self._hashes.append(_hash_frame(small))
        self._mirrored.append(_hash_frame(np.ascontiguousarray(small[:, ::-1])))

    def state(self) -> dict[str, NDArray[Any]]:
        """What a later hasher needs to continue after these frames."""
        return {
            "hashes": self.hashes,
            "mirrored": self.mirrored_hashes,
            "thumbnails": np.array(self._thumbnails, np.uint8).reshape(
                -1, THUMBNAIL_PX, THUMBNAIL_PX
            ),
            "layout_step": np.array(self._layout_step),
            "size": np.array([self.width, self.height]),
            "start_s": np.array(self._start_s if self._hashes else 0.0),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue where another hasher was, given its `state`."""
        self._hashes = [int(value) for value in state["hashes"]]
        self._mirrored = [int(value) for value in state["mirrored"]]
        self._thumbnails = list(state["thumbnails"])
        self._layout_step = int(state["layout_step"])
        self.width, self.height = (int(value) for value in state["size"])
        self._start_s = float(state["start_s"])

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """The hashes so far, uint64 [n]."""
        return np.array(self._hashes, np.uint64)

    @property
    def mirrored_hashes(self) -> NDArray[np.uint64]:
        """Those of the mirrored frames, uint64 [n]."""
        return np.array(self._mirrored, np.uint64)

    @property
    def thumbnails(self) -> list[NDArray[np.uint8]]:
        """Up to `MAX_LAYOUTS` grey copies over the clip, uint8 [THUMBNAIL_PX, THUMBNAIL_PX]."""
        return list(self._thumbnails)

    def fingerprint(self, audio: NDArray[np.uint32]) -> Fingerprint:
        """The fingerprint of the frames so far, and of audio hashes."""
        layouts = [quantize(layout(each, CELLS, CELLS)) for each in self._thumbnails]
        stacked = np.array(layouts, np.int8).reshape(-1, CELLS, CELLS)
        return Fingerprint(self.hashes, audio, stacked, self.width, self.height)

    def _add_thumbnail(self, image: Image | YuvImage) -> None:
        self._thumbnails.append(_shrink(image, THUMBNAIL_PX))
        if len(self._thumbnails) > MAX_LAYOUTS:
            self._thumbnails = self._thumbnails[::2]
            self._layout_step *= 2


def layout(thumbnail: NDArray[np.uint8], width: int, height: int) -> FloatArray:
    """Brightness of cells relative to their surroundings.

    Parameters
    ----------
    thumbnail
        Grey, uint8 [h, w].
    width, height
        Cells across and down.

    Returns
    -------
    float32 [height, width]
        In standard deviations, limited; an even picture has values near 0.
    """
    cells = cv2.resize(thumbnail.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    relative = cells - cv2.GaussianBlur(cells, (0, 0), _SURROUNDINGS_CELLS)
    deviation = np.sqrt(np.mean(relative * relative)) + 1.0  # grey levels; 1 against noise
    return np.clip(relative / deviation, -_MAX_DEVIATIONS, _MAX_DEVIATIONS)


def quantize(values: FloatArray) -> NDArray[np.int8]:
    """A layout in the steps that the ledger stores, -8..7."""
    steps = np.rint(values * _LEVELS_PER_DEVIATION)
    return np.clip(steps, -8, 7).astype(np.int8)


def _shrink(image: Image | YuvImage, side: int) -> NDArray[np.uint8]:
    """A grey copy, uint8 [side, side]."""
    if isinstance(image, YuvImage):
        # Shrinking and conversion are both linear: a few thousand values are converted, not all.
        y, u, v = (
            cv2.resize(
                _sampled(plane, side).astype(np.float32), (side, side), interpolation=cv2.INTER_AREA
            )
            for plane in (image.y, image.u, image.v)
        )
        luma, cb, cr = grey_factors(image.matrix)
        grey = luma * (y - 16) + cb * (u - 128) + cr * (v - 128)
        return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    small = cv2.resize(_sampled(image, side), (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def _sampled(image: Image, side: int) -> Image:
    """Every n-th pixel, or value of a plane: enough for [side, side], at any resolution."""
    step = max(1, min(image.shape[:2]) // (4 * side))
    return image[::step, ::step]


def _hash_frame(grey: NDArray[np.uint8]) -> int:
    low = cv2.dct(grey.astype(np.float32))[:9, :9].reshape(-1)[1:65]
    bits = (low > np.median(low)).astype(np.uint8)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _pack_nibbles(values: NDArray[np.int8]) -> bytes:
    nibbles = (values.reshape(-1, 2) + 8).astype(np.uint8)
    return (nibbles[:, 0] << 4 | nibbles[:, 1]).astype(np.uint8).tobytes()


def _unpack_nibbles(data: bytes) -> NDArray[np.int8]:
    pairs = np.frombuffer(data, np.uint8)
    values = np.stack([pairs >> 4, pairs & 15], 1).astype(np.int8) - 8
    return values.reshape(-1, CELLS, CELLS)


def hash_audio(
    samples: FloatArray, rate_hz: int, *, start_s: float = 0.0, tempo: float = 1.0
) -> NDArray[np.uint32]:
    """Hashes of a mono signal.

    Parameters
    ----------
    samples
        float32 [n]
    rate_hz
    start_s
        Where the first window begins.
    tempo
        How much faster than the original it is spoken, at the same pitch.

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
    hop = AUDIO_STEP_S * _AUDIO_RATE_HZ / tempo
    first = start_s * _AUDIO_RATE_HZ
    starts = np.round(np.arange(first, count - _WINDOW, hop)).astype(int)
    if len(starts) < 2:
        return np.zeros(0, np.uint32)
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
