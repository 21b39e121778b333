"""Whether a person's upper teeth are better drawn with the skull or with the upper lip.

The skull carries the teeth, but a registration that took lower teeth, tongue or shadows for upper
teeth would hang them in the wrong place. The library itself decides: each open picture is drawn
from the most similar one of another moment, both ways, and compared with what it really shows.
"""

import numpy as np

from heygem.avatar.library import TURN_DEG, MouthLibrary, lip_features
from heygem.core.types import FloatArray
from heygem.face import topology as topo
from heygem.face.pose import to_canonical
from heygem.face.rest import RestShape
from heygem.rendering.warp.blend import interior_mask
from heygem.rendering.warp.mesh_warp import bounds
from heygem.rendering.warp.mouth_interior import MouthInterior
from heygem.rendering.warp.teeth_anchor import TeethAnchor, open_pictures, register

PAIRS = 48  # pictures that are drawn from another
APART = 12  # frames between two pictures, so that they do not show the same moment
MIN_PIXELS = 60  # of an opening that is compared
MIN_GAIN = -0.005  # in correlation: of two ways that are as good, the skull's is steadier


def anchor_teeth(library: MouthLibrary, rest: RestShape) -> TeethAnchor | None:
    """The registration of the upper teeth to the skull, where drawing by it pays.

    Parameters
    ----------
    library : MouthLibrary
    rest : RestShape
        Of the same person.

    Returns
    -------
    TeethAnchor or None
        None where upper teeth are seen too little, or are better drawn with the lip.
    """
    teeth = register(library, rest)
    if teeth is None:
        return None
    gain = skull_gain(library, teeth)
    return teeth if gain > MIN_GAIN else None


def skull_gain(library: MouthLibrary, teeth: TeethAnchor) -> float:
    """Mean gain in correlation, inside open mouths of the library, of the skull over the lip."""
    interior = MouthInterior()
    gains = []
    for target, source in _pairs(library):
        mesh, crop = library.points[target][:, :2], library.crops[target]
        x0, y0, x1, y1 = bounds(mesh[topo.LIPS_INNER], 3, crop.shape)
        mask = interior_mask(mesh, crop.shape[:2])[y0:y1, x0:x1] > 0.5
        if np.count_nonzero(mask) < MIN_PIXELS:
            continue
        zoom = float(library.pose.scale[target] / library.pose.scale[source])
        skull = teeth.map(source, library.pose[target : target + 1], np.zeros(2, np.float32))
        real = crop[y0:y1, x0:x1][mask].mean(-1)
        scores = []
        for anchor in (None, skull):
            canvas = crop.astype(np.float32)
            other = library.points[source][:, :2]
            interior.fill(library.crops[source], other, mesh, zoom, canvas, skull=anchor)
            scores.append(_correlation(canvas[y0:y1, x0:x1][mask].mean(-1), real))
        gains.append(scores[1] - scores[0])
    return float(np.mean(gains)) if gains else 0.0


def _pairs(library: MouthLibrary) -> list[tuple[int, int]]:
    """Open pictures, and the most similar one of another moment for each."""
    shape = to_canonical(library.points, library.pose)[:, topo.LOWER]
    features = np.concatenate([lip_features(shape), library.pose.angles_deg / TURN_DEG], 1)
    rows = open_pictures(library)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(PAIRS, len(rows))).astype(int))]
    pairs = []
    for row in rows:
        distance = ((features - features[row]) ** 2).sum(1)
        distance[np.abs(library.frames - library.frames[row]) <= APART] = np.inf
        if np.isfinite(distance).any():
            pairs.append((int(row), int(np.argmin(distance))))
    return pairs


def _correlation(a: FloatArray, b: FloatArray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(np.sqrt((a * a).sum() * (b * b).sum()), 1e-6))
