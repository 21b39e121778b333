"""What sound is accepted: limits of a header's numbers, and of the samples' values."""

from dataclasses import dataclass

import numpy as np

from heygem.core.errors import InputError
from heygem.core.types import FloatArray, PathLike
from heygem.media.container import printable

#: Lowest: a telephone's 8 kHz, halved. Highest: what studio converters reach.
RATES_HZ = range(4_000, 384_000 + 1)
#: Numbers of channels for which FFmpeg knows where the loudspeakers stand, so that it can mix them.
CHANNELS = (*range(1, 9), 10, 12, 14, 16, 24)
#: 24 dB above full scale. Float files may exceed full scale; nothing that was recorded does so by
#: this much. A file whose full scale is 32768 (integers stored as floats) does.
MAX_AMPLITUDE = 16.0
MAX_INVALID_SHARE = 0.05  # of all samples; above it the file is refused, below it is repaired


def require_plausible_format(path: PathLike, rate_hz: int, channels: int) -> None:
    """Refuse a header with impossible numbers: a rate of 1 Hz turns a second into hours.

    Raises
    ------
    InputError
    """
    if rate_hz not in RATES_HZ:
        raise InputError(
            f"{printable(path)}: its header states an impossible sampling rate",
            seen=f"{rate_hz} Hz",
            remedy=f"Give sound of {RATES_HZ[0]} to {RATES_HZ[-1]} Hz; if the header is damaged, "
            "import the file as raw data in an audio editor and save it anew.",
        )
    if channels not in CHANNELS:
        raise InputError(
            f"{printable(path)} has a number of channels that cannot be mixed",
            seen=f"{channels} channels",
            remedy="Mix it down to mono or stereo.",
        )


@dataclass
class SampleCheck:
    """Repairs samples that cannot be sound, and counts them.

    Attributes
    ----------
    total, invalid : int
        Samples so far; those of them that were NaN, infinite or beyond `MAX_AMPLITUDE`.
    """

    total: int = 0
    invalid: int = 0

    def repaired(self, block: FloatArray) -> FloatArray:
        """The block with invalid samples set to 0: a filter would spread them over the rest."""
        valid = np.abs(block) <= MAX_AMPLITUDE  # False for NaN
        self.total += block.size
        if valid.all():
            return block
        self.invalid += int(block.size - np.count_nonzero(valid))
        return np.where(valid, block, np.float32(0))

    def require_usable(self, path: PathLike) -> None:
        """Refuse a file with too many of them, once it has been read.

        Raises
        ------
        InputError
        """
        if self.invalid > MAX_INVALID_SHARE * self.total:
            raise InputError(
                f"{printable(path)}: its samples cannot be sound",
                seen=f"{self.invalid / self.total:.0%} are not numbers or beyond "
                f"{MAX_AMPLITUDE:.0f} times full scale",
                remedy="Export it again: as 16-bit integers, or as floats from -1 to 1.",
            )
