"""Audio of a file, in memory (`AudioTrack`) or streamed (`AudioFile`); WAV output.

Ten minutes of stereo at 48 kHz take 230 MB in memory, and almost nothing when streamed.
"""

import os
import wave
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.container import InputContainer

from heygem.core.errors import InputError
from heygem.core.interrupts import raise_if_cancelled
from heygem.core.types import FloatArray, PathLike
from heygem.media.completeness import (
    lacks_end_mark,
    require_complete,
    require_declared_length,
)
from heygem.media.container import (
    audio_stream,
    first_shown,
    is_still_image,
    open_media,
    printable,
    video_stream,
)
from heygem.media.sound_limits import SampleCheck, require_plausible_format

_MIN_GAP_S = 0.05  # larger jumps of the time stamps are real gaps, smaller ones are rounding
_SILENCE_BLOCK = 48_000  # samples
_MAX_UNTIMED_FRAMES = 1_000  # at the beginning; a stream without any times starts at 0


@dataclass(frozen=True)
class AudioTrack:
    """Audio in memory.

    samples : float32 [n, channels], -1..1
    rate_hz : int
    """

    samples: FloatArray
    rate_hz: int

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.samples.shape[1]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate_hz

    def blocks(self) -> Iterator[FloatArray]:
        """Yield float32 [k, channels], one second each."""
        for start in range(0, len(self.samples), self.rate_hz):
            yield self.samples[start : start + self.rate_hz]


class AudioFile:
    """Audio decoded from a file as it is needed, at its own rate and channels.

    Time zero is the first shown frame where the file also holds a video, so that audio and video
    of one file stay in sync: a late start is padded with silence, an early one cut off.

    Parameters
    ----------
    path : str or Path
    gain_db : float
        Applied to every sample.
    process : callable, optional
        Takes and yields blocks of the same total length; applied before the gain.

    Attributes
    ----------
    rate_hz, channels : int
    layout : str
        FFmpeg's name of the channel layout, such as "stereo".
    codec : str
    lacks_end_mark : bool
        See `heygem.media.completeness.lacks_end_mark`.
    notes : list of str
        Damage encountered while decoding.
    invalid_samples : int
        Samples that were no numbers or far beyond full scale and became 0, in the last pass.

    Raises
    ------
    InputError
        A file that cannot be used or holds no audio; at the end of a pass, one that ended before
        its declared end, or whose samples cannot be sound.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        gain_db: float = 0.0,
        process: Callable[[Iterable[FloatArray]], Iterator[FloatArray]] | None = None,
    ) -> None:
        self.path = Path(path)
        self.gain_db = gain_db
        self.process = process
        self.notes: list[str] = []
        self.invalid_samples = 0
        with open_media(self.path) as container:
            require_complete(container, self.path)
            stream = self._stream(container)
            frame, self._start_s = self._first_frame(container, stream)
            require_plausible_format(self.path, frame.sample_rate, frame.layout.nb_channels)
            self.rate_hz: int = frame.sample_rate
            self.channels: int = frame.layout.nb_channels
            self.layout: str = frame.layout.name
            self.codec: str = stream.codec_context.name
            self.lacks_end_mark = lacks_end_mark(container, self.path)
            self._declared_s = _declared_length_s(container)
            self._origin_s = self._time_zero_s()

    @property
    def samples(self) -> FloatArray:
        """The whole audio: float32 [n, channels], clipped to -1..1."""
        blocks = list(self.blocks())
        if not blocks:
            return np.zeros((0, self.channels), np.float32)
        return np.clip(np.concatenate(blocks), -1, 1)

    @cached_property
    def duration_s(self) -> float:
        """Length in seconds, counted by decoding once."""
        return sum(len(block) for block in self.blocks()) / self.rate_hz

    def blocks(self) -> Iterator[FloatArray]:
        """Yield float32 [k, channels], some hundredths of a second each.

        Float files may exceed -1..1; what plays or writes the blocks clips them.
        """
        gain = np.float32(10 ** (self.gain_db / 20))
        blocks = self._aligned_blocks()
        if self.process is not None:
            blocks = self.process(blocks)
        for block in blocks:
            yield block * gain if self.gain_db else block

    def _stream(self, container: InputContainer) -> av.AudioStream:
        stream = audio_stream(container)
        if stream is None:
            raise InputError(
                f"{printable(self.path)} holds no sound",
                seen=f"picture only ({container.format.name})",
                remedy="Give a file with speech in it as the audio.",
            )
        return stream

    def _first_frame(
        self, container: InputContainer, stream: av.AudioStream
    ) -> tuple[av.AudioFrame, float]:
        """The first frame, and its stream time in seconds.

        Matroska cannot store the times of frames before 0: they are counted back from the first
        frame that has a time.
        """
        first, samples = None, 0
        for count, frame in enumerate(_decode(container, stream, _Damage())):
            first = frame if first is None else first
            if frame.pts is not None:
                return first, _seconds(frame.pts, stream.time_base) - samples / first.sample_rate
            samples += frame.samples
            if count > _MAX_UNTIMED_FRAMES:
                break
        if first is not None:
            return first, 0.0
        raise InputError(
            f"{printable(self.path)}: no sound can be decoded",
            seen=stream.codec_context.name,
            remedy="The file is damaged or its codec is unknown; convert it to WAV.",
        )

    def _time_zero_s(self) -> float:
        """Stream time of time zero: of the first video frame, else of the first audio frame."""
        with open_media(self.path) as container:
            video = video_stream(container)
            if video is not None and not is_still_image(container):
                try:
                    _, tick = first_shown(container, video, "")
                    return _seconds(tick, video.time_base)
                except InputError:
                    pass
        return self._start_s

    def _aligned_blocks(self) -> Iterator[FloatArray]:
        """Decoded blocks from time zero on, with gaps filled and overlaps cut."""
        check, damage = SampleCheck(), _Damage()
        position = 0  # samples yielded
        for block, start_s in self._timed_blocks(damage):
            block = check.repaired(block)
            self.invalid_samples = check.invalid
            gap = round((start_s - self._origin_s) * self.rate_hz) - position
            # The first block is placed exactly, later ones only after a real gap.
            tolerance = 0 if position == 0 else _MIN_GAP_S * self.rate_hz
            if gap > tolerance:
                yield from _silence(gap, self.channels)
                position += gap
            elif -gap > tolerance:
                block = block[-gap:]
            if len(block):
                position += len(block)
                yield np.ascontiguousarray(block, dtype=np.float32)
        note = f"{damage.packets} damaged audio packets skipped"
        if damage.packets and note not in self.notes:
            self.notes.append(note)
        check.require_usable(self.path)
        if self._declared_s:
            read_s = max(damage.end_s - self._origin_s, position / self.rate_hz)
            require_declared_length(self.path, read_s, self._declared_s)

    def _timed_blocks(self, damage: "_Damage") -> Iterator[tuple[FloatArray, float]]:
        """Decoded float32 [k, channels] blocks at the file's own rate, and their stream times."""
        next_s = self._start_s
        with open_media(self.path) as container:
            stream = self._stream(container)
            resampler, format_before = None, None
            frames = _decode(container, stream, damage)
            for frame, length in _with_declared_end(frames, container, stream):
                frame_format = (frame.sample_rate, frame.layout.name, frame.format.name)
                if resampler is None or frame_format != format_before:
                    resampler = av.AudioResampler("flt", self.layout, self.rate_hz)
                    format_before = frame_format
                start_s = next_s if frame.pts is None else _seconds(frame.pts, frame.time_base)
                next_s = start_s + frame.samples / frame.sample_rate
                frame.pts = None
                parts = [np.asarray(f.to_ndarray(), np.float32) for f in resampler.resample(frame)]
                if parts:
                    yield np.concatenate(parts, 1).reshape(-1, self.channels)[:length], start_s


