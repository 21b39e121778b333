"""Small JPEG images for pages."""

import base64
import io
from pathlib import Path

import cv2
import PIL.Image

from heygem import media
from heygem.core.types import Image, PathLike

THUMBNAIL_PX = 220


def encode_jpeg(image: Image) -> bytes:
    """An image uint8 [H, W, 3], RGB, as JPEG."""
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return data.tobytes() if encoded else b""


def data_url(data: bytes, media_type: str = "image/jpeg") -> str:
    """An image as a data URL; empty for no bytes."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}" if data else ""


def thumbnail(path: PathLike, width_px: int = THUMBNAIL_PX) -> tuple[bytes, str]:
    """The first frame of a file as a small JPEG (a few kilobytes), and its size and duration.

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
    with media.VideoReader(path) as reader:
        image = next(iter(reader)).image
    height_px = max(1, round(width_px * video.height / video.width))
    buffer = io.BytesIO()
    small = PIL.Image.fromarray(image).resize((width_px, height_px))
    small.save(buffer, "JPEG", quality=80)
    description = f"{video.width}×{video.height}"
    if not info.is_still:
        description += f", {float(video.rate):.4g} fps, {video.duration_s:.1f} s"
    return buffer.getvalue(), description
