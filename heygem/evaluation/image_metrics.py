"""Measures on pictures: is the mouth as sharp as the camera's, and does the paste show?

All of them look at frames before any encoder: an encoder blurs both sides of a comparison
and hides what the renderer did.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from heygem.evaluation.motion_metrics import LIPS
from heygem.face import topology as topo

MARGIN = 0.35  # of the mouth's width around the lips: chin crease and moustache included
RING = 0.04  # of the mask's width: half of the band around its edge that is looked at
MIN_SSIM_PX = 7  # skimage's window


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, right and bottom edge exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    def crop(self, image):
        return image[self.y0 : self.y1, self.x0 : self.x1]


def mouth_box(points, width, height, *, margin=MARGIN):
    """The box around the lips of one mesh, float32 [468, 2 or 3] in pixels."""
    lips = np.asarray(points)[LIPS, :2]
    low, high = lips.min(0), lips.max(0)
    reach = margin * (high[0] - low[0])
    x0, y0 = np.floor(low - reach).astype(int)
    x1, y1 = np.ceil(high + reach).astype(int) + 1
    return Box(max(int(x0), 0), max(int(y0), 0), min(int(x1), width), min(int(y1), height))


def _luma(image):
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32)


def sharpness(image):
    """Mean absolute Laplacian of the luma, 0..: fine detail, blind to brightness.

    The mean of the magnitude rather than the variance: one specular spot on a tooth would
    otherwise speak for the whole mouth.
    """
    return float(np.abs(cv2.Laplacian(_luma(image), cv2.CV_32F)).mean())


def sharpness_ratio(generated, source):
    """Fine detail of the mouth box over the same box of the source frame; 1 is as sharp."""
    base = sharpness(source)
    return sharpness(generated) / base if base > 1e-6 else float("nan")


def psnr_db(generated, real):
    """Peak signal-to-noise ratio of two uint8 pictures; infinite when they are equal."""
    error = np.mean((generated.astype(np.float32) - real.astype(np.float32)) ** 2)
    return float(10 * np.log10(255.0**2 / error)) if error > 0 else float("inf")


def ssim(generated, real):
    """Structural similarity (Wang et al. 2004) of two uint8 RGB pictures, -1..1."""
    if min(generated.shape[:2]) < MIN_SSIM_PX:
        return float("nan")
    return float(structural_similarity(generated, real, channel_axis=2, data_range=255))


@dataclass(frozen=True)
class Seam:
    """What the edge of the paste looks like.

    gradient : mean gradient in the band over the source's there; above 1 an edge was drawn
        that the face does not have.
    delta_e : mean CIEDE2000 colour difference from the source in the band; about 2 is
        where an eye begins to see it side by side.
    """

    gradient: float
    delta_e: float


def slope(image):
    """Length of the luma's gradient (Sobel), float32 [H, W]."""
    luma = _luma(image)
    return np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1))


def edge_band(mask):
    """The band on both sides of where a mask (float32 [H, W], 0..1) ends: bool [H, W]."""
    inside = (mask > 0.5).astype(np.uint8)
    columns = np.flatnonzero(inside.any(0))
    if not len(columns):
        return np.zeros(mask.shape, bool)
    reach = max(1, round(RING * (columns[-1] - columns[0] + 1)))
    # Distances, since a morphological kernel of this size costs more than the renderer. The
    # picture's own border is no edge of the paste, and to the transform it is none.
    outside = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, 3) if not inside.all() else None
    near = (outside > 0) & (outside <= reach)
    return near if within is None else near | ((within > 0) & (within <= reach))


def seam(generated, source, mask):
    """Measure the band around the mask's edge; all three are crops of the same place."""
    band = edge_band(mask)
    if band.sum() < 8:
        return Seam(float("nan"), float("nan"))
    base, made = float(slope(source)[band].mean()), float(slope(generated)[band].mean())
    lab_made, lab_true = rgb2lab(generated[band][None]), rgb2lab(source[band][None])
    return Seam(
        made / base if base > 1e-6 else float("nan"),
        float(deltaE_ciede2000(lab_made, lab_true).mean()),
    )


def lip_ring(points, unit_px, shape, corner):
    """The skin around the lips, where one texture gives way to another: bool [h, w].

    Between 0.03 and 0.2 eye-corner distances outside the outer lip line.

    points : float32 [468, 2 or 3], pixels of the frame; unit_px : pixels of an eye-corner
    distance; shape, corner : size (h, w) and first pixel (x, y) of the window wanted.
    """
    lips = np.ones(shape, np.uint8)
    outline = np.asarray(points)[topo.LIPS_OUTER, :2] - np.asarray(corner)
    cv2.fillPoly(lips, [np.rint(outline).astype(np.int32)], 0)
    if lips.all():  # the lips are outside the window
        return np.zeros(shape, bool)
    away = cv2.distanceTransform(lips, cv2.DIST_L2, 3)
    return (away > max(1.0, 0.03 * unit_px)) & (away <= max(2.0, 0.2 * unit_px))


def changed_outside(generated, source, mask):
    """How many pixels differ although the mask says that nothing was pasted there.

    generated, source : uint8 [H, W, 3]; mask : float32 [H, W], whole frame.
    """
    return int(((generated != source).any(-1) & (mask == 0)).sum())


class Flicker:
    """Restlessness of the mouth's pixels over time, over the source's own.

    Mean magnitude of the second difference over three frames in a row of one place: motion
    that goes on cancels out, a texture that jumps to another and back does not.
    """

    def __init__(self, box):
        self._box = box
        self._last = []
        self._made, self._source = [], []

    def add(self, generated, source, *, restart=False):
        """Take the next frame; `restart` after a gap or a cut."""
        if restart:
            self._last = []
        self._last.append((_luma(self._box.crop(generated)), _luma(self._box.crop(source))))
        if len(self._last) == 3:
            (a, x), (b, y), (c, z) = self._last
            self._made.append(float(np.abs(a - 2 * b + c).mean()))
            self._source.append(float(np.abs(x - 2 * y + z).mean()))
            self._last.pop(0)

    @property
    def ratio(self):
        base = float(np.mean(self._source)) if self._source else 0.0
        return float(np.mean(self._made)) / base if base > 1e-6 else float("nan")
