"""Upright orientation: display matrices of videos, EXIF orientation of still images."""

from collections.abc import Iterable
from typing import cast

import av
import numpy as np
from av.sidedata.sidedata import SideData
from PIL import Image as PillowImage

from heygem.core.types import Image, PathLike

# EXIF orientation -> clockwise rotation in degrees, after mirroring left-right where True
_ORIENTATIONS = {
    2: (0, True),
    3: (180, False),
    4: (180, True),
    5: (270, True),
    6: (90, False),
    7: (90, True),
    8: (270, False),
}


def display_rotation(frame: av.VideoFrame) -> tuple[int, bool]:
    """Clockwise rotation (0, 90, 180 or 270 degrees) and mirroring that make a frame upright.

    From the display matrix (ISO/IEC 14496-12, 6.2.2): mirror left-right first, then rotate.
    """
    try:
        entries = cast("Iterable[SideData]", frame.side_data)
        data = next((d for d in entries if d.type.name == "DISPLAYMATRIX"), None)
    except ValueError:  # PyAV cannot list side data newer than itself
        return -int(round(frame.rotation / 90) * 90) % 360, False
    if data is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32, 5) / 65536.0
    mirrored = a * d - b * c < 0
    if mirrored:  # without the mirroring, the first row has the opposite sign
        a, b = -a, -b
    return int(round(np.degrees(np.arctan2(b, a)) / 90) * 90) % 360, bool(mirrored)


def exif_rotation(path: PathLike) -> tuple[int, bool]:
    """`display_rotation` of a still image, from its EXIF orientation (CIPA DC-008, tag 274)."""
    try:
        with PillowImage.open(path) as picture:
            orientation = picture.getexif().get(274, 1)
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError):
        return 0, False
    return _ORIENTATIONS.get(orientation, (0, False))


def make_upright(image: Image, rotation_deg: int, mirrored: bool) -> Image:
    """Apply `display_rotation` to ``uint8 [H, W, 3]``."""
    if mirrored:
        image = image[:, ::-1]
    if rotation_deg:
        image = np.rot90(image, -rotation_deg // 90)
    return np.ascontiguousarray(image)
