"""The watermark's pattern: what each chip carries, and its sign.

The frame is divided into a grid of chips in relative coordinates. The sign of a chip is the product
of three: its own, from the installation's secret; that of the picture's content around it, also
under the secret (`content`); and, in data chips, the code bit. The earlier scheme had no content.
"""

import hashlib
from functools import lru_cache

import numpy as np

from heygem.core.types import FloatArray
from heygem.provenance.watermark.codec import CODE_BITS, encode

GRID = 64  # chips across and down
SLOT_S = 0.2  # between sign changes
PERIOD_S = 2 * SLOT_S  # the pattern, then its inverse
CARRIER_HZ = 1 / PERIOD_S
PATCH = 8  # chips across and down of a patch, which is used or left unchanged as a whole
SPARSE, DENSE = 0.25, 0.5  # share of the patches that are used
DENSITIES = (SPARSE, DENSE)
_LABELS = {True: b"heygem mark 3", False: b"heygem mark 2"}


class ChipLayout:
    """Roles of the chips, for one secret and one density.

    Parameters
    ----------
    secret, density
    has_content
        False for watermarks of the earlier scheme, whose signs ignore the content.

    Attributes
    ----------
    pilot, data : int [n], int [m]
        Chip indices, row by row.
    bit : int [m]
        The code bit that each data chip carries.
    sign : float32 [GRID * GRID]
        -1 or +1; 0 in unused patches.
    """

    def __init__(self, secret: bytes, density: float, has_content: bool) -> None:
        count, across = GRID * GRID, GRID // PATCH
        # From SHAKE-256, not from a library's random generator: the pattern must never change.
        stream = hashlib.shake_256(_LABELS[has_content] + secret).digest(count * 9 + across**2 * 8)
        order = np.argsort(np.frombuffer(stream[: count * 8], ">u8"), kind="stable")
        sign = np.frombuffer(stream[count * 8 : count * 9], np.uint8) % 2 * np.float32(2) - 1
        ranks = np.argsort(np.frombuffer(stream[count * 9 :], ">u8"), kind="stable")
        used = np.zeros(across**2, bool)
        used[ranks[: round(density * across**2)]] = True
        patch = np.ones((PATCH, PATCH), bool)
        used = np.kron(used.reshape(across, across), patch).reshape(-1)
        order = order[used[order]]
        pilots = len(order) // 4
        self.has_content = has_content
        self.sign = np.where(used, sign, 0)
        self.pilot, self.data = order[:pilots], order[pilots:]
        self.bit = np.arange(len(self.data)) % CODE_BITS

    def pattern(self, watermark_id: int) -> FloatArray:
        """The signs of an id, without content: float32 [GRID, GRID], 0 in unused patches."""
        return (self.sign * self.word(watermark_id)).reshape(GRID, GRID)

    def word(self, watermark_id: int) -> FloatArray:
        """The code bits of an id at its data chips, float32 [GRID * GRID]; 1 elsewhere."""
        flat = np.ones(GRID * GRID, np.float32)
        flat[self.data] = encode(watermark_id)[self.bit]
        return flat


@lru_cache(maxsize=16)
def chip_layout(secret: bytes, density: float, has_content: bool = True) -> ChipLayout:
    """The layout of a secret and a density, cached."""
    return ChipLayout(secret, density, has_content)


def period_at(time_s: float) -> tuple[int, bool]:
    """The period of a frame's time, and whether the pattern is inverted there."""
    # The margin makes the slot of a frame on a boundary independent of rounding.
    slot = int((time_s + 1e-4) // SLOT_S)
    return slot // 2, slot % 2 == 1
