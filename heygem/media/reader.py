"""Read a video (or a still image) frame by frame: upright, 8-bit RGB, with exact times."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import av
from av.container import InputContainer

from heygem.core.errors import InputError
from heygem.core.interrupts import raise_if_cancelled
from heygem.core.types import Image, PathLike
from heygem.media.colour import ColourCoding, RgbConverter
from heygem.media.completeness import (
    MIN_COMPLETE_SHARE,
    require_declared_length,
)
from heygem.media.container import open_media, printable, video_stream
from heygem.media.orientation import make_upright
from heygem.media.probe import VideoInfo, probe
from heygem.media.yuv import FrameBuffers, YuvImage, has_planes

_SEEK_BACK_S = (0.0, 2.0, 10.0)  # seek this much earlier when a seek lands too late
_REMEDY = "Copy or download it again, or repair it by re-encoding."
_TimedFrames: TypeAlias = Iterator[tuple[float, av.VideoFrame]]  # seconds, decoded frame


@dataclass(frozen=True)
class Frame:
    """One shown frame.

    index : int, number of the frame in its stream, 0 for the first shown one
    time_s : float, seconds after the first shown frame
    image : uint8 [H, W, 3], RGB, 0..255, upright
    """

    index: int
    time_s: float
    image: Image


class VideoReader:
    """Read frames with ``with VideoReader(path) as reader: for frame in reader: ...``.

    One frame is in memory at a time, so memory does not grow with length. Every iteration starts
    from the beginning.

    Parameters
    ----------
    path : str or Path
        A video, or a still image (one frame at 0 s).
    start_s, end_s : float, optional
        Only frames with ``start_s <= time_s < end_s``. Exact: decoding starts at the key frame
        before. ``index`` still counts from the start of the stream.
    only : collection of int, optional
        Only frames with these indices; the others are decoded but not converted to RGB.

    Attributes
    ----------
    info : MediaInfo
    notes : list of str
        Conversions done and damage encountered, as text; complete after the iteration.

    Raises
    ------
    InputError
        At construction for a file that cannot be used (see `probe`) or holds no picture; at the
        end of a full iteration when less than 98 % of the declared frames were there.
    """

    def __init__(
        self,
        path: PathLike,
        start_s: float = 0.0,
        end_s: float | None = None,
        only: Collection[int] | None = None,
    ) -> None:
        self.path = Path(path)
        self._only = None if only is None else frozenset(only)
        self.start_s, self.end_s = start_s, end_s
        self.info = probe(self.path)
        if self.info.video is None:
            raise InputError(
                f"{printable(path)} holds no picture",
                seen=f"sound only ({self.info.format})",
                remedy="Give it as the audio, and a video or portrait as the video.",
            )
        self._container: InputContainer | None = None
        self._video: VideoInfo = self.info.video
        self._to_rgb = RgbConverter()
        self._damage: list[str] = []

    @property
    def notes(self) -> list[str]:
        """Conversions done and damage encountered."""
        v = self._video
        geometry = []
        if v.rotation_deg or v.mirrored:
            geometry.append(
                f"turned upright ({v.rotation_deg} degrees clockwise"
                + (", mirrored)" if v.mirrored else ")")
            )
        if v.pixel_aspect != 1:
            geometry.append(f"pixels are not square ({v.pixel_aspect}); kept as they are")
        return geometry + self._to_rgb.notes + self._damage

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _restart(self) -> "_DecodingState":
        """Open the file anew: a decoder cannot be used again after it was drained."""
        self.close()
        self._container = container = open_media(self.path)
        stream = video_stream(container)
        if stream is None:  # the file has changed since it was described
            raise InputError(f"{printable(self.path)} holds no picture any more", remedy=_REMEDY)
        stream.thread_type = "AUTO"
        if self._video.frames is not None:  # otherwise the audio shows where the file ends
            for other in container.streams:
                if other is not stream:
                    other.discard = av.stream.Discard.all
        return _DecodingState(container, stream, self._video.first_tick)

    def __iter__(self) -> Iterator[Frame]:
        for index, time_s, frame in self._selected_frames():
            yield Frame(index, time_s, self._to_image(frame))

    def yuv_images(
        self, coding: ColourCoding, buffers: FrameBuffers | None = None
    ) -> Iterator[YuvImage]:
        """The frames as planes for the encoder; a frame that has them already is not converted.

        Parameters
        ----------
        coding : ColourCoding
            Of the film that they are for.
        buffers : FrameBuffers, optional
            For copies of them.
        """
        for _, _, frame in self._selected_frames(counted=False):
            if self._is_upright_size(frame) and has_planes(frame, coding):
                yield YuvImage(frame, coding.matrix, buffers)
            else:
                yield YuvImage.from_rgb(self._to_image(frame), coding.matrix, buffers)

    def _is_upright_size(self, frame: av.VideoFrame) -> bool:
        v = self._video
        is_upright = v.rotation_deg == 0 and not v.mirrored
        return is_upright and (frame.width, frame.height) == (v.width, v.height)

    def _selected_frames(
        self, *, counted: bool = True
    ) -> Iterator[tuple[int, float, av.VideoFrame]]:
        """Yield index, time in seconds and decoded frame of every frame asked for.

        Unless `counted`, indices count from the first frame that is decoded.
        """
        self._damage = []
        found = self._seek() if self.start_s > 0 and not self.info.is_still else None
        first_index = 0
        if found is not None:
            state, frames = found
            if counted or self._only is not None:
                first_index = self._count_before(self.start_s, state)
        else:
            state = self._restart()
            frames = self._decode(state)
        index = first_index
        for time_s, frame in frames:
            if self.end_s is not None and time_s >= self.end_s - state.tick_s / 2:
                self._note_damage(state)
                return
            selected = self._only is None or index in self._only
            if selected and time_s >= self.start_s - state.tick_s / 2:
                yield index, time_s, frame
            index += 1
        self._note_damage(state)
        if self.start_s <= 0 and self.end_s is None:
            self._require_complete(state, index)

    def _to_image(self, frame: av.VideoFrame) -> Image:
        v = self._video
        size = (v.height, v.width) if v.rotation_deg in (90, 270) else (v.width, v.height)
        if (frame.width, frame.height) != size:
            self._to_rgb.note(
                f"the picture size changes within the video; scaled to {size[0]}x{size[1]}"
            )
        if frame.interlaced_frame:
            self._to_rgb.note("interlaced; combing is left as it is")
        image = self._to_rgb(frame, size)
        if v.rotation_deg or v.mirrored:
            image = make_upright(image, v.rotation_deg, v.mirrored)
        return image

    def _decode(self, state: "_DecodingState", *, wanted_s: float = 0.0) -> _TimedFrames:
        """Yield (time_s, decoded frame) in order from the container's position on.

        Before `wanted_s` come only frames that others are decoded from.
        """
        last_s = None
        decoder = state.stream.codec_context
        packets = state.container.demux()
        while True:
            raise_if_cancelled()
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                state.bad_packets += 1
                return
            state.count_packet(packet)
            if packet.stream is not state.stream:
                continue
            if wanted_s > 0 and packet.pts is not None:
                is_wanted = packet.pts - state.origin >= wanted_s / state.tick_s - 0.5
                decoder.skip_frame = "DEFAULT" if is_wanted else "NONREF"
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                state.bad_packets += 1
                continue
            for frame in decoded:
                assert isinstance(frame, av.VideoFrame)
                time_s = state.time_of(frame, last_s, self._video.rate)
                last_s = time_s
                state.concealed += frame.is_corrupt
                yield time_s, frame

    def _seek(self) -> tuple["_DecodingState", _TimedFrames] | None:
        """Frames from ``start_s`` on; None where the file can only be decoded from its start."""
        for back_s in _SEEK_BACK_S:
            target_s = self.start_s - back_s
            if target_s <= 0:
                break
            state = self._restart()
            try:
                tick = int(target_s / state.tick_s) + state.origin
                state.container.seek(tick, stream=state.stream, backward=True)
                frames = self._decode(state, wanted_s=self.start_s)
                first = next(frames)
            except (av.FFmpegError, StopIteration):
                break
            if first[0] <= self.start_s + state.tick_s / 2:
                limit_s = self.start_s - state.tick_s / 2
                wanted = (frame for frame in chain([first], frames) if frame[0] >= limit_s)
                return state, wanted
        return None

    def _count_before(self, time_s: float, state: "_DecodingState") -> int:
        """Number of frames shown before ``time_s``, from the packets alone."""
        with open_media(self.path) as container:
            stream = video_stream(container)
            assert stream is not None
            limit = state.origin + time_s / state.tick_s - 0.5
            count = 0
            for packet in container.demux(stream):
                stamp = packet.pts if packet.pts is not None else packet.dts
                if stamp is not None and not packet.is_discard and state.origin <= stamp < limit:
                    count += 1
                if packet.dts is not None and packet.dts > limit:
                    break
            return count

    def _note_damage(self, state: "_DecodingState") -> None:
        if state.bad_packets:
            self._damage.append(f"{state.bad_packets} damaged packets skipped")
        if state.concealed and self.start_s <= 0:  # after a seek the decoder cannot tell
            self._damage.append(f"{state.concealed} damaged frames concealed by the decoder")
        if state.estimated_times:
            self._damage.append(f"{state.estimated_times} frames had no usable time; spaced evenly")

    def _require_complete(self, state: "_DecodingState", decoded: int) -> None:
        """Refuse a file that ended before its declared end, which FFmpeg accepts silently."""
        declared = self._video.frames
        if declared is None:
            require_declared_length(self.path, state.end_s, self.info.duration_s)
        elif decoded < MIN_COMPLETE_SHARE * declared:
            raise InputError(
                f"{printable(self.path)} is cut short or damaged",
                seen=f"{decoded} of {declared} frames could be decoded",
                remedy=_REMEDY,
            )


class _DecodingState:
    """An open file, its time zero, and counts of the damage encountered while decoding.

    container, stream : what is decoded
    origin : int, pts of the first shown frame, ticks
    tick_s : float, seconds a tick
    bad_packets, concealed, estimated_times : int, damage
    end_s : float, end of the last packet of any stream
    """

    def __init__(self, container: InputContainer, stream: av.VideoStream, origin: int) -> None:
        self.container = container
        self.stream = stream
        self.origin = origin
        self.time_base = stream.time_base or Fraction(1, 1000)
        self.tick_s = float(self.time_base)
        self.bad_packets = 0
        self.concealed = 0
        self.estimated_times = 0
        self.end_s = 0.0

    def count_packet(self, packet: av.Packet) -> None:
        """Extend `end_s` to the end of a packet."""
        if packet.pts is not None:
            ticks = packet.pts + (packet.duration or 0)
            origin_s = self.origin * self.tick_s
            self.end_s = max(self.end_s, float(ticks * packet.time_base) - origin_s)

    def time_of(self, frame: av.VideoFrame, last_s: float | None, rate: Fraction) -> float:
        """Seconds after time zero; one frame after `last_s` where the stamp is unusable."""
        stamp = frame.pts if frame.pts is not None else frame.dts
        if stamp is not None:
            time_s = float((stamp - self.origin) * self.time_base)
            if last_s is None or time_s > last_s:
                return time_s
        self.estimated_times += last_s is not None
        return 0.0 if last_s is None else last_s + float(1 / rate)
