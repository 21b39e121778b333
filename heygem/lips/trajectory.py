"""The movement of a mouth over time, as coefficients of a basis of mesh displacements."""

from dataclasses import dataclass

import numpy as np

from heygem.core.interpolation import interpolate_at_times
from heygem.core.types import FloatArray
from heygem.face import topology as topo
from heygem.face.topology import lower_rows
from heygem.lips.motion import SampledTrajectory

RATE_HZ = 50.0

_MIDDLE_UPPER, _MIDDLE_LOWER = lower_rows(topo.LIP_MIDDLE)
_CORNERS = lower_rows(topo.MOUTH_CORNERS)


@dataclass(frozen=True)
class Trajectory:
    """How a mouth moves.

    Attributes
    ----------
    coefficients : float32 [N, K]
        Weights of the basis; 1 is the standard deviation over the speakers of the training set.
    rate_hz : float
        Rows per second; row 0 is at 0 s of the audio.
    basis : float32 [K, len(LOWER), 3]
        Displacement of each point of the lower face, IOD.
    """

    coefficients: FloatArray
    rate_hz: float
    basis: FloatArray

    def __len__(self) -> int:
        return len(self.coefficients)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self) / self.rate_hz

    @property
    def times_s(self) -> FloatArray:
        """Time of each row : float64 [N]."""
        return np.arange(len(self)) / self.rate_hz

    def coefficients_at(self, times_s: FloatArray) -> FloatArray:
        """Coefficients at any times, constant beyond the ends : float32 [T, K]."""
        at_s = np.asarray(times_s, np.float64)
        return interpolate_at_times(self.coefficients, self.times_s, at_s).astype(np.float32)

    def at(self, times_s: FloatArray) -> FloatArray:
        """Displacement from the neutral mouth at any times.

        Parameters
        ----------
        times_s : float [T]
            A frame's own time, never its index over a rate.

        Returns
        -------
        float32 [T, len(LOWER), 3]
            IOD. Lips may pass through each other; rendering stops them at contact.
        """
        return np.einsum("tk,knd->tnd", self.coefficients_at(times_s), self.basis)

    def for_frames(self, times_s: FloatArray) -> SampledTrajectory:
        """The trajectory at the times of output frames, float64 [T]; see `heygem.lips.motion`."""
        return SampledTrajectory(self.coefficients_at(times_s), self.basis)

    def aperture(self) -> FloatArray:
        """Change of the lip aperture : float32 [N], IOD."""
        return self.coefficients @ aperture_direction(self.basis)

    def width(self) -> FloatArray:
        """Change of the mouth width : float32 [N], IOD."""
        return self.coefficients @ width_direction(self.basis)


@dataclass(frozen=True)
class ExpressiveTrajectory:
    """A trajectory to which the frames of a video add something of their own.

    Attributes
    ----------
    trajectory : Trajectory
    changes : float32 [T, K]
        Coefficients added in each output frame.
    """

    trajectory: Trajectory
    changes: FloatArray

    def for_frames(self, times_s: FloatArray) -> SampledTrajectory:
        """The movement at the times of the T output frames; see `heygem.lips.motion`."""
        sampled = self.trajectory.for_frames(times_s)
        return SampledTrajectory(sampled.coefficients + self.changes, sampled.basis)


def coefficients_of(displacement: FloatArray, basis: FloatArray) -> FloatArray:
    """Least squares: coefficients [K] of a basis for a displacement [len(LOWER), 3], IOD."""
    matrix = basis.reshape(len(basis), -1).T.astype(np.float64)
    return np.linalg.lstsq(matrix, displacement.reshape(-1), rcond=None)[0].astype(np.float32)


def aperture_of(displacement: FloatArray) -> FloatArray:
    """Change of the gap between the inner lips on the mid-line.

    Parameters
    ----------
    displacement : float [..., len(LOWER), 3], IOD

    Returns
    -------
    float [...], IOD
    """
    return displacement[..., _MIDDLE_LOWER, 1] - displacement[..., _MIDDLE_UPPER, 1]


def width_of(displacement: FloatArray) -> FloatArray:
    """Change of the distance of the mouth corners, `[..., len(LOWER), 3]` to `[...]`, IOD."""
    return displacement[..., _CORNERS[1], 0] - displacement[..., _CORNERS[0], 0]


def aperture_direction(basis: FloatArray) -> FloatArray:
    """Change of the lip aperture by one unit of each coefficient : float32 [K]."""
    return aperture_of(basis)


def corner_changes(basis: FloatArray) -> FloatArray:
    """Smallest changes of all coefficients that move one corner, and not the aperture.

    Returns
    -------
    float32 [K, 2, 2]
        By 1 IOD, for x and y of the first and the last corner.
    """
    corners = basis[:, _CORNERS, :2].reshape(len(basis), 4)
    directions = np.concatenate([corners.T, aperture_direction(basis)[None]])
    inverse = np.linalg.pinv(directions.astype(np.float64), rcond=0.01)
    return inverse[:, :4].reshape(-1, 2, 2).astype(np.float32)


def width_direction(basis: FloatArray) -> FloatArray:
    """Change of the mouth width by one unit of each coefficient : float32 [K]."""
    return width_of(basis)
