"""Lower-face motion as a renderer takes it: displacements at the times of the output frames."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from heygem.core.errors import ParameterError
from heygem.core.types import FloatArray, IntArray

#: Inter-ocular distances, outer corners: more than a face is wide or high. The widest mouth that
#: the controls can make moves by a third of it.
MAX_DISPLACEMENT = 2.0


class FrameMotion(Protocol):
    """Displacement from rest of every output frame, computed for the rows that are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: IntArray | slice) -> FloatArray:
        """Displacement of the lower face, float32 [n, len(LOWER), 3], IOD."""


class Motion(Protocol):
    """Any movement of the lower face over time: a trajectory, or recorded displacements."""

    def for_frames(self, times_s: FloatArray) -> FrameMotion:
        """Sample the motion at each output frame's own time, float64 [T]."""


def require_drawable(displacement: FloatArray) -> None:
    """Refuse displacements [n, len(LOWER), 3] in IOD that no face can make.

    A mesh of numbers that are not finite, or far outside the picture, takes minutes to fill.

    Raises
    ------
    ParameterError
    """
    largest = float(np.abs(displacement).max(initial=0))
    if not largest <= MAX_DISPLACEMENT:  # also where it is not a number
        raise ParameterError(
            "the mouth movement cannot be drawn",
            seen=f"a point moves by {largest:.3g} times the distance of the eyes",
            remedy="check the sound with `heygem check`, and the trajectory or lips model if it "
            "is your own",
        )


@dataclass(frozen=True)
class SampledTrajectory:
    """A trajectory at the frames of a video; K numbers a frame, whatever the length.

    Attributes
    ----------
    coefficients : float32 [T, K]
    basis : float32 [K, len(LOWER), 3]
    """

    coefficients: FloatArray
    basis: FloatArray

    def __len__(self) -> int:
        return len(self.coefficients)

    def __getitem__(self, rows: IntArray | slice) -> FloatArray:
        return np.einsum("tk,knd->tnd", self.coefficients[rows], self.basis)


@dataclass(frozen=True)
class RecordedMotion:
    """Displacements measured or made frame by frame, such as a real mouth's.

    Attributes
    ----------
    displacement : float32 [T, len(LOWER), 3]
        One row per output frame, IOD.
    """

    displacement: FloatArray

    def for_frames(self, times_s: FloatArray) -> FloatArray:
        """The displacements themselves: they were recorded for these very frames.

        Raises
        ------
        ValueError
            Their number differs from that of the output frames.
        """
        if len(self.displacement) != len(times_s):
            raise ValueError(
                f"motion of {len(self.displacement)} frames for {len(times_s)} output frames"
            )
        return self.displacement
