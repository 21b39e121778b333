"""Which way is up: display matrices of videos, EXIF orientation of pictures."""

import numpy as np
from PIL import Image

# EXIF orientation -> clockwise turn in degrees, after mirroring left-right where True
_ORIENTATIONS = {
    2: (0, True),
    3: (180, False),
    4: (180, True),
    5: (270, True),
    6: (90, False),
    7: (90, True),
    8: (270, False),
}


def display_turn(frame) -> tuple[int, bool]:
    """Clockwise quarter turns in degrees, and mirroring, that make a decoded frame upright.

    From the display matrix (ISO/IEC 14496-12, 6.2.2): shown = mirror left-right, then turn.
    """
    try:
        data = next((d for d in frame.side_data if d.type.name == "DISPLAYMATRIX"), None)
    except ValueError:  # PyAV cannot list side data newer than itself
        return -int(round(frame.rotation / 90) * 90) % 360, False
    if data is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32, 5) / 65536.0
    mirrored = a * d - b * c < 0
    if mirrored:  # take the mirror off the right-hand side: first row changes sign
        a, b = -a, -b
    return int(round(np.degrees(np.arctan2(b, a)) / 90) * 90) % 360, bool(mirrored)


def picture_turn(path) -> tuple[int, bool]:
    """`display_turn` of a still picture, from its EXIF orientation (CIPA DC-008, tag 274)."""
    try:
        with Image.open(path) as picture:
            orientation = picture.getexif().get(274, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0, False
    return _ORIENTATIONS.get(orientation, (0, False))


def upright(image, turn_deg: int, mirrored: bool):
    """Apply `display_turn` to ``uint8 [H, W, 3]``."""
    if mirrored:
        image = image[:, ::-1]
    if turn_deg:
        image = np.rot90(image, -turn_deg // 90)
    return np.ascontiguousarray(image)
