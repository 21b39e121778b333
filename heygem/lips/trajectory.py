"""Speech to mouth movement, and the knobs on it.

A temporal network reads log-mel spectra and recognised phones, and says how the lower face is
displaced from the person's neutral mouth, 50 times a second, as coefficients of a basis of mesh
displacements in the canonical face frame. It never sees pixels, so nothing of the source video's
own speech can leak in, and what comes out can be plotted, edited and compared.

The answer is the mean of a few networks trained on different speakers: their errors differ more
than their answers do."""

from dataclasses import dataclass

import numpy as np

from heygem.core.interpolation import interpolate_at_times
from heygem.core.types import FloatArray
from heygem.face import topology as topo
from heygem.face.topology import LOWER
from heygem.lips.motion import SampledTrajectory

RATE_HZ = 50.0

_PLACE = {int(point): i for i, point in enumerate(LOWER)}
_MIDDLE_UPPER, _MIDDLE_LOWER = (_PLACE[i] for i in topo.LIP_MIDDLE)
_CORNERS = tuple(_PLACE[i] for i in topo.MOUTH_CORNERS)
_INNER_UPPER = np.array([_PLACE[i] for i in topo.INNER_UPPER])
_INNER_LOWER = np.array([_PLACE[i] for i in topo.INNER_LOWER])


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
        Displacement of each point of the lower face, in eye distances.
    """

    coefficients: np.ndarray
    rate_hz: float
    basis: np.ndarray

    def __len__(self):
        return len(self.coefficients)

    @property
    def duration_s(self):
        return len(self) / self.rate_hz

    @property
    def times_s(self):
        """Time of each row : float64 [N]."""
        return np.arange(len(self)) / self.rate_hz

    def coefficients_at(self, times_s):
        """Coefficients at any times, held at the ends : float32 [T, K]."""
        at_s = np.asarray(times_s, np.float64)
        return interpolate_at_times(self.coefficients, self.times_s, at_s).astype(np.float32)

    def at(self, times_s, rest=None):
        """Displacement from the neutral mouth at any times.

        Parameters
        ----------
        times_s : float [T]
            A frame's own time, never its index over a rate.
        rest : float32 [len(LOWER), 3] or [T, len(LOWER), 3], optional
            The neutral mouth. With it, lips that would pass through each other meet instead.

        Returns
        -------
        float32 [T, len(LOWER), 3]
            In eye distances.
        """
        moved = np.einsum("tk,knd->tnd", self.coefficients_at(times_s), self.basis)
        return moved if rest is None else _meet(moved, np.asarray(rest, np.float32))

    def for_frames(self, times_s: FloatArray) -> SampledTrajectory:
        """The trajectory at the times of output frames, float64 [T]; see `heygem.lips.motion`."""
        return SampledTrajectory(self.coefficients_at(times_s), self.basis)

    def aperture(self):
        """Change of the gap between the inner lips on the mid-line : float32 [N], eye distances."""
        return self.coefficients @ aperture_direction(self.basis)

    def width(self):
        """Change of the distance of the mouth corners : float32 [N], eye distances."""
        return self.coefficients @ width_direction(self.basis)


def aperture_direction(basis):
    """What one unit of each coefficient adds to the lips' gap : float32 [K]."""
    return basis[:, _MIDDLE_LOWER, 1] - basis[:, _MIDDLE_UPPER, 1]


def width_direction(basis):
    """What one unit of each coefficient adds to the mouth's width : float32 [K]."""
    return basis[:, _CORNERS[1], 0] - basis[:, _CORNERS[0], 0]


def aperture_of(displacement):
    """Change of the lips' gap, `[..., len(LOWER), 3]` to `[...]`, in eye distances."""
    return displacement[..., _MIDDLE_LOWER, 1] - displacement[..., _MIDDLE_UPPER, 1]


def width_of(displacement):
    """Change of the mouth's width, `[..., len(LOWER), 3]` to `[...]`, in eye distances."""
    return displacement[..., _CORNERS[1], 0] - displacement[..., _CORNERS[0], 0]


def _meet(displacement, rest):
    """Stop lips at contact: where the gap would be negative, both meet in the middle of it."""
    shape = rest + displacement
    gap = shape[:, _INNER_LOWER, 1] - shape[:, _INNER_UPPER, 1]
    # A mesh may show a rest mouth slightly crossed already; it is not opened by this.
    floor = np.minimum(rest[..., _INNER_LOWER, 1] - rest[..., _INNER_UPPER, 1], 0)
    short = np.maximum(floor - gap, 0) / 2
    inside = slice(1, -1)  # the corners are one point of both lips
    out = displacement.copy()
    out[:, _INNER_UPPER[inside], 1] -= short[:, inside]
    out[:, _INNER_LOWER[inside], 1] += short[:, inside]
    return out
