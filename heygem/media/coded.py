"""Coded frames that are carried from one file to another without being coded again."""

from collections.abc import Iterator
from fractions import Fraction

import av

from heygem.core.errors import InputError
from heygem.core.types import PathLike
from heygem.media.container import open_media, printable, video_stream


def coded_packets(
    path: PathLike, time_base: Fraction, same_as: av.VideoCodecContext
) -> Iterator[av.Packet]:
    """The packets of a file's picture, in the order of decoding, with times in another unit.

    Parameters
    ----------
    path : path
    time_base : Fraction
        Unit of the packets' times, seconds; it must hold them exactly.
    same_as : av.VideoCodecContext
        Of the file that they are for; the headers of both must be equal.

    Raises
    ------
    InputError
        The file is damaged, has other headers, or times between two units.
    """
    refusal = f"{printable(path)} cannot be joined"
    try:
        with open_media(path) as container:
            stream = video_stream(container)
            if stream is None or stream.time_base is None:
                raise InputError(refusal, seen="no picture")
            if _headers(stream.codec_context) != _headers(same_as):
                raise InputError(refusal, seen="coded with other settings")
            missing = stream.frames
            for packet in container.demux(stream):
                missing -= bool(packet.size)
                if packet.pts is None or packet.dts is None:
                    continue  # the empty packet at the end
                pts, dts = (t * stream.time_base / time_base for t in (packet.pts, packet.dts))
                if pts.denominator != 1 or dts.denominator != 1:
                    raise InputError(refusal, seen=f"a frame at {packet.pts * packet.time_base} s")
                copy = av.Packet(_with_start_codes(packet, stream.codec_context.extradata))
                copy.is_keyframe = packet.is_keyframe
                copy.pts, copy.dts, copy.time_base = int(pts), int(dts), time_base
                yield copy
            if missing > 0:  # FFmpeg accepts a file that ends early
                raise InputError(refusal, seen=f"cut off: {missing} frames are missing")
    except av.FFmpegError as error:
        raise InputError(refusal, seen=str(error)) from error


def _with_start_codes(packet: av.Packet, extradata: bytes | None) -> bytes:
    """The units of H.264 as an encoder writes them, where a container keeps them with lengths."""
    data = bytes(packet)
    if not extradata or extradata[0] != 1:
        return data
    width, at, units = (extradata[4] & 3) + 1, 0, []
    while at < len(data):
        size = int.from_bytes(data[at : at + width], "big")
        units.append(data[at + width : at + width + size])
        at += width + size
    return b"".join(b"\0\0\0\1" + unit for unit in units)


def _headers(context: av.VideoCodecContext) -> tuple[object, ...]:
    return (context.width, context.height, context.pix_fmt, *_parameter_sets(context.extradata))


def _parameter_sets(extradata: bytes | None) -> list[bytes]:
    """The SPS and PPS of H.264, from either form: Annex B start codes, or an `avcC` box."""
    data = extradata or b""
    if data[:1] != b"\x01":
        units = data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
        return [unit for unit in units if unit and unit[0] & 31 in (7, 8)]
    units, at = [], 5  # ISO/IEC 14496-15, 5.3.3.1.2
    for mask in (31, 255):
        count, at = data[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(data[at : at + 2], "big")
            units.append(data[at + 2 : at + 2 + size])
            at += 2 + size
    return units


def exact_time_base(rate: Fraction) -> Fraction:
    """A time unit in which every ``n / rate`` is whole, below a tenth of a millisecond."""
    ticks = rate.numerator
    while ticks < 10_000:
        ticks *= 2
    return Fraction(1, ticks)
