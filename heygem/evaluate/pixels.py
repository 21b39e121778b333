"""Measures on pictures: is the mouth as sharp as the camera's, and does the paste show?

All of them look at frames before any encoder: an encoder blurs both sides of a comparison
and hides what the renderer did.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from heygem.evaluate.curves import LIPS

MARGIN = 0.35  # of the mouth's width around the lips: chin crease and moustache included
RING_LOW, RING_HIGH = 0.02, 0.6  # mask values of the band in which the paste fades out
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

    gradient : mean gradient in the fading band over the source's there; above 1 an edge
        was drawn that the face does not have.
    delta_e : mean CIEDE2000 colour difference from the source in the band; about 2 is
        where an eye begins to see it side by side.
    """

    gradient: float
    delta_e: float


def seam(generated, source, mask):
    """Measure the band in which the mask (float32 [H, W], 0..1) fades out.

    All three are crops of the same place of the same frame.
    """
    ring = (mask > RING_LOW) & (mask < RING_HIGH)
    if ring.sum() < 8:
        return Seam(float("nan"), float("nan"))

    def slope(image):
        luma = _luma(image)
        return np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1))

    base = float(slope(source)[ring].mean())
    made = float(slope(generated)[ring].mean())
    lab_made, lab_true = rgb2lab(generated[ring][None]), rgb2lab(source[ring][None])
    return Seam(
        made / base if base > 1e-6 else float("nan"),
        float(deltaE_ciede2000(lab_made, lab_true).mean()),
    )


def changed_outside(generated, source, mask):
    """How many pixels differ although the mask says that nothing was pasted there.

    generated, source : uint8 [H, W, 3]; mask : float32 [H, W], whole frame.
    """
    return int(((generated != source).any(-1) & (mask == 0)).sum())
