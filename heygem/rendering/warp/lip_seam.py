"""Where the lower lip begins in a picture of closed lips.

The line between closed lips is dark and belongs to neither. The face mesh runs its contours through
it, so that a lip that is drawn open from such a picture would carry the line along its edge.
"""

import cv2
import numpy as np

from heygem.avatar.library import MouthLibrary
from heygem.core.interpolation import linear_ramp
from heygem.core.types import FloatArray, Image
from heygem.face import topology as topo
from heygem.rendering.warp.mesh_warp import bounds
from heygem.rendering.warp.mouth_axes import gap_px

MAX_GAP = 0.03  # between the inner contours of lips that count as closed [IOD]
MIN_CONTRAST = 12.0  # grey levels between the line and the lip, below which there is no line
LIP_STEPS = np.linspace(-0.25, 0.9, 47)  # sampled across the lip, in shares of its thickness
LINE_AT = (-0.25, 0.40)  # the line lies between these
LIP_AT = (0.45, 0.9)  # and the lip itself between these
MAX_SHIFT = 0.5  # of the lip's thickness
OPENED = (
    0.01,
    0.05,
)  # the line is left out from an opening that is wider by this, whole by that [IOD]

_INNER = topo.INNER_LOWER[1:-1]
_OUTER = topo.OUTER_LOWER[1:-1]


def lower_lip_shift(library: MouthLibrary, pick: int) -> FloatArray:
    """How far the edge of a picture's lower lip lies beyond the mesh's : float32 [9, 2], pixels.

    Zero where the lips are open. In the order of `topology.INNER_LOWER` without its corners.
    """
    mesh = library.points[pick][:, :2]
    if gap_px(mesh) < MAX_GAP * float(library.pose.scale[pick]):
        return _shift_beyond_line(library.crops[pick], mesh)
    return np.zeros((len(_INNER), 2), np.float32)


def _shift_beyond_line(crop: Image, mesh: FloatArray) -> FloatArray:
    """From the mesh's contour to the lip's own colour : float32 [9, 2], pixels."""
    across = mesh[_OUTER] - mesh[_INNER]
    places = mesh[_INNER][:, None] + LIP_STEPS[None, :, None] * across[:, None]
    x0, y0, x1, y1 = bounds(places, 2, crop.shape)
    grey = cv2.cvtColor(crop[y0:y1, x0:x1], cv2.COLOR_RGB2GRAY)
    x, y = np.moveaxis((places - (x0, y0)).astype(np.float32), -1, 0)
    profile = cv2.remap(grey, x, y, cv2.INTER_LINEAR).astype(np.float32)
    near_line = (LIP_STEPS >= LINE_AT[0]) & (LIP_STEPS <= LINE_AT[1])
    on_lip = (LIP_STEPS >= LIP_AT[0]) & (LIP_STEPS <= LIP_AT[1])
    darkest = np.where(near_line, profile, np.inf).argmin(1)
    line = profile[np.arange(len(profile)), darkest]
    lip = np.median(profile[:, on_lip], 1)
    bright = profile > (0.25 * line + 0.75 * lip)[:, None]
    bright &= np.arange(len(LIP_STEPS)) > darkest[:, None]
    share = np.where(bright.any(1), LIP_STEPS[bright.argmax(1)], 0.0)
    share = np.where(lip - line >= MIN_CONTRAST, np.clip(share, 0, MAX_SHIFT), 0.0)
    padded = np.pad(share, 1)  # nothing shifts in the corners
    smooth = np.convolve(padded, [0.25, 0.5, 0.25], mode="valid")
    return (smooth[:, None] * across).astype(np.float32)


def without_line(mesh: FloatArray, shift: FloatArray, opened: float) -> FloatArray:
    """The mesh of a picture whose lower lip begins beyond the line : float32 [n, 2].

    Parameters
    ----------
    mesh : float32 [n, 2]
    shift : float32 [9, 2]
        Of `lower_lip_shift`.
    opened : float
        By how much wider than in the picture the lips are drawn [IOD]; lips that stay closed keep
        their line.
    """
    share = linear_ramp(*OPENED, opened)
    if share <= 0 or not shift.any():
        return mesh
    mesh = mesh.copy()
    mesh[_INNER] += np.float32(share) * shift
    return mesh
