"""Masks and colour at the borders between the layers of a mouth."""

import cv2
import numpy as np

from heygem.core.types import BoolArray, FloatArray, Image, IntArray
from heygem.face import topology as topo
from heygem.rendering.warp import kernels
from heygem.rendering.warp.mesh_warp import bounds
from heygem.rendering.warp.mouth_axes import iod_px

MIN_DETAIL_PIXELS = 50  # below, sharpness is not compared
BLUR_SIGMAS_PX = (0.7, 1.0, 1.5, 2.2, 3.2, 4.5, 6.5)  # that are tried
BLUR_BELOW = 0.6  # of the picture's own detail: frames blurrier than this blur the mouth too
# Grey levels by which lips may differ between two moments through lipstick and light; lips that are
# hidden or pressed inwards in the frame differ by more, and must not set the colour.
MAX_LIP_TONE = 18.0
USUAL_TINT = 0.05  # by which skin differs in tint from moment to moment in one light
MAX_TINT = 0.6
MIN_SKIN_LEVEL = 20  # darker skin is taken for this bright when a tint is compared with it
FITTED_PIXELS = 1500  # of the ring, for the colour plane
MIN_FITTED_PIXELS = 12  # below, no colour is fitted
SLOPE_DAMPING = 0.05
EDGE = 0.01  # sigma of the opening's soft edge, as soft as a lens draws it [IOD]
LIP_EDGE = 0.4  # of the margin, on both sides of their contour: where a change of the lips ends
# Lips also differ by what they do, pressed or rolled or hidden: half of a difference is light.
LIP_TONE_SHARE = 0.5
LIP_SLOPE_DAMPING = 0.005


def lip_distance(points: FloatArray, size: tuple[int, ...]) -> FloatArray:
    """Distance from the outer lip contour, negative inside : float32 [h, w], pixels.

    `points` float32 [n, 2] is the mesh, `size` the (height, width) of the window.
    """
    away = np.full(size, 255, np.uint8)
    lips = points[topo.LIPS_OUTER]
    cv2.fillPoly(away, [np.rint(lips * 16).astype(np.int32)], 0, cv2.LINE_8, 4)
    outside = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_5)
    return outside - cv2.distanceTransform(~away, cv2.DIST_L2, cv2.DIST_MASK_5)


def lip_edges(
    distance: FloatArray, scale: float, margin_px: float, labels: IntArray
) -> tuple[FloatArray, BoolArray]:
    """Where the library's lips replace the skin, and the skin on which pictures are compared.

    Returns
    -------
    float32 [h, w], bool [h, w]
        The first is 1 on the lips, soft around them.
    """
    return kernels.lip_edges(distance, labels, max(1.0, 0.02 * scale), margin_px)


def match_sharpness(
    picture: FloatArray, reference: Image, ring: BoolArray
) -> tuple[FloatArray, float]:
    """Blur a picture that is sharper than the frame it goes into (motion, a dissolve, defocus).

    Parameters
    ----------
    picture : float32 [h, w, 3]
    reference : uint8 [h, w, 3]
    ring : bool [h, w]
        Where both show the same skin.

    Returns
    -------
    float32 [h, w, 3], float
        In the usual case `picture` itself, and 0; else it is blurred, with this sigma in pixels.
    """
    if np.count_nonzero(ring) < MIN_DETAIL_PIXELS:
        return picture, 0.0
    target = _detail(reference, ring)
    if target > BLUR_BELOW * _detail(picture, ring):
        return picture, 0.0
    for sigma_px in BLUR_SIGMAS_PX:
        blurred = cv2.GaussianBlur(picture, (0, 0), sigma_px)
        if _detail(blurred, ring) <= target:
            break
    return blurred, sigma_px


def _detail(picture: Image | FloatArray, ring: BoolArray) -> float:
    """Mean absolute Laplacian of the green channel on the ring, grey levels, plus one."""
    # The added grey level: detail below it comes from the codec, not from the lens.
    return float(kernels.detail(picture, ring)) + 1.0


