"""Embedding of the watermark: 64 bits in the brightness of all frames.

Spread spectrum (Cox et al., IEEE Trans. Image Processing 6(12), 1997) over a grid of chips that
covers the whole frame in relative coordinates, so that scaling does not displace it. The pattern's
sign alternates every 0.2 s. The detector correlates at 2.5 Hz, at any frame rate and from any
start, and static image content cancels; abrupt sign changes also survive encoders that drop slow
drifts. A quarter of the chips is a pilot that gives the detector phase, polarity, mirroring and
crop; the others carry the code word (`codec`). The strength follows the local contrast, which masks
the watermark. The installation's secret determines positions and signs of the chips.

An encoder spends bits on every sign change in static regions. The cost depends on the number of
blocks that change, not on the amplitude: so the watermark is confined to some patches of the frame,
chosen by the secret. Large frames have more chips than needed and use a quarter of their area;
small ones use half of it, with a higher strength.
"""

import hashlib
import secrets
from functools import lru_cache

import cv2
import numpy as np

from heygem.core.types import FloatArray, Image
from heygem.provenance.watermark.codec import CODE_BITS, encode

GRID = 64  # chips across and down
SLOT_S = 0.2  # between sign changes
CARRIER_HZ = 1 / (2 * SLOT_S)
PATCH = 8  # chips across and down of a patch, which is used or left unchanged as a whole
LARGE_PX = 600_000  # frames of at least this many pixels use SPARSE
SPARSE, DENSE = 0.25, 0.5  # share of the patches that are used
DENSITIES = (SPARSE, DENSE)
STRENGTH = {SPARSE: 1.2, DENSE: 2.2}  # grey levels in a flat region
MIN_PSNR_DB = 42.5


class ChipLayout:
    """Roles of the chips, for one secret and one density.

    Attributes
    ----------
    pilot, data : int [n], int [m]
        Chip indices, row by row.
    bit : int [m]
        The code bit that each data chip carries.
    sign : float32 [GRID * GRID]
        -1 or +1; 0 in unused patches.
    """

    def __init__(self, secret: bytes, density: float) -> None:
        count, across = GRID * GRID, GRID // PATCH
        # From SHAKE-256, not from a library's random generator: the pattern must never change.
        stream = hashlib.shake_256(b"heygem mark 2" + secret).digest(count * 9 + across**2 * 8)
        order = np.argsort(np.frombuffer(stream[: count * 8], ">u8"), kind="stable")
        sign = np.frombuffer(stream[count * 8 : count * 9], np.uint8) % 2 * np.float32(2) - 1
        ranks = np.argsort(np.frombuffer(stream[count * 9 :], ">u8"), kind="stable")
        used = np.zeros(across**2, bool)
        used[ranks[: round(density * across**2)]] = True
        patch = np.ones((PATCH, PATCH), bool)
        used = np.kron(used.reshape(across, across), patch).reshape(-1)
        order = order[used[order]]
        pilots = len(order) // 4
        self.sign = np.where(used, sign, 0)
        self.pilot, self.data = order[:pilots], order[pilots:]
        self.bit = np.arange(len(self.data)) % CODE_BITS

    def pattern(self, watermark_id: int) -> FloatArray:
        """The pattern of an id, float32 [GRID, GRID]: -1, +1, or 0 in unused patches."""
        flat = self.sign.copy()
        flat[self.data] *= encode(watermark_id)[self.bit]
        return flat.reshape(GRID, GRID)


@lru_cache(maxsize=8)
def chip_layout(secret: bytes, density: float) -> ChipLayout:
    """The layout of a secret and a density, cached."""
    return ChipLayout(secret, density)


class WatermarkEmbedder:
    """Embeds one id into the frames of one clip.

    Parameters
    ----------
    secret
        `Keys.watermark_secret`.
    watermark_id
        0 .. 2**64 - 1; see `new_id`.
    width, height
        Size of the frames, pixels.
    strength
        Grey levels in a flat region; contrast raises it, up to four times. By default `STRENGTH`.
    """

    def __init__(
        self,
        secret: bytes,
        watermark_id: int,
        width: int,
        height: int,
        *,
        strength: float | None = None,
    ) -> None:
        self.watermark_id = watermark_id
        density = SPARSE if width * height >= LARGE_PX else DENSE
        pattern = chip_layout(secret, density).pattern(watermark_id)
        self._pattern = cv2.resize(pattern, (width, height), interpolation=cv2.INTER_CUBIC)
        self._inverted = -self._pattern
        self._strength = STRENGTH[density] if strength is None else strength
        # The error limit holds for the whole frame: used patches may exceed it accordingly.
        self._limit = 255 * 10 ** (-MIN_PSNR_DB / 20) / np.sqrt(density)
        self._level = np.empty((height, width), np.float32)
        self._step = np.empty((height, width), np.int16)
        self._steps = np.empty((height, width, 3), np.int16)
        self._small = (max(width // 4, 1), max(height // 4, 1))

    def embed(self, image: Image, time_s: float) -> Image:
        """The frame with the watermark.

        Parameters
        ----------
        image
            uint8 [H, W, 3], RGB
        time_s
            The frame's own time.

        Returns
        -------
        uint8 [H, W, 3]
            Its PSNR against `image` is at least `MIN_PSNR_DB`.
        """
        height, width = image.shape[:2]
        # The same step in all three channels: colour is unchanged. The buffers are reused, since
        # allocating memory of this size takes longer than the arithmetic.
        level = cv2.resize(self._weight(image), (width, height), dst=self._level)
        np.multiply(level, self._inverted if is_inverted(time_s) else self._pattern, out=level)
        np.rint(level, out=level)
        np.copyto(self._step, level, casting="unsafe")
        cv2.merge([self._step] * 3, dst=self._steps)
        return cv2.add(image, self._steps, dtype=cv2.CV_8U).astype(np.uint8, copy=False)

    def _weight(self, image: Image) -> FloatArray:
        """Local strength in grey levels, at a quarter of the size: float32 [h, w]."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        mean = cv2.resize(grey, self._small, interpolation=cv2.INTER_AREA).astype(np.float32)
        fine = cv2.absdiff(grey, cv2.blur(grey, (7, 7)))
        contrast = cv2.resize(fine, self._small, interpolation=cv2.INTER_AREA).astype(np.float32)
        coarse = np.abs(mean - cv2.blur(mean, (3, 3)))
        contrast = cv2.blur(contrast + coarse, (3, 3))
        weight = self._strength * np.clip(0.6 + contrast / 5, 0.6, 2.4)
        # The interpolated pattern has a mean square of about 0.8; 1 leaves a margin for rounding.
        rms = float(np.sqrt(np.mean(weight * weight)))
        return weight * min(1.0, self._limit / rms)


def is_inverted(time_s: float) -> bool:
    """Whether the pattern's sign is inverted at a frame's time."""
    # The margin makes the slot of a frame on a boundary independent of rounding.
    return int((time_s + 1e-4) // SLOT_S) % 2 == 1


def new_id() -> int:
    """A random id, 1 .. 2**64 - 1."""
    return secrets.randbits(64) or 1
