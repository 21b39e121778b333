"""Small JPEG images for pages."""

import base64

import cv2

from heygem.core.types import Image


def encode_jpeg(image: Image) -> bytes:
    """An image uint8 [H, W, 3], RGB, as JPEG."""
    encoded, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return data.tobytes() if encoded else b""


def data_url(data: bytes, media_type: str = "image/jpeg") -> str:
    """An image as a data URL; empty for no bytes."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}" if data else ""
