"""What a media file holds, and whether it can be used at all.

Nothing but the local file is ever opened: the demuxers are named one by one, so that a playlist
or a network stream dressed up as ``.mp4`` is refused instead of followed.
"""

import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from heygem.core.errors import InputError
from heygem.media.colour import HDR
from heygem.media.orientation import display_turn, picture_turn

#: Demuxers that may open a user's file. Playlists (hls, dash, concat, sdp, image2) are left out:
#: they make a file name other files or hosts.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,wav,w64,mp3,aac,flac,ogg,"
    "aiff,caf,au,amr,ac3,gif,jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe"
)
#: First bytes of still pictures -> the demuxer that reads exactly one of them.
_PICTURES = (
    (b"\xff\xd8\xff", "jpeg_pipe"),
    (b"\x89PNG\r\n\x1a\n", "png_pipe"),
    (b"BM", "bmp_pipe"),
    (b"II*\0", "tiff_pipe"),
    (b"MM\0*", "tiff_pipe"),
)
_COMMON_RATES = [Fraction(n) for n in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120, 240)] + [
    Fraction(n * 1000, 1001) for n in (15, 24, 30, 48, 60, 120, 240)
]
BUNDLE_SUFFIX = ".heygem"  # ending of a taught person's folder, see `heygem.finetune.bundle`
_WHOLE_SHARE = 0.98  # below this share of its declared frames a file counts as cut short
_GOOD = "an MP4, MOV, MKV, WebM or AVI video, a WAV, MP3, M4A or FLAC sound, or a JPEG or PNG"


@dataclass(frozen=True)
class VideoInfo:
    """One video stream; width and height are those of the upright picture, in pixels.

    ``rate`` is frames per second (the mean when ``variable_rate``), ``frames`` the number of
    shown frames or None where the container does not say, ``hdr`` is ``"PQ"``, ``"HLG"`` or
    None, ``rotation_deg`` the clockwise turn that made the picture upright, ``pixel_aspect``
    width over height of one pixel.
    """

    width: int
    height: int
    rate: Fraction
    frames: int | None
    duration_s: float
    rotation_deg: int
    codec: str
    pixel_format: str
    bit_depth: int
    hdr: str | None
    alpha: bool
    variable_rate: bool
    time_base: Fraction
    is_still: bool = False
    mirrored: bool = False
    pixel_aspect: Fraction = Fraction(1)

    @property
    def frame_estimate(self) -> int:
        """Number of frames for a progress bar: the declared one, else duration times rate."""
        return self.frames or max(1, round(self.duration_s * float(self.rate)))


@dataclass(frozen=True)
class AudioInfo:
    """One audio stream: codec name, samples per second, channels, seconds."""

    codec: str
    rate_hz: int
    channels: int
    duration_s: float


@dataclass(frozen=True)
class MediaInfo:
    """A media file: its best video stream, its best audio stream, its tags."""

    path: Path
    duration_s: float
    format: str
    video: VideoInfo | None
    audio: AudioInfo | None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def is_still(self) -> bool:
        return self.video is not None and self.video.is_still


def shown(path) -> str:
    """A file's name for a message: one line, whatever the name contains."""
    text = os.fsdecode(path).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_avatar_bundle(path):
    """Whether this is the folder of a taught person, which is given wherever a video is."""
    path = Path(path)
    return path.suffix == BUNDLE_SUFFIX and path.is_dir()


def footage(path):
    """The file to be read: of a taught person's folder the video in it, else `path` itself."""
    path = Path(path)
    if is_avatar_bundle(path):
        return next(iter(sorted(path.glob("shown.*"))), path)
    return path


