"""Whether all footage shows one person.

The skull's own measures, from each video's mesh with head motion taken out. Measured on 62 clips of
38 people: two clips of one person are 0.012 eye distances apart (median; 0.029 at most), of two
people 0.026. So half of all strangers are told apart, and only the most unlike are refused: it is a
guard against the wrong file and against following the wrong face, no identification.
"""

import numpy as np

from heygem.core.errors import InputError
from heygem.face import topology as topo
from heygem.face.pose import fit_pose

FRAMES = 400  # of each video that are looked at
DOUBTFUL, OTHER = 0.024, 0.04  # eye distances between the points of two skulls


def same_person(people):
    """Refuse footage of quite different people.

    Parameters
    ----------
    people : list of Avatar
        The shown one first.

    Returns
    -------
    list of str
        Doubts, in words.

    Raises
    ------
    InputError
    """
    first, doubts = skull(people[0]), []
    for other in people[1:]:
        away = distance(first, skull(other))
        if away > OTHER:
            raise InputError(
                f"{other.path.name} seems to show another person than {people[0].path.name}",
                seen=f"faces {away:.3f} eye distances apart, {OTHER} at most",
                remedy="leave that file out, or choose the right face with --set face.select",
            )
        if away > DOUBTFUL:
            doubts.append(f"{other.path.name} may show somebody else: check that it is this person")
    return doubts


def skull(avatar):
    """The points of a face that speech does not move, free of pose : float32 [n, 3]."""
    found = np.flatnonzero(avatar.usable)
    some = found[np.linspace(0, len(found) - 1, min(len(found), FRAMES)).astype(int)]
    return fit_pose(avatar.track.points[some], sigma_frames=0)[1][topo.STABLE]


def distance(one, other):
    """How unlike two skulls are : float, eye distances (depth, which is guessed, left out)."""
    return float(np.sqrt(np.square(one[:, :2] - other[:, :2]).sum(1).mean()))
