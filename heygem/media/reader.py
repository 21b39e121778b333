"""Frames of a video (or the one frame of a picture), upright, 8-bit RGB, at their exact times."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from heygem.core.errors import InputError
from heygem.media.colour import ToRGB
from heygem.media.orientation import upright
from heygem.media.probe import describe, first_frame, open_media, require_whole, shown, video_stream

_SEEK_BACK_S = (0.0, 2.0, 10.0)  # how much earlier to look when a seek lands too late
_REMEDY = "Copy or download it again, or repair it by re-encoding."


@dataclass(frozen=True)
class Frame:
    """One shown frame.

    index : int, ordinal of the frame in its stream, 0 for the first shown one
    time_s : float, seconds after the first shown frame
    image : uint8 [H, W, 3], RGB, 0..255, upright
    """

    index: int
    time_s: float
    image: np.ndarray


class VideoReader:
    """Read frames with ``with VideoReader(path) as reader: for frame in reader: ...``.

    One frame is held at a time, so memory does not grow with length. Every iteration starts anew.

    Parameters
    ----------
    path : str or Path
        A video, or a still picture (one frame at 0 s).
    start_s, end_s : float, optional
        Only frames with ``start_s <= time_s < end_s``. Exact: decoding starts at the key frame
        before. ``index`` still counts from the start of the stream.
    only : collection of int, optional
        Only frames with these indices; the others are decoded, but not made into pictures.

    Attributes
    ----------
    info : MediaInfo
    notes : list of str
        Conversions done and damage met, in words; complete after the iteration.

    Raises
    ------
    InputError
        At construction for a file that cannot be used (see `probe`) or holds no picture; at the
        end of a full iteration when less than 98 % of the declared frames were there.
    """

    def __init__(self, path, start_s: float = 0.0, end_s: float | None = None, only=None):
        self.path = Path(path)
        self._only = None if only is None else frozenset(only)
        self.start_s, self.end_s = start_s, end_s
        self._container = open_media(self.path)
        try:
            require_whole(self._container, self.path)
            self.info = describe(self._container, self.path)
            if self.info.video is None:
                raise InputError(
                    f"{shown(path)} holds no picture",
                    seen=f"sound only ({self.info.format})",
                    remedy="Give it as the audio, and a video or portrait as the video.",
                )
        except BaseException:
            self._container.close()
            raise
        self._to_rgb = ToRGB()
        self._damage: list[str] = []
        self._fresh = False

    @property
    def notes(self) -> list[str]:
        v = self.info.video
        own = []
        if v.rotation_deg or v.mirrored:
            own.append(
                f"turned upright ({v.rotation_deg} degrees clockwise"
                + (", mirrored)" if v.mirrored else ")")
            )
        if v.pixel_aspect != 1:
            own.append(f"pixels are not square ({v.pixel_aspect}); kept as they are")
        return own + self._to_rgb.notes + self._damage

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self._container.close()

    def _restart(self):
        # A fresh container: decoders do not survive having been drained.
        self._container.close()
        self._container = open_media(self.path)
        stream = video_stream(self._container)
        stream.thread_type = "AUTO"
        if self.info.video.frames is not None:  # otherwise the sound tells where the file ends
            for other in self._container.streams:
                if other is not stream:
                    other.discard = av.stream.Discard.all
        return stream

    def __iter__(self) -> Iterator[Frame]:
        self._damage = []
        stream = self._restart()
        origin = first_frame(self._container, stream, shown(self.path))
        state = _Progress(stream, origin.pts if origin.pts is not None else 0)
        first_index = 0
        frames = None
        if self.start_s > 0 and not self.info.is_still:
            frames, first_index = self._seek(state)
        if frames is None:
            state.stream = self._restart()
            frames = self._decode(state)
        index = first_index
        for time_s, frame in frames:
            if self.end_s is not None and time_s >= self.end_s - state.tick_s / 2:
                self._report(state)
                return
            asked = self._only is None or index in self._only
            if asked and time_s >= self.start_s - state.tick_s / 2:
                yield Frame(index, time_s, self._picture(frame))
            index += 1
        self._report(state)
        if self.start_s <= 0 and self.end_s is None:
            self._require_enough(state, index)

    def _picture(self, frame):
        v = self.info.video
        size = (v.height, v.width) if v.rotation_deg in (90, 270) else (v.width, v.height)
        if (frame.width, frame.height) != size:
            self._to_rgb.note(f"the picture size changes on the way; scaled to {size[0]}x{size[1]}")
        if frame.interlaced_frame:
            self._to_rgb.note("interlaced; combing is left as it is")
        image = self._to_rgb(frame, size)
        if v.rotation_deg or v.mirrored:
            image = upright(image, v.rotation_deg, v.mirrored)
        return image

    def _decode(self, state):
        """Yield (time_s, decoded frame) in order from where the container stands."""
        last_s = None
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                state.bad_packets += 1
                return
            state.saw(packet)
            if packet.stream is not state.stream:
                continue
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                state.bad_packets += 1
                continue
            for frame in decoded:
                time_s = state.time_of(frame, last_s, self.info.video.rate)
                last_s = time_s
                state.patched += frame.is_corrupt
                yield time_s, frame

    def _seek(self, state):
        """Decode from the key frame before ``start_s``; None when only the start will do."""
        for back_s in _SEEK_BACK_S:
            target_s = self.start_s - back_s
            if target_s <= 0:
                break
            state.stream = self._restart()
            try:
                tick = int(target_s / state.tick_s) + state.origin
                self._container.seek(tick, stream=state.stream, backward=True)
                frames = self._decode(state)
                first = next(frames)
            except (av.FFmpegError, StopIteration):
                break
            if first[0] <= self.start_s + state.tick_s / 2:
                return _chain(first, frames), self._count_before(first[0], state)
        return None, 0

    def _count_before(self, time_s, state) -> int:
        """Number of frames shown before ``time_s``, from the packets alone."""
        with open_media(self.path) as container:
            stream = video_stream(container)
            limit = state.origin + time_s / state.tick_s - 0.5
            count = 0
            for packet in container.demux(stream):
                stamp = packet.pts if packet.pts is not None else packet.dts
                if stamp is not None and not packet.is_discard and state.origin <= stamp < limit:
                    count += 1
                if packet.dts is not None and packet.dts > limit:
                    break
            return count

    def _report(self, state):
        if state.bad_packets:
            self._damage.append(f"{state.bad_packets} damaged packets skipped")
        if state.patched and self.start_s <= 0:  # after a seek the decoder cannot tell
            self._damage.append(f"{state.patched} damaged frames patched up by the decoder")
        if state.mended:
            self._damage.append(f"{state.mended} frames had no usable time; spaced evenly")

    def _require_enough(self, state, decoded):
        """Refuse a file that ended before what it declares; FFmpeg itself takes it for whole."""
        v = self.info.video
        seen = None
        if v.frames is not None:
            if decoded < 0.98 * v.frames:
                seen = f"{decoded} of {v.frames} frames could be decoded"
        elif state.end_s < min(0.98 * self.info.duration_s, self.info.duration_s - 0.5):
            seen = f"{state.end_s:.1f} of {self.info.duration_s:.1f} s could be read"
        if seen:
            raise InputError(
                f"{shown(self.path)} is cut short or damaged", seen=seen, remedy=_REMEDY
            )


class _Progress:
    def __init__(self, stream, origin):
        self.stream = stream
        self.origin = origin  # pts of the first shown frame, ticks
        self.tick_s = float(stream.time_base)
        self.bad_packets = 0
        self.mended = 0
        self.patched = 0
        self.end_s = 0.0  # of the last packet of any stream

    def saw(self, packet):
        if packet.pts is not None:
            ticks = packet.pts + (packet.duration or 0)
            origin_s = self.origin * self.tick_s
            self.end_s = max(self.end_s, float(ticks * packet.time_base) - origin_s)

    def time_of(self, frame, last_s, rate) -> float:
        stamp = frame.pts if frame.pts is not None else frame.dts
        if stamp is not None:
            time_s = float((stamp - self.origin) * self.stream.time_base)
            if last_s is None or time_s > last_s:
                return time_s
        self.mended += last_s is not None
        return 0.0 if last_s is None else last_s + float(1 / rate)


def _chain(first, rest):
    yield first
    yield from rest