def open_media(path):
    """Open a local media file for reading; every refusal is an `InputError` of one line.

    Returns
    -------
    av.container.InputContainer
        To be closed by the caller.
    """
    path = footage(path)
    name = shown(path)
    if path.is_dir():
        raise InputError(f"{name} is a folder", remedy="Name one media file inside it.")
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(4096)
    except FileNotFoundError as e:
        raise InputError(
            f"no such file: {name}", remedy="Check the spelling and the folder."
        ) from e
    except OSError as e:
        raise InputError(
            f"cannot read {name}", seen=e.strerror, remedy="Check the file's permissions."
        ) from e
    if size == 0:
        raise InputError(f"{name} is empty", seen="0 bytes", remedy="Copy or record it again.")
    if not path.is_file():
        raise InputError(f"{name} is not a regular file", remedy="Copy it to a plain file first.")
    picture = _picture_format(head)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1"):
        raise InputError(
            f"{name} is an HEIC picture", remedy="Export it as JPEG or PNG and use that."
        )
    # `file:` stops names such as `http:x` or `a:b.mp4` from being read as a protocol.
    try:
        target, opened = "file:" + os.fspath(path.absolute()), None
        target.encode()
    except UnicodeEncodeError:  # a name that is not UTF-8
        target = opened = open(path, "rb")  # noqa: SIM115 - PyAV reads from it until close
    try:
        return av.open(
            target,
            format=picture,
            container_options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.FFmpegError, OSError, ValueError) as e:
        if opened is not None:
            opened.close()
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            raise InputError(
                f"{name} is cut short or damaged",
                seen=f"{size} bytes without a readable index (moov)",
                remedy="Copy or record it again; nothing can be decoded without it.",
            ) from e
        if head.lstrip().startswith((b"#EXTM3U", b"ffconcat", b"<?xml", b"v=0")):
            raise InputError(
                f"{name} is a playlist, not media", remedy="Give the media file itself."
            ) from e
        raise InputError(
            f"{name} is not media this kit reads",
            seen=f"{size} bytes starting {head[:8]!r}",
            remedy=f"Use {_GOOD}.",
        ) from e


