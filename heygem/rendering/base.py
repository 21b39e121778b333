"""What a renderer gives back: new pixels for a window of a frame."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Patch:
    """New pixels for a window of the frame.

    Attributes
    ----------
    image : uint8 [h, w, 3], RGB
    mask : float32 [h, w]
        0 keeps the frame's own pixel, 1 takes the patch's.
    x, y : int
        Position of the window's first pixel in the frame.
    """

    image: np.ndarray
    mask: np.ndarray
    x: int
    y: int
