"""Pasting of a patch into a frame."""

import cv2
import numpy as np

from heygem.core.types import Image
from heygem.rendering.base import Patch


def paste(image: Image, patch: Patch | None) -> Image:
    """Put a patch into a copy of the frame.

    Parameters
    ----------
    image : uint8 [H, W, 3], RGB
    patch : Patch or None
        None returns the frame itself.

    Returns
    -------
    uint8 [H, W, 3]
        Pixels where the mask is 0 are the frame's own, bit for bit.
    """
    if patch is None:
        return image
    out = image.copy()
    h, w = patch.mask.shape
    window = out[patch.y : patch.y + h, patch.x : patch.x + w]
    soft = (patch.mask > 0) & (patch.mask < 1)
    if soft.any():
        mixed = window + patch.mask[..., None] * (patch.image.astype(np.float32) - window)
        mixed = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    else:
        mixed = patch.image
    cv2.copyTo(mixed, (patch.mask > 0).view(np.uint8), window)  # ten times as fast as NumPy's
    return out
