"""The invisible mark: 64 bits over the brightness of all frames, for finding a copy's origin.

Spread spectrum (Cox et al., IEEE Trans. Image Processing 6(12), 1997) over a grid of chips laid
over the whole frame in relative coordinates, so that scaling moves nothing. The pattern's sign
turns every 0.2 s, so that whatever stands still in the picture cancels when the reader listens at
2.5 Hz, at any frame rate and from any start; an abrupt turn also survives encoders that drop slow
drifts. A quarter of the chips is a pilot that tells the reader phase, polarity, mirroring and crop;
the others carry the code word (`heygem.provenance.watermark.codec`). Strength follows the local contrast, where
the eye sees least. Chips are placed and signed by the installation's secret.

Every turn must be encoded anew wherever the picture stands still, so a mark costs bits. What costs
is the number of blocks that change, not by how much: so the mark is confined to some patches of
the picture, chosen by the secret, and leaves the blocks between them alone. Large pictures have
chips to spare and use a quarter of their area; small ones use half of it, and more strongly.
"""

import hashlib
from functools import lru_cache

import cv2
import numpy as np

from heygem.provenance.watermark.codec import CODE_BITS, encode

GRID = 64  # chips across and down
SLOT_S = 0.2  # s between turns of the sign
CARRIER_HZ = 1 / (2 * SLOT_S)
PATCH = 8  # chips across and down of what is marked or left alone together
LARGE_PX = 600_000  # pixels of a picture that uses WIDE
WIDE, DENSE = 0.25, 0.5  # share of the patches that are marked
LAYOUTS = (WIDE, DENSE)
STRENGTH = {WIDE: 1.2, DENSE: 2.2}  # grey levels in a flat region
MIN_PSNR_DB = 42.5


class Chips:
    """Which chip carries what, for one secret and one share of the patches.

    Attributes
    ----------
    pilot : int [n]; data : int [m]
        Chip numbers, row by row.
    bit : int [m]
        The code bit each data chip carries.
    sign : float32 [GRID * GRID], -1 or +1; 0 where nothing is marked
    """

    def __init__(self, secret, share):
        count, across = GRID * GRID, GRID // PATCH
        # Drawn from SHAKE-256 and not from a library's generator: it must never change.
        stream = hashlib.shake_256(b"heygem mark 2" + secret).digest(count * 9 + across**2 * 8)
        order = np.argsort(np.frombuffer(stream[: count * 8], ">u8"), kind="stable")
        sign = np.frombuffer(stream[count * 8 : count * 9], np.uint8) % 2 * np.float32(2) - 1
        ranks = np.argsort(np.frombuffer(stream[count * 9 :], ">u8"), kind="stable")
        marked = np.zeros(across**2, bool)
        marked[ranks[: round(share * across**2)]] = True
        patch = np.ones((PATCH, PATCH), bool)
        marked = np.kron(marked.reshape(across, across), patch).reshape(-1)
        order = order[marked[order]]
        pilots = len(order) // 4
        self.sign = np.where(marked, sign, 0)
        self.pilot, self.data = order[:pilots], order[pilots:]
        self.bit = np.arange(len(self.data)) % CODE_BITS

    def pattern(self, mark_id):
        """`float32 [GRID, GRID]`: -1, +1, or 0 where nothing is marked."""
        flat = self.sign.copy()
        flat[self.data] *= encode(mark_id)[self.bit]
        return flat.reshape(GRID, GRID)


@lru_cache(maxsize=8)
def chips(secret, share):
    """`Chips` of a secret and a layout, kept."""
    return Chips(secret, share)


class Watermark:
    """Writes one id into the frames of one clip.

    Parameters
    ----------
    secret : bytes
        `Keys.mark_secret`.
    mark_id : int
        0 .. 2**64 - 1; see `new_id`.
    width, height : int
        Size of the frames, pixels.
    strength : float, optional
        Grey levels in a flat region; contrast raises it, up to four times. By default `STRENGTH`.
    """

    def __init__(self, secret, mark_id, width, height, *, strength=None):
        self.mark_id = mark_id
        share = WIDE if width * height >= LARGE_PX else DENSE
        pattern = chips(secret, share).pattern(mark_id)
        self._pattern = cv2.resize(pattern, (width, height), interpolation=cv2.INTER_CUBIC)
        self._turned = -self._pattern
        self._strength = STRENGTH[share] if strength is None else strength
        # Marked patches may be stronger by what the others leave of the room for the whole frame.
        self._limit = 255 * 10 ** (-MIN_PSNR_DB / 20) / np.sqrt(share)
        self._level = np.empty((height, width), np.float32)
        self._step = np.empty((height, width), np.int16)
        self._steps = np.empty((height, width, 3), np.int16)
        self._small = (max(width // 4, 1), max(height // 4, 1))

    def embed(self, image, time_s):
        """The frame with the mark in it.

        Parameters
        ----------
        image : uint8 [H, W, 3], RGB
        time_s : float
            The frame's own time.

        Returns
        -------
        uint8 [H, W, 3]
            At least `MIN_PSNR_DB` from `image`.
        """
        height, width = image.shape[:2]
        # Brightness moves alike in all three channels: colour stays as it is. The buffers are kept
        # from frame to frame, since fresh memory of this size costs more than the arithmetic.
        level = cv2.resize(self._weight(image), (width, height), dst=self._level)
        np.multiply(level, self._turned if turned(time_s) else self._pattern, out=level)
        np.rint(level, out=level)
        np.copyto(self._step, level, casting="unsafe")
        cv2.merge([self._step] * 3, dst=self._steps)
        return cv2.add(image, self._steps, dtype=cv2.CV_8U)

    def _weight(self, image):
        """Strength per place, at a quarter of the size: `float32 [h, w]`, grey levels."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        mean = cv2.resize(grey, self._small, interpolation=cv2.INTER_AREA).astype(np.float32)
        fine = cv2.absdiff(grey, cv2.blur(grey, (7, 7)))
        contrast = cv2.resize(fine, self._small, interpolation=cv2.INTER_AREA).astype(np.float32)
        coarse = np.abs(mean - cv2.blur(mean, (3, 3)))
        contrast = cv2.blur(contrast + coarse, (3, 3))
        weight = self._strength * np.clip(0.6 + contrast / 5, 0.6, 2.4)
        # The cubic pattern's own mean square is about 0.8; 1 leaves room for the rounding.
        rms = float(np.sqrt(np.mean(weight * weight)))
        return weight * min(1.0, self._limit / rms)


def turned(time_s):
    """Whether the pattern's sign is turned at a frame's time."""
    # The small margin keeps a frame on a boundary in its slot whatever the last digit is.
    return int((time_s + 1e-4) // SLOT_S) % 2 == 1


def new_id():
    """A random id, 1 .. 2**64 - 1."""
    import secrets

    return secrets.randbits(64) or 1
