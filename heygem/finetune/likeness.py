"""Whether all footage shows one person.

The skull's own measures, from each video's mesh with head motion taken out. They tell quite
different faces apart, not look-alikes: a guard against the wrong file and against following the
wrong face, not an identification.
"""

import numpy as np

from heygem.errors import InputError
from heygem.face import geometry
from heygem.face import topology as topo

FRAMES = 400  # of each video that are looked at
OTHER = 0.06  # eye distances between the mean points of the skull


def same_person(people):
    """Refuse footage of different people.

    Parameters
    ----------
    people : list of Avatar
        The shown one first.

    Raises
    ------
    InputError
    """
    first = skull(people[0])
    for other in people[1:]:
        away = distance(first, skull(other))
        if away > OTHER:
            raise InputError(
                f"{other.path.name} seems to show another person than {people[0].path.name}",
                seen=f"faces {away:.3f} eye distances apart, {OTHER} at most",
                remedy="leave that file out, or choose the right face with --set face.choose",
            )


def skull(avatar):
    """The points of a face that speech does not move, free of pose : float32 [n, 3]."""
    found = np.flatnonzero(avatar.usable)
    some = found[np.linspace(0, len(found) - 1, min(len(found), FRAMES)).astype(int)]
    return geometry.fit_pose(avatar.track.points[some], sigma_frames=0)[1][topo.STABLE]


def distance(one, other):
    """How unlike two skulls are : float, eye distances (depth, which is guessed, left out)."""
    return float(np.sqrt(np.square(one[:, :2] - other[:, :2]).sum(1).mean()))
