"""Open a local media file as a PyAV container, and pick its streams.

Only the named local file is ever opened: the demuxers are listed one by one, so that a playlist or
a network stream under the name ``x.mp4`` is refused instead of followed.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import av
from av.container import InputContainer

from heygem.core.errors import InputError
from heygem.core.files import require_regular_file
from heygem.core.types import PathLike

#: Demuxers that may open a user's file. Playlists (hls, dash, concat, sdp, image2) are left out:
#: they make a file name other files or hosts.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,wav,w64,mp3,aac,flac,ogg,"
    "aiff,caf,au,amr,ac3,gif,jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe"
)
#: Of files with footage that these demuxers open.
FOOTAGE_SUFFIXES = frozenset(".mp4 .mov .m4v .mkv .webm .avi .mpg .mpeg .ts .flv .wmv".split())
#: First bytes of still images -> the demuxer that reads exactly one of them.
_IMAGE_FORMATS = (
    (b"\xff\xd8\xff", "jpeg_pipe"),
    (b"\x89PNG\r\n\x1a\n", "png_pipe"),
    (b"BM", "bmp_pipe"),
    (b"II*\0", "tiff_pipe"),
    (b"MM\0*", "tiff_pipe"),
)
_MAX_UNTIMED_FRAMES = 1_000  # at the beginning; a stream without any times starts at 0
BUNDLE_SUFFIX = ".heygem"  # of an avatar bundle's folder, see `heygem.finetune.bundle`
SUPPORTED = "an MP4, MOV, MKV, WebM or AVI video, a WAV, MP3, M4A or FLAC sound, or a JPEG or PNG"


def printable(path: PathLike) -> str:
    """A file's name for a message: one line, whatever the name contains."""
    text = os.fsdecode(path).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_avatar_bundle(path: PathLike) -> bool:
    """Whether this is the folder of a fine-tuned avatar, which is accepted in place of a video."""
    path = Path(path)
    return path.suffix == BUNDLE_SUFFIX and path.is_dir()


def media_path(path: PathLike) -> Path:
    """The file to read: of an avatar bundle the video in it, else `path` itself."""
    path = Path(path)
    if is_avatar_bundle(path):
        return next(iter(sorted(path.glob("shown.*"))), path)
    return path


def open_media(path: PathLike) -> InputContainer:
    """Open a local media file for reading; the caller closes it.

    Raises
    ------
    InputError
        Not there, a folder, empty, unreadable, not media, a playlist, or without an index; one
        line each.
    """
    path = media_path(path)
    name = printable(path)
    size, head = _read_head(path)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1"):
        raise InputError(
            f"{name} is an HEIC picture", remedy="Export it as JPEG or PNG and use that."
        )
    # `file:` stops names such as `http:x` or `a:b.mp4` from being read as a protocol.
    stream = None
    url = "file:" + os.fspath(path.absolute())
    try:
        url.encode()
    except UnicodeEncodeError:  # a name that is not UTF-8
        stream = open(path, "rb")  # noqa: SIM115 - PyAV reads from it until close
    try:
        return av.open(
            url if stream is None else stream,
            "r",
            format=_image_format(head),
            container_options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.FFmpegError, OSError, ValueError) as e:
        if stream is not None:
            stream.close()
        raise _refusal(name, size, head) from e


def _read_head(path: Path) -> tuple[int, bytes]:
    """A regular file's size and its first bytes."""
    name = printable(path)
    try:
        require_regular_file(path)
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(4096)
    except FileNotFoundError as e:
        raise InputError(
            f"no such file: {name}", remedy="Check the spelling and the folder."
        ) from e
    except (OSError, ValueError) as e:  # ValueError: a name with a null byte
        raise InputError(
            f"cannot read {name}",
            seen=getattr(e, "strerror", None) or e,
            remedy="Check the file's permissions.",
        ) from e
    if size == 0:
        raise InputError(f"{name} is empty", seen="0 bytes", remedy="Copy or record it again.")
    return size, head


def _refusal(name: str, size: int, head: bytes) -> InputError:
    """Why FFmpeg could not open a file, from its first bytes."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return InputError(
            f"{name} is cut short or damaged",
            seen=f"{size} bytes without a readable index (moov)",
            remedy="Copy or record it again; nothing can be decoded without it.",
        )
    if head.lstrip().startswith((b"#EXTM3U", b"ffconcat", b"<?xml", b"v=0")):
        return InputError(f"{name} is a playlist, not media", remedy="Give the media file itself.")
    is_text = all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head)
    return InputError(
        f"{name} is not media that heygem can read",
        seen=f"{size} bytes of text" if is_text else f"{size} bytes starting {head[:8].hex(' ')}",
        remedy=f"Use {SUPPORTED}.",
    )


def _image_format(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp_pipe"
    return next((fmt for magic, fmt in _IMAGE_FORMATS if head.startswith(magic)), None)


def video_stream(container: InputContainer) -> av.VideoStream | None:
    """The container's largest video (or still image), or None; cover art does not count."""
    streams = [
        s
        for s in container.streams.video
        if not s.disposition & av.stream.Disposition.attached_pic and s.codec_context.width
    ]
    return max(streams, key=lambda s: s.codec_context.width * s.codec_context.height, default=None)


def audio_stream(container: InputContainer) -> av.AudioStream | None:
    """The container's default audio stream, else its first, or None."""
    streams = [s for s in container.streams.audio if s.codec_context is not None]
    return max(streams, key=lambda s: bool(s.disposition & 1), default=None)


def is_still_image(container: InputContainer) -> bool:
    """Whether the file is a picture, read as a video of one frame."""
    return container.format.name.endswith("_pipe")


def first_shown(
    container: InputContainer, stream: av.VideoStream, name: str
) -> tuple[av.VideoFrame, int]:
    """The first frame that decodes, from a container at its start, and its stream time in ticks.

    Matroska cannot store the times of frames before 0: they are counted back, evenly spaced, from
    the first frame that has a time.

    Raises
    ------
    InputError
        No frame decodes; `name` is the file's name in the message.
    """
    first = None
    rate = stream.average_rate or stream.guessed_rate or 25
    for untimed, frame in enumerate(_decodable_frames(container, stream)):
        first = first or frame
        stamp = frame.pts if frame.pts is not None else frame.dts
        if stamp is not None:
            return first, stamp - round(untimed / (rate * (stream.time_base or 1)))
        if untimed >= _MAX_UNTIMED_FRAMES:
            break
    if first is None:
        raise _undecodable(stream, name)
    return first, 0


def _decodable_frames(container: InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.InvalidDataError:
                continue
    except av.FFmpegError:
        return


def _undecodable(stream: av.VideoStream, name: str) -> InputError:
    return InputError(
        f"{name}: no picture can be decoded",
        seen=stream.codec_context.name if stream.codec_context else "unknown codec",
        remedy="The file is damaged or its codec is unknown; convert it to H.264 MP4.",
    )
