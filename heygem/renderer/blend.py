"""Where the layers of a mouth meet: masks and colour."""

import cv2
import numpy as np

from heygem.face import topology as topo
from heygem.renderer.warp import bounds


def lip_mask(points, margin_px, size):
    """Where the library's lips replace the skin : float32 [h, w], soft at the edge."""
    mask = np.zeros(size, np.uint8)
    lips = points[topo.LIPS_OUTER]
    cv2.fillPoly(mask, [np.rint(lips * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    grow = max(1, round(margin_px))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
    mask = cv2.dilate(mask, kernel)
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), max(0.5, 0.5 * grow))
    return np.clip(soft * 1.6 - 0.3, 0, 1)


def skin_ring(points, scale, margin_px, labels):
    """Skin around the lips on which colours are compared : bool [h, w]."""
    size = labels.shape
    outer = lip_mask(points, margin_px, size) > 0.02
    lips = np.zeros(size, np.uint8)
    cv2.fillPoly(lips, [np.rint(points[topo.LIPS_OUTER]).astype(np.int32)], 1)
    grow = max(1, round(0.02 * scale))
    lips = cv2.dilate(lips, np.ones((2 * grow + 1, 2 * grow + 1), np.uint8))
    return outer & (lips == 0) & (labels >= 0)


def hole_mask(points, size):
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


def colour_plane(difference, ring):
    """Offset that varies linearly over the window, fitted on the ring : float32 [h, w, 3]."""
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