def _picture_format(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp_pipe"
    return next((fmt for magic, fmt in _PICTURES if head.startswith(magic)), None)


def video_stream(container):
    """The container's main moving (or still) picture, or None; cover art does not count."""
    real = [
        s
        for s in container.streams.video
        if not s.disposition & av.stream.Disposition.attached_pic and s.codec_context.width
    ]
    return max(real, key=lambda s: s.codec_context.width * s.codec_context.height, default=None)


def audio_stream(container):
    """The container's main audio stream, or None."""
    streams = [s for s in container.streams.audio if s.codec_context is not None]
    return max(streams, key=lambda s: bool(s.disposition & 1), default=None)


def is_picture(container) -> bool:
    return container.format.name.endswith("_pipe")


def first_frame(container, stream, name: str):
    """The first frame that decodes, from a container standing at its start."""
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                continue
            if frames:
                return frames[0]
    except av.FFmpegError:
        pass
    raise InputError(
        f"{name}: no picture can be decoded",
        seen=stream.codec_context.name if stream.codec_context else "unknown codec",
        remedy="The file is damaged or its codec is unknown; convert it to H.264 MP4.",
    )


def probe(path) -> MediaInfo:
    """Read what a media file holds, decoding one frame.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    MediaInfo

    Raises
    ------
    InputError
        Not there, a folder, empty, not media, a playlist, or cut short.
    """
    path = footage(path)
    with open_media(path) as container:
        require_whole(container, path)
        return describe(container, path)


def describe(container, path) -> MediaInfo:
    """`probe` on a container standing at its start; it is left somewhere behind."""
    name = shown(path)
    video, audio = video_stream(container), audio_stream(container)
    if video is None and audio is None:
        raise InputError(f"{name} holds neither picture nor sound", remedy=f"Use {_GOOD}.")
    length_s = (container.duration or 0) / av.time_base
    if container.format.name.startswith("matroska"):  # there it counts from 0, not from the start
        length_s -= max(0, container.start_time or 0) / av.time_base
    video_info = _describe_video(container, video, path, length_s) if video is not None else None
    audio_info = None
    if audio is not None:
        c = audio.codec_context
        seconds = float(audio.duration * audio.time_base) if audio.duration else length_s
        audio_info = AudioInfo(c.name, c.sample_rate, c.channels, seconds)
    tags = {**(video.metadata if video is not None else {}), **container.metadata}
    longest = max([length_s] + [i.duration_s for i in (video_info, audio_info) if i])
    if video_info is not None and video_info.is_still:
        longest = 0.0
    return MediaInfo(Path(path), longest, container.format.name, video_info, audio_info, tags)


def _describe_video(container, stream, path, length_s) -> VideoInfo:
    still = is_picture(container)
    frames, steps = (1, None) if still else _timing(container, stream)
    frame = first_frame(container, stream, shown(path))
    turn_deg, mirrored = picture_turn(path) if still else display_turn(frame)
    width, height = frame.width, frame.height
    aspect = stream.sample_aspect_ratio or Fraction(1)
    aspect = Fraction(aspect) if aspect and aspect > 0 else Fraction(1)
    if turn_deg in (90, 270):
        width, height, aspect = height, width, 1 / aspect
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    variable = False
    if steps is not None and len(steps):
        middle = float(np.median(steps))
        off = np.abs(steps - middle)
        variable = bool((off > max(1.5, 0.05 * middle)).any())  # 1 tick off is rounding
        if not variable:
            mean = Fraction(round(float(steps.mean()) * 1024), 1024)
            rate = 1 / (mean * stream.time_base)
            near = min(_COMMON_RATES, key=lambda r: abs(r - rate))
            if abs(near - rate) < rate / 2000:
                rate = near
    duration_s = float(stream.duration * stream.time_base) if stream.duration else length_s
    depth = max((c.bits for c in frame.format.components), default=8)
    return VideoInfo(
        width=width,
        height=height,
        rate=Fraction(25) if still else Fraction(rate).limit_denominator(100_000),
        frames=frames,
        duration_s=0.0 if still else duration_s,
        rotation_deg=turn_deg,
        codec=stream.codec_context.name,
        pixel_format=frame.format.name,
        bit_depth=depth,
        hdr=HDR.get(int(frame.color_trc)),
        alpha=has_alpha(frame.format),
        variable_rate=variable,
        time_base=stream.time_base,
        is_still=still,
        mirrored=mirrored,
        pixel_aspect=aspect,
    )


def has_alpha(pixel_format) -> bool:
    return any(c.is_alpha for c in pixel_format.components) and not pixel_format.has_palette


def _timing(container, stream):
    """Number of shown frames (or None), and steps between decode times in ticks."""
    entries = [e for e in stream.index_entries if not e.is_discard]
    if container.format.name.startswith("mov") and len(entries) > 1:
        stamps = np.sort([e.timestamp for e in entries])
        # A fragmented file indexes only its first fragments; then the count is not known.
        return (len(entries) if stream.frames else None), np.diff(stamps)
    stamps = []
    try:
        for packet in container.demux(stream):  # a few seconds are enough to see the rhythm
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                stamps.append(stamp)
            if len(stamps) >= 300:
                break
        rewind(container)
    except av.FFmpegError:
        pass
    steps = np.diff(np.sort(stamps))
    return stream.frames or None, steps[: max(0, len(steps) - 8)]


def rewind(container):
    """Back to the very start (pictures have only one)."""
    if not is_picture(container):
        container.seek(container.start_time or 0, backward=True)


def require_whole(container, path):
    """Refuse an MP4/MOV whose index points beyond the end of the file, before any work is done.

    FFmpeg decodes such a file up to the cut and reports success, which is how half a video gets
    taken for a whole one.
    """
    if not container.format.name.startswith("mov"):
        return
    size = os.stat(path).st_size
    for stream in (video_stream(container), audio_stream(container)):
        if stream is None:
            continue
        ends = [e.pos + e.size for e in stream.index_entries]
        inside = sum(end <= size for end in ends)
        if ends and inside < _WHOLE_SHARE * len(ends):
            raise InputError(
                f"{shown(path)} is cut short",
                seen=f"{inside} of {len(ends)} {stream.type} packets are inside the file",
                remedy="Copy or download it again.",
            )
