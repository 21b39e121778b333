"""Metrics of pictures: sharpness of the mouth, visibility of the paste, flicker.

All of them take frames before any encoder: an encoder blurs both sides of a comparison and hides
what the renderer did. Arguments named `rendered` and `source` (or `real`) are the picture to be
evaluated and the camera's own, uint8 [H, W, 3], RGB.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from heygem.core.types import BoolArray, FloatArray, Image
from heygem.evaluation.motion_metrics import LIPS
from heygem.face import topology as topo

MARGIN = 0.35  # of the mouth's width around the lips: chin crease and moustache included
BAND = 0.04  # of the mask's width: half of the band around its edge that is measured
MIN_SSIM_PX = 7  # skimage's window


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, right and bottom edge exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    def crop(self, image: np.ndarray) -> np.ndarray:
        """The part of a picture or mask inside the rectangle, a view."""
        return image[self.y0 : self.y1, self.x0 : self.x1]


def mouth_box(points: FloatArray, width: int, height: int, *, margin: float = MARGIN) -> Box:
    """The box around the lips of one mesh, clipped to the picture.

    points : float32 [468, 2 or 3], pixels; margin : fraction of the mouth's width.
    """
    lips = np.asarray(points)[LIPS, :2]
    low, high = lips.min(0), lips.max(0)
    reach = margin * (high[0] - low[0])
    x0, y0 = np.floor(low - reach).astype(int)
    x1, y1 = np.ceil(high + reach).astype(int) + 1
    return Box(max(int(x0), 0), max(int(y0), 0), min(int(x1), width), min(int(y1), height))


def _luma(image: Image) -> FloatArray:
    return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32)


def sharpness(image: Image) -> float:
    """Mean absolute Laplacian of the luma, 0..: fine detail, independent of brightness.

    The mean of the magnitude rather than the variance, which one specular spot on a tooth would
    dominate.
    """
    return float(np.abs(cv2.Laplacian(_luma(image), cv2.CV_32F)).mean())


def sharpness_ratio(rendered: Image, source: Image) -> float:
    """Sharpness of the mouth box over that of the same box of the source; 1 is as sharp."""
    base = sharpness(source)
    return sharpness(rendered) / base if base > 1e-6 else float("nan")


def psnr_db(rendered: Image, real: Image) -> float:
    """Peak signal-to-noise ratio, dB; infinite when the pictures are equal."""
    error = np.mean((rendered.astype(np.float32) - real.astype(np.float32)) ** 2)
    return float(10 * np.log10(255.0**2 / error)) if error > 0 else float("inf")


def ssim(rendered: Image, real: Image) -> float:
    """Structural similarity (Wang et al. 2004), -1..1; NaN under 7 pixels."""
    if min(rendered.shape[:2]) < MIN_SSIM_PX:
        return float("nan")
    return float(structural_similarity(rendered, real, channel_axis=2, data_range=255))


@dataclass(frozen=True)
class Seam:
    """Visibility of the edge of the paste.

    Attributes
    ----------
    gradient : float
        Mean gradient in the band over the source's; above 1 there is an edge that the face does
        not have.
    delta_e : float
        Mean CIEDE2000 colour difference from the source in the band; visible side by side from
        about 2.
    """

    gradient: float
    delta_e: float


def gradient(image: Image) -> FloatArray:
    """Magnitude of the luma's gradient (Sobel), float32 [H, W]."""
    luma = _luma(image)
    return np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1))


def edge_band(mask: FloatArray) -> BoolArray:
    """The band on both sides of a mask's edge: float32 [H, W], 0..1, to bool [H, W]."""
    inside = (mask > 0.5).astype(np.uint8)
    columns = np.flatnonzero(inside.any(0))
    if not len(columns):
        return np.zeros(mask.shape, bool)
    reach = max(1, round(BAND * (columns[-1] - columns[0] + 1)))
    # Distance transforms, since a morphological kernel of this size costs more than the renderer.
    # They do not treat the border of the picture as an edge of the mask, which is right here.
    outside = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 3)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, 3) if not inside.all() else None
    near = (outside > 0) & (outside <= reach)
    return near if within is None else near | ((within > 0) & (within <= reach))


def seam(rendered: Image, source: Image, mask: FloatArray) -> Seam:
    """Measure the band around the mask's edge; all three are crops of the same place."""
    band = edge_band(mask)
    if band.sum() < 8:
        return Seam(float("nan"), float("nan"))
    base, edge = float(gradient(source)[band].mean()), float(gradient(rendered)[band].mean())
    lab, source_lab = rgb2lab(rendered[band][None]), rgb2lab(source[band][None])
    return Seam(
        edge / base if base > 1e-6 else float("nan"),
        float(deltaE_ciede2000(lab, source_lab).mean()),
    )


def lip_ring(
    points: FloatArray, iod_px: float, shape: tuple[int, int], corner: tuple[int, int]
) -> BoolArray:
    """The skin around the lips, where one texture is blended into another: bool [h, w].

    Between 0.03 and 0.2 IOD outside the outer lip contour.

    points : float32 [468, 2 or 3], pixels of the frame; iod_px : inter-ocular distance in pixels;
    shape, corner : size (h, w) and first pixel (x, y) of the window.
    """
    lips = np.ones(shape, np.uint8)
    outline = np.asarray(points)[topo.LIPS_OUTER, :2] - np.asarray(corner)
    cv2.fillPoly(lips, [np.rint(outline).astype(np.int32)], 0)
    if lips.all():  # the lips are outside the window
        return np.zeros(shape, bool)
    distance = cv2.distanceTransform(lips, cv2.DIST_L2, 3)
    return (distance > max(1.0, 0.03 * iod_px)) & (distance <= max(2.0, 0.2 * iod_px))


def changed_outside(rendered: Image, source: Image, mask: FloatArray) -> int:
    """How many pixels differ where the mask (float32 [H, W], whole frame) is zero."""
    return int(((rendered != source).any(-1) & (mask == 0)).sum())


class Flicker:
    """Flicker of the mouth's pixels over that of the source.

    Mean magnitude of the second difference over three successive frames at one place: steady
    motion cancels out, a texture that jumps to another and back does not.
    """

    def __init__(self, box: Box) -> None:
        self._box = box
        self._last: list[tuple[FloatArray, FloatArray]] = []
        self._rendered: list[float] = []
        self._source: list[float] = []

    def add(self, rendered: Image, source: Image, *, restart: bool = False) -> None:
        """Add the next frame; `restart` after a gap or a cut."""
        if restart:
            self._last = []
        self._last.append((_luma(self._box.crop(rendered)), _luma(self._box.crop(source))))
        if len(self._last) == 3:
            (a, x), (b, y), (c, z) = self._last
            self._rendered.append(float(np.abs(a - 2 * b + c).mean()))
            self._source.append(float(np.abs(x - 2 * y + z).mean()))
            self._last.pop(0)

    @property
    def ratio(self) -> float:
        """Rendered over source; NaN without three successive frames, or in a still source."""
        base = float(np.mean(self._source)) if self._source else 0.0
        return float(np.mean(self._rendered)) / base if base > 1e-6 else float("nan")
