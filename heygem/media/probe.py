"""What a media file holds: size, frame rate, duration, colour, audio, tags."""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from heygem.core.errors import InputError
from heygem.core.files import read_once
from heygem.core.types import FloatArray, PathLike
from heygem.media.colour import BT709, HDR_TRANSFERS, ColourCoding, coding_of
from heygem.media.completeness import require_complete
from heygem.media.container import (
    SUPPORTED,
    audio_stream,
    first_shown,
    is_still_image,
    media_path,
    open_media,
    printable,
    video_stream,
)
from heygem.media.orientation import display_rotation, exif_rotation

_COMMON_RATES = [Fraction(n) for n in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120, 240)] + [
    Fraction(n * 1000, 1001) for n in (15, 24, 30, 48, 60, 120, 240)
]
_TIMING_PACKETS = 300  # read where the container has no index: a few seconds show the rhythm


@dataclass(frozen=True)
class VideoInfo:
    """One video stream; width and height are those of the upright picture, in pixels.

    ``rate`` is frames per second (the mean when ``variable_rate``), ``frames`` the number of
    shown frames or None where the container does not say, ``hdr`` is ``"PQ"``, ``"HLG"`` or
    None, ``rotation_deg`` the clockwise rotation that made the picture upright, ``pixel_aspect``
    width over height of one pixel, ``coding`` how a video made of its frames should code colour,
    ``first_tick`` the stream time of the first shown frame in units of ``time_base``.
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
    coding: ColourCoding = BT709
    first_tick: int = 0

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
    """A media file: its main video stream, its main audio stream, its tags."""

    path: Path
    duration_s: float
    format: str
    video: VideoInfo | None
    audio: AudioInfo | None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def is_still(self) -> bool:
        """Whether the file is a still image."""
        return self.video is not None and self.video.is_still


def probe(path: PathLike) -> MediaInfo:
    """Read what a media file holds; decodes one frame.

    A job asks several times for the same file: what was read holds until its inode, size or time
    of change is another one.

    Raises
    ------
    InputError
        Not there, a folder, empty, not media, a playlist, or cut short.
    """
    path = media_path(path)
    try:
        info = _read_once(path)
    except OSError:  # opening it says why
        return _read(path)
    return replace(info, tags=dict(info.tags))


def _read(path: Path) -> MediaInfo:
    with open_media(path) as container:
        require_complete(container, path)
        return _describe(container, path)


_read_once = read_once(_read, files=256)


def _describe(container: InputContainer, path: PathLike) -> MediaInfo:
    """`probe` of a container at its start; its position afterwards is undefined."""
    path = media_path(path)
    video, audio = video_stream(container), audio_stream(container)
    if video is None and audio is None:
        raise InputError(
            f"{printable(path)} holds neither picture nor sound", remedy=f"Use {SUPPORTED}."
        )
    length_s = (container.duration or 0) / av.time_base
    if container.format.name.startswith("matroska"):  # there it counts from 0, not from the start
        length_s -= max(0, container.start_time or 0) / av.time_base
    video_info = _describe_video(container, video, path, length_s) if video is not None else None
    audio_info = _describe_audio(audio, length_s) if audio is not None else None
    tags = {**(video.metadata if video is not None else {}), **container.metadata}
    longest = max([length_s] + [i.duration_s for i in (video_info, audio_info) if i])
    if video_info is not None and video_info.is_still:
        longest = 0.0
    return MediaInfo(path, longest, container.format.name, video_info, audio_info, tags)


def _describe_audio(stream: av.AudioStream, length_s: float) -> AudioInfo:
    codec = stream.codec_context
    duration_s = length_s
    if stream.duration and stream.time_base:
        duration_s = float(stream.duration * stream.time_base)
    return AudioInfo(codec.name, codec.sample_rate, codec.channels, duration_s)


def _describe_video(
    container: InputContainer, stream: av.VideoStream, path: PathLike, length_s: float
) -> VideoInfo:
    still = is_still_image(container)
    frames, steps = (1, np.zeros(0)) if still else _timing(container, stream)
    frame, first_tick = _first_shown(path)
    rotation_deg, mirrored = exif_rotation(path) if still else display_rotation(frame)
    width, height = frame.width, frame.height
    aspect = stream.sample_aspect_ratio or Fraction(1)
    aspect = Fraction(aspect) if aspect and aspect > 0 else Fraction(1)
    if rotation_deg in (90, 270):
        width, height, aspect = height, width, 1 / aspect
    time_base = stream.time_base or Fraction(1, 1000)
    rate, variable = _frame_rate(stream, path, time_base, steps)
    duration_s = float(stream.duration * time_base) if stream.duration else length_s
    return VideoInfo(
        width=width,
        height=height,
        rate=Fraction(25) if still else rate.limit_denominator(100_000),
        frames=frames,
        duration_s=0.0 if still else duration_s,
        rotation_deg=rotation_deg,
        codec=stream.codec_context.name,
        pixel_format=frame.format.name,
        bit_depth=max((c.bits for c in frame.format.components), default=8),
        hdr=HDR_TRANSFERS.get(int(frame.color_trc)),
        alpha=_has_alpha(frame.format),
        variable_rate=variable,
        time_base=time_base,
        is_still=still,
        mirrored=mirrored,
        pixel_aspect=aspect,
        coding=coding_of(frame),
        first_tick=first_tick,
    )


def _first_shown(path: PathLike) -> tuple[av.VideoFrame, int]:
    """From a container of its own: not every file can be rewound to its first key frame."""
    with open_media(path) as container:
        stream = video_stream(container)
        assert stream is not None
        return first_shown(container, stream, printable(path))


def _has_alpha(pixel_format: av.VideoFormat) -> bool:
    return any(c.is_alpha for c in pixel_format.components) and not pixel_format.has_palette


def _frame_rate(
    stream: av.VideoStream, path: PathLike, time_base: Fraction, steps: FloatArray
) -> tuple[Fraction, bool]:
    """Frames per second, and whether the steps between frames [ticks] vary."""
    rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
    if not len(steps):
        return rate, False
    middle = float(np.median(steps))
    deviation = np.abs(steps - middle)
    if (deviation > max(1.5, 0.05 * middle)).any():  # 1 tick is rounding
        return rate, True
    mean = Fraction(round(float(steps.mean()) * 1024), 1024)
    if not mean:
        raise InputError(
            f"{printable(path)}: all its frames have the same time",
            seen=f"{len(steps) + 1} frames",
            remedy="Make a copy with times: ffmpeg -i IN -vf setpts=N/25/TB -r 25 OUT.mp4",
        )
    rate = 1 / (mean * time_base)
    common = min(_COMMON_RATES, key=lambda r: abs(r - rate))
    return (common if abs(common - rate) < rate / 2000 else rate), False


def _timing(container: InputContainer, stream: av.VideoStream) -> tuple[int | None, FloatArray]:
    """Number of shown frames (or None), and steps between decode times in ticks."""
    entries = [entry for entry in stream.index_entries if not entry.is_discard]
    if container.format.name.startswith("mov") and len(entries) > 1:
        stamps = np.sort([entry.timestamp for entry in entries])
        # A fragmented file indexes only its first fragments; then the count is unknown.
        return (len(entries) if stream.frames else None), np.diff(stamps)
    ticks: list[int] = []
    try:
        for packet in container.demux(stream):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                ticks.append(stamp)
            if len(ticks) >= _TIMING_PACKETS:
                break
    except av.FFmpegError:
        pass
    steps = np.diff(np.sort(ticks))
    return stream.frames or None, steps[: max(0, len(steps) - 8)]
