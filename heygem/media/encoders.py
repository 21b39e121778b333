"""The H.264 encoders that write a film: x264, or the one in an NVIDIA GPU."""

import logging
from dataclasses import dataclass
from functools import lru_cache

import av
import numpy as np

from heygem.core import gpu
from heygem.core.errors import ParameterError
from heygem.media.round_trip import encode_and_decode
from heygem.media.x264 import x264_options

X264 = "libx264"
NVENC = "h264_nvenc"
_TRIED_FRAMES = 4

log = logging.getLogger(__name__)

#: NVENC's preset for each of x264's: both range from fast and large to slow and small.
_NVENC_PRESETS = {
    "balanced": "p5",
    "ultrafast": "p1",
    "veryfast": "p2",
    "faster": "p3",
    "fast": "p4",
    "medium": "p5",
    "slow": "p6",
    "slower": "p7",
}


@dataclass(frozen=True)
class Encoder:
    """The chosen encoder.

    Attributes
    ----------
    codec : str
        `X264` or `NVENC`.
    note : str or None
        Why it was chosen; None where there was no choice.
    """

    codec: str
    note: str | None = None


def choose_encoder(asked: str, *, device: str, width: int, height: int) -> Encoder:
    """The encoder that writes a film.

    Parameters
    ----------
    asked : str
        "x264", "nvenc", or "auto": the GPU's where the film is computed on a GPU that can.
    device : str
        Where the film is computed: "cpu", or a torch device.
    width, height : int
        Of the film, pixels.

    Raises
    ------
    ParameterError
        "nvenc" was asked for and cannot be used.
    """
    encoder = _chosen(asked, device, width + width % 2, height + height % 2)
    if encoder.note is not None:
        log.info("%s", encoder.note)
    return encoder


def _chosen(asked: str, device: str, width: int, height: int) -> Encoder:
    if asked == "x264" or (asked == "auto" and device == "cpu"):
        return Encoder(X264)
    refusal = nvenc_refusal(width, height)
    if refusal is None:
        why = "asked for" if asked == "nvenc" else f"device: {device}"
        return Encoder(NVENC, f"encoded by the GPU ({NVENC}; {why})")
    if asked == "nvenc":
        raise ParameterError(
            "media.encoder: nvenc was asked for, and no GPU can encode here",
            seen=refusal,
            remedy="set media.encoder: auto, or x264",
        )
    return Encoder(X264, f"encoded by x264: the GPU cannot encode ({refusal})")


@lru_cache
def nvenc_refusal(width: int, height: int) -> str | None:
    """Why the GPU cannot encode pictures of an even size; None where it can."""
    if not gpu.has_driver():
        return "no GPU's driver is installed"
    return trial(NVENC, width, height)


def trial(codec: str, width: int, height: int) -> str | None:
    """Encode a few frames and decode them again; returns why that fails, None where it does not.

    A driver may be there without an encoder, or with one that is too old, or have no session left.
    """
    try:
        options = encoder_options(codec, 18, "medium", width, height)
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        grey = [av.VideoFrame.from_ndarray(planes, format="yuv420p") for _ in range(_TRIED_FRAMES)]
        frames = encode_and_decode(grey, codec, options, size=(width, height))
    except av.FFmpegError as error:
        return f"{codec}: {error.strerror}"
    except ValueError:  # FFmpeg was built without it
        return f"FFmpeg has no {codec}"
    if len(frames) != _TRIED_FRAMES or (frames[0].width, frames[0].height) != (width, height):
        return f"{len(frames)} of {_TRIED_FRAMES} frames came back"
    return None


def encoder_options(codec: str, crf: int, preset: str, width: int, height: int) -> dict[str, str]:
    """Options for a quality and an effort in x264's terms, and a size in pixels.

    The two encoders' quality numbers have the same range, and not the same meaning: at one number
    their files differ in size and in picture.
    """
    if codec != NVENC:
        return x264_options(preset, crf, width, height)
    if crf == 0:
        return {"preset": _NVENC_PRESETS[preset], "tune": "lossless"}
    constant = {"rc": "vbr", "cq": str(crf), "b": "0"}
    return {"preset": _NVENC_PRESETS[preset], "tune": "hq", **constant}
