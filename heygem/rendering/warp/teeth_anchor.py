"""Where the upper teeth are: they are fixed to the skull, whatever the upper lip does.

The head pose says where a place of the skull lies in each picture of the library. What remains,
because poses are not exact, is one small shift for each picture, found by registration: pictures
that show the upper teeth are compared with the sharpest, then with the median of all, by normalised
correlation over what the lips leave free (for masked correlation see Padfield, IEEE TIP 21(5),
2012; here all shifts are few enough to be tried). Teeth lie close to one plane, the one through the
inner lips, so that the map from a frame to a picture is affine.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from heygem.avatar.library import MouthLibrary
from heygem.core.compiled import compiled
from heygem.core.types import BoolArray, FloatArray, Image, IntArray
from heygem.face import topology as topo
from heygem.face.pose import Pose
from heygem.face.rest import RestShape
from heygem.rendering.warp.mouth_axes import contours, mouth_axes, to_mouth_axes

STEP = 0.004  # between places at which pictures are compared [IOD]
HALF_WIDTH, HALF_HEIGHT = 0.30, 0.20  # of the compared part, around the middle of the lips [IOD]
REACH = 5  # largest shift that is tried, steps
SHIFT_COST = 0.006  # correlation that a shift by one step has to bring
ROUNDS = 2  # of registration to the median of the pictures
MIN_GAP = 0.04  # between the lips of a picture that is registered [IOD]
MIN_CLARITY = 0.7  # of it, over that of the median picture
MAX_TURN_DEG = 12.0  # of the head from its median yaw
UNDER_LIP, OVER_LIP = 0.012, 0.020  # this near a lip its shadow and the mesh's errors show [IOD]
UPPER_SHARE = 0.62  # of the opening's height in which upper teeth are expected
MIN_PLACES = 100  # that two pictures have in common
MIN_PICTURES = 6  # registered, for the teeth to follow the skull
MIN_CORRELATION = 0.45  # median over the pictures; below, they do not show the same teeth

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class SkullMap:
    """Where the places of a skull, as a window shows them, are in a picture.

    Attributes
    ----------
    matrix : float32 [2, 3]
        Affine map from the window to the picture, pixels.
    frame_scale, scale : float
        Pixels per IOD of the window and of the picture.
    """

    matrix: FloatArray
    frame_scale: float
    scale: float

    def reduced(self, step: int) -> "SkullMap":
        """The same map between a window and a picture in pixels `step` times as wide."""
        linear, shift = self.matrix[:, :2], self.matrix[:, 2]
        first = np.full(2, (step - 1) / 2, np.float32)  # centre of the first of the wider pixels
        shift = (linear @ first + shift + 0.5) / step - 0.5
        matrix = np.concatenate([linear, shift[:, None]], 1).astype(np.float32)
        return SkullMap(matrix, self.frame_scale / step, self.scale / step)


@dataclass(frozen=True)
class TeethAnchor:
    """Maps a place of the skull from a frame to each picture of a library.

    Attributes
    ----------
    pose : Pose
        Of each picture.
    depth : float
        The plane of the teeth in the canonical frame, IOD.
    shifts : float32 [N, 2]
        What is added in the canonical frame for each picture, IOD.
    registered : int
        Pictures of which the shift was found; the others have none.
    """

    pose: Pose
    depth: float
    shifts: FloatArray
    registered: int

    def map(self, picture: int, pose: Pose, corner: FloatArray) -> SkullMap:
        """Where the skull, as a window of a frame shows it, is in a picture.

        Parameters
        ----------
        picture : int
            Row of the library.
        pose : Pose
            Of the frame, one row.
        corner : float32 [2]
            The window's first pixel in the frame.
        """
        axes, offset = _plane(pose, 0, self.depth)
        to_axes, to_offset = _plane(self.pose, picture, self.depth)
        linear = to_axes @ np.linalg.inv(axes)
        shift = linear @ (corner - offset) + to_axes @ self.shifts[picture] + to_offset
        matrix = np.concatenate([linear, shift[:, None]], 1).astype(np.float32)
        return SkullMap(matrix, float(pose.scale[0]), float(self.pose.scale[picture]))


def register(library: MouthLibrary, rest: RestShape) -> TeethAnchor | None:
    """Find where the upper teeth are in the pictures of a library.

    Parameters
    ----------
    library : MouthLibrary
    rest : RestShape
        Of the same person.

    Returns
    -------
    TeethAnchor or None
        None where too few pictures show upper teeth that agree.
    """
    lips = rest.neutral[topo.LIPS_INNER].mean(0)
    chosen = open_pictures(library)
    if len(chosen) < MIN_PICTURES:
        return None
    luma, weight = _sample_all(library, chosen, lips)
    clarity = np.array([_clarity(y, w) for y, w in zip(luma, weight, strict=True)])
    clear = clarity > MIN_CLARITY * np.median(clarity)
    chosen, luma, weight, clarity = chosen[clear], luma[clear], weight[clear], clarity[clear]
    if len(chosen) < MIN_PICTURES:
        return None
    start = int(np.argmax(weight.sum((1, 2)) * np.minimum(clarity, np.median(clarity))))
    reference, known = luma[start], weight[start]
    shifts = np.zeros((len(chosen), 2), np.float32)
    for _ in range(1 + ROUNDS):
        results = [
            _best_shift(correlate(reference, known, *each))
            for each in zip(luma, weight, strict=True)
        ]
        shifts = np.array([shift for shift, _ in results], np.float32)
        quality = np.array([value for _, value in results])
        reference, known = _median_picture(luma, weight, shifts, reference, known)
    agree = quality > MIN_CORRELATION
    if agree.sum() < MIN_PICTURES or np.median(quality) < MIN_CORRELATION:
        return None
    shifts -= np.median(shifts[agree], 0)
    all_shifts = np.zeros((len(library.crops), 2), np.float32)
    all_shifts[chosen[agree]] = shifts[agree] * STEP
    return TeethAnchor(library.pose, float(lips[2]), all_shifts, int(agree.sum()))


def open_pictures(library: MouthLibrary) -> IntArray:
    """Rows of pictures whose mouth is open, in a head that is turned as usual."""
    lips = library.points[:, topo.LIP_MIDDLE, :2]
    gap = np.linalg.norm(lips[:, 1] - lips[:, 0], axis=-1) / library.pose.scale
    yaw = library.pose.angles_deg[:, 0]
    return np.flatnonzero((gap > MIN_GAP) & (np.abs(yaw - np.median(yaw)) < MAX_TURN_DEG))


def _plane(pose: Pose, row: int, depth: float) -> tuple[FloatArray, FloatArray]:
    """Image of a canonical plane of constant depth: its axes [2, 2] and its origin [2], pixels."""
    rotation, scale = pose.rotation[row, :2], pose.scale[row]
    return scale * rotation[:, :2], scale * depth * rotation[:, 2] + pose.offset[row, :2]


def _sample_all(
    library: MouthLibrary, rows: IntArray, lips: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Brightness of pictures at places of the skull, and where it may be that of upper teeth.

    Returns
    -------
    (float32 [n, h, w], bool [n, h, w])
    """
    gx, gy = np.meshgrid(
        np.arange(-HALF_WIDTH, HALF_WIDTH, STEP), np.arange(-HALF_HEIGHT, HALF_HEIGHT, STEP)
    )
    places = np.stack([gx + lips[0], gy + lips[1]], -1).astype(np.float32)
    luma = np.empty((len(rows), *gx.shape), np.float32)
    weight = np.empty(luma.shape, bool)
    for k, row in enumerate(rows):
        axes, offset = _plane(library.pose, row, float(lips[2]))
        at = (places @ axes.T + offset).astype(np.float32)
        luma[k] = _at(library.crops[row], at)
        weight[k] = _may_show_teeth(library.points[row][:, :2], at, float(library.pose.scale[row]))
    rows_shown = np.flatnonzero(weight.any((0, 2)))
    columns_shown = np.flatnonzero(weight.any((0, 1)))
    part = slice(None), _extent(rows_shown), _extent(columns_shown)
    return np.ascontiguousarray(luma[part]), np.ascontiguousarray(weight[part])


