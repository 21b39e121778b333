"""One texture fades over to another: colours change, detail stays the heaviest one's.

Two pictures on top of each other blur, so that only what a blur leaves of the others is added. That
is drawn in pixels twice as wide where nothing finer is left.
"""

from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np

from heygem.core.types import FloatArray, Image

DETAIL_IOD = 0.02  # structure finer than this is never averaged over two pictures
MIN_REDUCED_SIGMA_PX = 1.8  # of a change that is drawn in wider pixels
OWN_BLUR = 0.3  # variance that sampling and enlarging in wider pixels add, over that width squared

Picture = TypeVar("Picture", Image, FloatArray)


def crossfade_sigma_px(scale: float) -> float:
    """Sigma of the change from one texture to another, for `scale` pixels per IOD."""
    return max(0.8, DETAIL_IOD * scale)


def fade_step(scale: float) -> int:
    """How many times as wide the pixels may be of textures that are faded over."""
    return 2 if crossfade_sigma_px(scale) >= MIN_REDUCED_SIGMA_PX else 1


def reduced_points(points: FloatArray, step: int) -> FloatArray:
    """Points in pixels `step` times as wide, whose centres lie at whole numbers."""
    return ((points + np.float32(0.5)) / np.float32(step) - np.float32(0.5)).astype(np.float32)


def reduced_picture(image: Picture, step: int) -> Picture:
    """A picture [h, w, 3] in pixels `step` times as wide, means of those they cover.

    What is left over at the end of rows and columns is not in it.
    """
    if step == 1:
        return image
    height, width = (n // step for n in image.shape[:2])
    whole = image[: height * step, : width * step]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def add_change(
    canvas: FloatArray, others: Sequence[FloatArray], weights: Sequence[float], sigma_px: float
) -> None:
    """Add what changes by other pictures, without their detail, in place.

    Parameters
    ----------
    canvas : float32 [h * step, w * step, 3]
        The heaviest picture.
    others : sequence of float32 [h, w, 3]
        The same place in other pictures, in pixels `step` times as wide.
    weights : sequence of float
        Of these, of all pictures 1 together.
    sigma_px : float
        Of the blur, pixels of the canvas.
    """
    if not canvas.size:  # beyond the border of the frame
        return
    step = len(canvas) // len(others[0])
    before = reduced_picture(canvas, step)
    change = np.zeros_like(before)
    for other, weight in zip(others, weights, strict=True):
        cv2.accumulate(cv2.addWeighted(other, weight, before, -weight, 0), change)
    variance = sigma_px**2 - OWN_BLUR * (step**2 - 1)
    change = cv2.GaussianBlur(change, (0, 0), variance**0.5 / step)
    canvas += cv2.resize(change, canvas.shape[1::-1], interpolation=cv2.INTER_LINEAR)