AudioSource: TypeAlias = AudioFile | AudioTrack


def read_audio(path: PathLike) -> AudioTrack:
    """Read a file's whole audio into memory.

    Returns
    -------
    AudioTrack
        float32 [n, channels] at the file's own rate, time zero as in `AudioFile`.
    """
    file = AudioFile(path)
    return AudioTrack(file.samples, file.rate_hz)


def write_wav(path: PathLike, samples: FloatArray, rate_hz: int) -> None:
    """Write a 16-bit PCM WAV file.

    Parameters
    ----------
    path : path
        Overwritten where it exists.
    samples : float [n] or [n, channels], clipped to -1..1
    rate_hz : int
    """
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(os.fspath(path), "wb") as file:
        file.setnchannels(1 if pcm.ndim == 1 else pcm.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.tobytes())


def _seconds(ticks: int, time_base: Fraction | None) -> float:
    return float(ticks * (time_base or 0))


def _silence(count: int, channels: int) -> Iterator[FloatArray]:
    while count > 0:
        yield np.zeros((min(count, _SILENCE_BLOCK), channels), np.float32)
        count -= _SILENCE_BLOCK


@dataclass
class _Damage:
    """Packets that could not be decoded, and the end of the last packet in stream seconds."""

    packets: int = 0
    end_s: float = 0.0


def _declared_length_s(container: InputContainer) -> float:
    """Seconds that the header of a Matroska or FLAC file states; 0 for others.

    Where FFmpeg only estimates the length (MPEG streams, MP3 without a table), the file says
    nothing; see `heygem.media.completeness` for what is known before decoding.
    """
    if not container.format.name.startswith(("matroska", "flac")):
        return 0.0
    return ((container.duration or 0) - max(0, container.start_time or 0)) / av.time_base


def _decode(
    container: InputContainer, stream: av.AudioStream, damage: _Damage
) -> Iterator[av.AudioFrame]:
    """Yield the stream's frames; damaged packets are skipped and counted."""
    packets = container.demux()  # the end of a file may be that of its picture
    while True:
        raise_if_cancelled()
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:
            damage.packets += 1
            return
        if packet.pts is not None:
            end = packet.pts + (packet.duration or 0)
            damage.end_s = max(damage.end_s, _seconds(end, packet.time_base))
        if packet.stream is not stream:
            continue
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            damage.packets += 1
            continue
        for frame in decoded:
            assert isinstance(frame, av.AudioFrame)
            yield frame


def _with_declared_end(
    frames: Iterable[av.AudioFrame], container: InputContainer, stream: av.AudioStream
) -> Iterator[tuple[av.AudioFrame, int | None]]:
    """Yield (frame, number of its samples to use; None for all).

    MP4 declares how much of the last AAC frame is audio; FFmpeg also decodes the encoder's padding
    after it, up to 64 ms at 16 kHz.
    """
    declared = stream.duration if container.format.name.startswith("mov") else None
    last = None
    for frame in frames:
        if last is not None:
            yield last, None
        last = frame
    if last is None:
        return
    length = None
    if declared and last.pts is not None:
        end_s = _seconds((stream.start_time or 0) + declared, stream.time_base)
        remaining = round((end_s - _seconds(last.pts, last.time_base)) * last.sample_rate)
        length = remaining if 0 < remaining < last.samples else None
    yield last, length