def _extent(places: IntArray) -> slice:
    """From the first to the last of increasing indices, with `REACH` more on both sides."""
    if not len(places):
        return slice(None)
    return slice(max(int(places[0]) - REACH, 0), int(places[-1]) + REACH + 1)


def _at(crop: Image, at: FloatArray) -> FloatArray:
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    x, y = np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1])
    return cv2.remap(grey, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _may_show_teeth(mesh: FloatArray, at: FloatArray, scale: float) -> BoolArray:
    """Places of a picture [h, w, 2] in the upper part of the opening, away from the lips."""
    upper, lower = mesh[topo.INNER_UPPER], mesh[topo.INNER_LOWER]
    axes = mouth_axes(upper)
    u, v = to_mouth_axes(axes, at)
    top, bottom = contours(axes, upper, lower, u)
    below, above = v - top, bottom - v
    inside = (u > 0) & (u < 1) & (below > UNDER_LIP * scale) & (above > OVER_LIP * scale)
    return inside & (below < UPPER_SHARE * (bottom - top))


def _clarity(luma: FloatArray, weight: BoolArray) -> float:
    """Spread of the Laplacian where teeth may show, 0 where hardly any place is."""
    if np.count_nonzero(weight) < MIN_PLACES // 2:
        return 0.0
    return float(cv2.Laplacian(luma, cv2.CV_32F)[weight].std())


@compiled("f4[:,::1](f4[:,::1], b1[:,::1], f4[:,::1], b1[:,::1])")
def correlate(
    reference: FloatArray, known: BoolArray, picture: FloatArray, weight: BoolArray
) -> FloatArray:
    """Normalised correlation of two masked pictures at every small shift.

    Parameters
    ----------
    reference, picture : float32 [h, w]
    known, weight : bool [h, w]
        What of them counts.

    Returns
    -------
    float32 [2 REACH + 1, 2 REACH + 1]
        At [REACH + dy, REACH + dx] of `reference[y, x]` with `picture[y + dy, x + dx]`; -1 where
        they have fewer than `MIN_PLACES` places in common.
    """
    height, width = reference.shape
    out = np.full((2 * REACH + 1, 2 * REACH + 1), -1, np.float32)
    for dy in range(-REACH, REACH + 1):
        for dx in range(-REACH, REACH + 1):
            n, sa, sb, saa, sbb, sab = 0, 0.0, 0.0, 0.0, 0.0, 0.0
            for y in range(max(0, -dy), height - max(0, dy)):
                for x in range(max(0, -dx), width - max(0, dx)):
                    if known[y, x] and weight[y + dy, x + dx]:
                        a, b = float(reference[y, x]), float(picture[y + dy, x + dx])
                        n += 1
                        sa, sb = sa + a, sb + b
                        saa, sbb, sab = saa + a * a, sbb + b * b, sab + a * b
            if n >= MIN_PLACES:
                va, vb = saa - sa * sa / n, sbb - sb * sb / n
                if va > 1e-3 * n and vb > 1e-3 * n:
                    out[REACH + dy, REACH + dx] = (sab - sa * sb / n) / np.sqrt(va * vb)
    return out


def _best_shift(correlation: FloatArray) -> tuple[tuple[float, float], float]:
    """The shift (x, y) of the highest correlation in steps, refined by a parabola, and its height.

    Shifts have a price, so that pictures without structure stay where the pose puts them.
    """
    steps = np.abs(np.arange(-REACH, REACH + 1))
    scored = correlation - SHIFT_COST * (steps[:, None] + steps[None])
    y, x = np.unravel_index(int(np.argmax(scored)), scored.shape)
    if correlation[y, x] <= -1:
        return (0.0, 0.0), -1.0
    dx, dy = _vertex(scored[y, max(x - 1, 0) : x + 2]), _vertex(scored[max(y - 1, 0) : y + 2, x])
    return (float(x) - REACH + dx, float(y) - REACH + dy), float(correlation[y, x])


def _vertex(values: FloatArray) -> float:
    """Place of the maximum of a parabola through three values, from the middle one; else 0."""
    if len(values) < 3 or values.min() <= -0.9:
        return 0.0
    curvature = values[0] - 2 * values[1] + values[2]
    return float(np.clip(0.5 * (values[0] - values[2]) / min(curvature, -1e-6), -0.5, 0.5))


def _median_picture(
    luma: FloatArray,
    weight: BoolArray,
    shifts: FloatArray,
    reference: FloatArray,
    known: BoolArray,
) -> tuple[FloatArray, BoolArray]:
    """The median of the shifted pictures in one light, and where enough of them show it."""
    moved = np.empty_like(luma)
    shown = np.empty_like(weight)
    for k, (dx, dy) in enumerate(shifts):
        matrix = np.array([[1, 0, -dx], [0, 1, -dy]], np.float32)
        size = luma.shape[:0:-1]
        moved[k] = cv2.warpAffine(luma[k], matrix, size, borderMode=cv2.BORDER_REPLICATE)
        shown[k] = cv2.warpAffine(weight[k].astype(np.float32), matrix, size) > 0.99
        both = shown[k] & known
        if np.count_nonzero(both) >= MIN_PLACES:
            ratio = np.median(reference[both] / np.maximum(moved[k][both], 8))
            moved[k] *= np.clip(ratio, 0.6, 1.7)
    count = shown.sum(0)
    order = np.sort(np.where(shown, moved, np.inf), 0)
    median = np.take_along_axis(order, np.maximum(count - 1, 0)[None] // 2, 0)[0]
    enough = count > max(1, 0.06 * len(luma))
    return np.where(enough, median, 0).astype(np.float32), enough