def match_lip_tone(
    lips: FloatArray, own: Image, opening: FloatArray, distance: FloatArray, margin_px: float
) -> None:
    """Bring another moment's lips nearer to the colour of the frame's own lips, in place.

    The change follows the light across the lips, as a plane per channel, and fades out over their
    edge: one that ended there would draw their contour, and on skin it would be a halo.

    Parameters
    ----------
    lips, own : float32 and uint8 [h, w, 3]
        The other picture and the frame, both warped to the same mesh.
    opening : float32 [h, w]
        From `interior_mask`.
    distance : float32 [h, w]
        From `lip_distance`.
    margin_px : float
    """
    count = kernels.count_lips(distance, opening)
    if count < MIN_FITTED_PIXELS:
        return
    step = max(1, count // FITTED_PIXELS)
    difference = np.empty((3, -(-count // step)), np.float32)
    places = np.empty((2, difference.shape[1]), np.float32)
    kernels.gather_lips(own, lips, distance, opening, step, difference, places)
    usual = _median(difference)
    plane = kernels.tone_plane(difference, places, usual, MAX_LIP_TONE, LIP_SLOPE_DAMPING)
    reach_px = max(LIP_EDGE * margin_px, 1.0)
    kernels.add_tone(lips, plane, distance, reach_px, MAX_LIP_TONE, LIP_TONE_SHARE)


def _median(values: FloatArray) -> FloatArray:
    """Median of each row, without the checks of `numpy.median`, which take longer."""
    middle = [(values.shape[1] - 1) // 2, values.shape[1] // 2]
    return np.partition(values, middle, 1)[:, middle].mean(1)


def edge_margin_px(points: FloatArray) -> float:
    """How far beyond its contour the soft edge of the opening of a mesh [n, 2] reaches."""
    return 3 + 3 * EDGE * iod_px(points)


def interior_mask(points: FloatArray, size: tuple[int, ...], inside: float = 0.0) -> FloatArray:
    """The opening between the lips of a mesh : float32 [h, w], 1 inside, with a soft edge.

    Parameters
    ----------
    points : float32 [n, 2]
    size : (height, width)
    inside : float
        0: the middle of the edge lies on the contour; 1: all of the edge lies inside. The lips of a
        picture of an open mouth have their own soft edge, which would otherwise count twice.
    """
    lips = points[topo.LIPS_INNER]
    x0, y0, x1, y1 = bounds(lips, edge_margin_px(points), size)
    mask = np.zeros(size, np.float32)
    factor = 4
    local = np.zeros(((y1 - y0) * factor, (x1 - x0) * factor), np.uint8)
    at = (lips - (x0, y0) + 0.5) * factor - 0.5
    cv2.fillPoly(local, [np.rint(at * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    small = cv2.resize(local, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    soft = cv2.GaussianBlur(small.astype(np.float32), (0, 0), max(EDGE * iod_px(points), 0.1))
    mask[y0:y1, x0:x1] = np.maximum(soft / 255 - inside / 2, 0) / (1 - inside / 2)
    return mask


def fit_color_plane(own: Image, other: FloatArray, ring: BoolArray) -> FloatArray:
    """Least-squares plane per channel through `own - other` on the ring.

    Parameters
    ----------
    own, other : uint8 and float32 [h, w, 3]
    ring : bool [h, w]

    Returns
    -------
    float32 [3, 3]
        Coefficients of 1, x / w - 1/2 and y / h - 1/2 (rows) for each channel.
        The slopes are damped; 0 with under 12 ring pixels.
    """
    count = np.count_nonzero(ring)
    if count < MIN_FITTED_PIXELS:
        return np.zeros((3, 3), np.float32)
    step = max(1, int(count) // FITTED_PIXELS)
    return kernels.color_plane(own, other, ring, step, SLOPE_DAMPING)


def light_interior(
    interior: FloatArray,
    coefficients: FloatArray,
    box: tuple[slice, slice],
    skin_level: FloatArray | None,
) -> None:
    """Bring the mouth interior to another light, in place.

    The interior differs from skin in colour, so the offset of the skin does not hold for it. Light
    acts in proportion, channel by channel (von Kries); small tints are the skin's own and would
    make teeth flicker.

    Parameters
    ----------
    interior : float32 [h, w, 3]
    coefficients : float32 [3, 3]
        From `fit_color_plane`: what brings the picture to the light of the frame it goes into.
    box : (slice, slice)
        The rows and columns of `interior` that change.
    skin_level : float32 [3] or None
        Mean colour of that picture's skin; None corrects brightness alone.
    """
    level = np.full(3, np.inf) if skin_level is None else np.maximum(skin_level, MIN_SKIN_LEVEL)
    kernels.light_interior(
        interior[box],
        coefficients,
        *interior.shape[:2],
        box[0].start or 0,
        box[1].start or 0,
        level.astype(np.float32),
        USUAL_TINT,
        MAX_TINT,
    )
