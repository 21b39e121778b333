"""Frames encoded as H.264 and decoded again, in memory."""

from collections.abc import Iterable, Mapping
from fractions import Fraction

import av


def encode_and_decode(
    frames: Iterable[av.VideoFrame],
    codec: str,
    options: Mapping[str, str],
    *,
    size: tuple[int, int],
    rate: Fraction = Fraction(25),
) -> list[av.VideoFrame]:
    """Encode frames and decode what comes out.

    Parameters
    ----------
    frames : iterable of av.VideoFrame
        Of one size, in any pixel format; their times are set.
    codec : str
        FFmpeg's name of an encoder of H.264.
    options : mapping
        Of the encoder.
    size : tuple of int
        Width and height, even, pixels.
    rate : Fraction
        Frames per second.

    Raises
    ------
    av.FFmpegError
        The encoder refuses.
    ValueError
        FFmpeg was built without it.
    """
    encoder = av.CodecContext.create(codec, "w")
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(encoder, av.VideoCodecContext)
    assert isinstance(decoder, av.VideoCodecContext)
    encoder.width, encoder.height = size
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", 1 / rate, rate
    encoder.options = dict(options)
    decoded: list[av.VideoFrame] = []
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = number, encoder.time_base
        for packet in encoder.encode(frame):
            decoded += decoder.decode(packet)
    for packet in encoder.encode(None):
        decoded += decoder.decode(packet)
    return decoded + decoder.decode(None)
