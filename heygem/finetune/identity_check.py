"""Whether all footage shows one person, by the proportions of the skull.

Compared are points of the face that speech does not move, from each video's mesh with head motion
removed. Measured on 62 clips of 38 people: two clips of one person are 0.012 inter-ocular
distances (IOD) apart (median; 0.029 at most), clips of two people 0.026. So half of all pairs of
strangers are told apart, and only the least similar are refused: it is a guard against a wrong file
or a wrong face in it, not an identification.
"""

from collections.abc import Sequence

import numpy as np

from heygem.avatar.avatar import Avatar
from heygem.core.errors import InputError
from heygem.core.types import FloatArray
from heygem.face import topology as topo
from heygem.face.pose import fit_pose

MAX_FRAMES = 400  # of each video
DOUBTFUL_IOD, OTHER_IOD = 0.024, 0.04  # distances between the points of two skulls


def check_same_person(avatars: Sequence[Avatar]) -> list[str]:
    """Refuse footage of clearly different people.

    Parameters
    ----------
    avatars : sequence of Avatar
        The shown one first.

    Returns
    -------
    list of str
        Doubts, for the user.

    Raises
    ------
    InputError
        Another video shows a different person.
    """
    first, doubts = skull(avatars[0]), []
    for avatar in avatars[1:]:
        difference = distance(first, skull(avatar))
        if difference > OTHER_IOD:
            raise InputError(
                f"{avatar.path.name} seems to show another person than {avatars[0].path.name}",
                seen=f"faces {difference:.3f} inter-ocular distances apart, {OTHER_IOD} at most",
                remedy="leave that file out, or choose the right face with --set face.select",
            )
        if difference > DOUBTFUL_IOD:
            doubts.append(
                f"{avatar.path.name} may show somebody else: check that it is this person"
            )
    return doubts


def skull(avatar: Avatar) -> FloatArray:
    """Points of a face that speech does not move, without pose : float32 [n, 3], IOD."""
    usable = np.flatnonzero(avatar.usable)
    sample = usable[np.linspace(0, len(usable) - 1, min(len(usable), MAX_FRAMES)).astype(int)]
    return fit_pose(avatar.track.points[sample], sigma_frames=0)[1][topo.STABLE]


def distance(one: FloatArray, other: FloatArray) -> float:
    """Root mean square distance of two skulls' points, in IOD; depth, a guess, is left out."""
    return float(np.sqrt(np.square(one[:, :2] - other[:, :2]).sum(1).mean()))
