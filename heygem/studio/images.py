"""Small JPEG images for pages."""

import base64
import io
from pathlib import Path

import cv2
import PIL.Image

from heygem import media
from heygem.core.types import Image, PathLike

THUMBNAIL_PX = 220
_BLANK_DEVIATION = 4.0  # grey levels; a film that is faded in begins with less
_LOOK_AHEAD_S = (1.0, 3.0)  # where another picture is looked for


def encode_jpeg(image: Image) -> bytes:
    """An image uint8 [H, W, 3], RGB, as JPEG."""
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return data.tobytes() if encoded else b""


def data_url(data: bytes, media_type: str = "image/jpeg") -> str:
    """An image as a data URL; empty for no bytes."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}" if data else ""


def thumbnail(path: PathLike, width_px: int = THUMBNAIL_PX) -> tuple[bytes, str]:
    """The first frame of a file as a small JPEG (a few kilobytes), and its size and duration.

    Where it is blank, as in a film that is faded in, a later one is shown.

    Returns
    -------
    (bytes, str)
        No bytes for audio.

    Raises
    ------
    InputError
        The file is not media.
    """
    path = Path(path)
    info = media.probe(path)
    track, video = info.audio, info.video
    if video is None:
        assert track is not None  # `probe` refuses a file without either
        return b"", f"{info.duration_s:.1f} s, {track.rate_hz / 1000:g} kHz, {track.codec}"
    image = _frame_at(path, 0.0)
    for start_s in () if info.is_still else _LOOK_AHEAD_S:
        if image.std() >= _BLANK_DEVIATION or start_s > video.duration_s:
            break
        image = _frame_at(path, start_s)
    height_px = max(1, round(width_px * video.height / video.width))
    buffer = io.BytesIO()
    small = PIL.Image.fromarray(image).resize((width_px, height_px))
    small.save(buffer, "JPEG", quality=80)
    description = f"{video.width}×{video.height}"
    if not info.is_still:
        description += f", {float(video.rate):.4g} fps, {video.duration_s:.1f} s"
    return buffer.getvalue(), description


def _frame_at(path: Path, start_s: float) -> Image:
    with media.VideoReader(path, start_s=start_s) as reader:
        return next(iter(reader)).image
