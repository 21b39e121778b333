"""Pasting of a patch into a frame."""

import cv2
import numpy as np

from heygem.media.yuv import Picture, YuvImage
from heygem.rendering.base import Patch


def paste(image: Picture, patch: Patch | None) -> Picture:
    """Put a patch into a copy of the frame.

    Parameters
    ----------
    image : uint8 [H, W, 3], RGB; or YuvImage
    patch : Patch or None
        None returns the frame itself.

    Returns
    -------
    The same kind of picture
        Pixels where the mask is 0 are the frame's own, bit for bit; in planes, chroma where it is
        0 in all of 2x2.
    """
    if patch is None:
        return image
    out = image.copy()
    rows, columns = (
        slice(a, a + n) for a, n in zip((patch.y, patch.x), patch.mask.shape, strict=True)
    )
    mixed = patch.image
    if ((patch.mask > 0) & (patch.mask < 1)).any():
        window = out[rows, columns]
        mixed = window + patch.mask[..., None] * (patch.image.astype(np.float32) - window)
        mixed = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    if isinstance(out, YuvImage):
        out.paste(mixed, patch.mask > 0, patch.x, patch.y)
    else:  # ten times as fast as NumPy's
        cv2.copyTo(mixed, (patch.mask > 0).view(np.uint8), out[rows, columns])
    return out
