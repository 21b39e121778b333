"""Masks and colour at the borders between the layers of a mouth."""

import cv2
import numpy as np

from heygem.core.types import BoolArray, FloatArray, IntArray
from heygem.face import topology as topo
from heygem.rendering.warp.mesh_warp import bounds

BLUR_BELOW = 0.6  # of the picture's own detail: frames blurrier than this blur the mouth too
# Grey levels by which lips may differ between two moments through lipstick and light; lips that are
# hidden or pressed inwards in the frame differ by more, and must not set the colour.
MAX_LIP_TONE = 18.0
USUAL_TINT = 0.05  # by which skin differs in tint from moment to moment in one light
MAX_TINT = 0.6


def lip_distance(points: FloatArray, size: tuple[int, ...]) -> FloatArray:
    """Distance from the outer lip contour, 0 inside : float32 [h, w], pixels.

    `points` float32 [n, 2] is the mesh, `size` the (height, width) of the window.
    """
    away = np.full(size, 255, np.uint8)
    lips = points[topo.LIPS_OUTER]
    cv2.fillPoly(away, [np.rint(lips * 16).astype(np.int32)], 0, cv2.LINE_8, 4)
    return cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_5)


def lip_mask(distance: FloatArray, margin_px: float) -> FloatArray:
    """Where the library's lips replace the skin : float32 [h, w], 1 on the lips, soft around."""
    t = np.clip((1.4 * margin_px - distance) / max(margin_px, 1.0), 0, 1)
    return t * t * (3 - 2 * t)


def skin_ring(distance: FloatArray, scale: float, margin_px: float, labels: IntArray) -> BoolArray:
    """Skin around the lips on which pictures are compared : bool [h, w]."""
    return (distance > max(1.0, 0.02 * scale)) & (distance < 1.4 * margin_px) & (labels >= 0)


def match_sharpness(picture: FloatArray, reference: FloatArray, ring: BoolArray) -> FloatArray:
    """Blur a picture that is sharper than the frame it goes into (motion, a dissolve, defocus).

    Parameters
    ----------
    picture, reference : float32 [h, w, 3]
    ring : bool [h, w]
        Where both show the same skin.

    Returns
    -------
    float32 [h, w, 3]
        `picture` itself in the usual case.
    """
    if ring.sum() < 50:
        return picture
    target = _detail(reference, ring)
    if target > BLUR_BELOW * _detail(picture, ring):
        return picture
    for sigma_px in (0.7, 1.0, 1.5, 2.2, 3.2, 4.5, 6.5):
        blurred = cv2.GaussianBlur(picture, (0, 0), sigma_px)
        if _detail(blurred, ring) <= target:
            break
    return blurred


def _detail(picture: FloatArray, ring: BoolArray) -> float:
    """Mean absolute Laplacian of the green channel on the ring, grey levels, plus one."""
    grey = picture[..., 1]
    # The added grey level: detail below it comes from the codec, not from the lens.
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F))[ring].mean()) + 1.0


def lip_tone(
    own: FloatArray,
    other: FloatArray,
    points: FloatArray,
    distance: FloatArray,
    margin_px: float,
) -> FloatArray:
    """Offset that brings another moment's lips to the colour of the frame's own lips.

    Parameters
    ----------
    own, other : float32 [h, w, 3]
        The frame and the other picture, both warped to `points`.
    points : float32 [n, 2]
    distance : float32 [h, w]
        From `lip_distance`.
    margin_px : float

    Returns
    -------
    float32 [h, w, 3]
        Ends at the edge of the lips: on skin it would be a halo.
    """
    lips = distance == 0
    lips &= interior_mask(points, distance.shape) == 0
    if lips.sum() < 12:
        return np.zeros((1, 1, 3), np.float32)
    offset = np.median(own[lips], 0) - np.median(other[lips], 0)
    soft = np.clip(1 - distance / max(0.15 * margin_px, 1.0), 0, 1)
    return np.clip(offset, -MAX_LIP_TONE, MAX_LIP_TONE).astype(np.float32) * soft[..., None]


def interior_mask(points: FloatArray, size: tuple[int, ...]) -> FloatArray:
    """The opening between the lips : float32 [h, w], with a soft edge of about a pixel."""
    lips = points[topo.LIPS_INNER]
    x0, y0, x1, y1 = bounds(lips, 3, size)
    mask = np.zeros(size, np.float32)
    factor = 4
    local = np.zeros(((y1 - y0) * factor, (x1 - x0) * factor), np.uint8)
    at = (lips - (x0, y0) + 0.5) * factor - 0.5
    cv2.fillPoly(local, [np.rint(at * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    small = cv2.resize(local, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    mask[y0:y1, x0:x1] = small.astype(np.float32) / 255
    return mask


def fit_color_plane(difference: FloatArray, ring: BoolArray) -> FloatArray:
    """Least-squares plane per channel through `difference` on the ring : float32 [h, w, 3].

    `difference` float32 [h, w, 3]; its slopes are damped, and with under 12 ring pixels it is 0.
    """
    h, w = ring.shape
    y, x = np.nonzero(ring)
    if len(y) < 12:
        return np.zeros((1, 1, 3), np.float32)
    step = max(1, len(y) // 1500)
    y, x = y[::step], x[::step]
    values = np.clip(difference[y, x], -60, 60)
    basis = np.stack([np.ones(len(y)), x / w - 0.5, y / h - 0.5], 1)
    gram = basis.T @ basis + np.diag([0, 0.05, 0.05]) * len(y)
    coefficients = np.linalg.solve(gram, basis.T @ values).astype(np.float32)  # [3, 3]
    gx = (np.arange(w, dtype=np.float32) / w - 0.5)[None, :, None]
    gy = (np.arange(h, dtype=np.float32) / h - 0.5)[:, None, None]
    return coefficients[0] + gx * coefficients[1] + gy * coefficients[2]


def interior_gain(correction: FloatArray, ring: BoolArray, picture: FloatArray) -> FloatArray:
    """Factors that bring the mouth interior to another light.

    The interior differs from skin in colour, so the offset of the skin does not hold for it. Light
    acts in proportion, channel by channel (von Kries); small tints are the skin's own and would
    make teeth flicker.

    Parameters
    ----------
    correction : float32 [h, w, 3]
        From `fit_color_plane`: what brings `picture` to the light of the frame it goes into.
    ring : bool [h, w]
        The skin it was measured on.
    picture : float32 [h, w, 3]

    Returns
    -------
    float32 [h, w, 3]
        Factors for the interior.
    """
    light = correction.mean(-1, keepdims=True)
    gain = np.clip(1 + light / 140, 0.6, 1.5)
    if not ring.any():
        return gain
    level = np.maximum(picture[ring].mean(0), 20)
    tint = (correction - light) / level
    tint = np.sign(tint) * np.clip(np.abs(tint) - USUAL_TINT, 0, MAX_TINT)
    return gain * (1 + tint)
