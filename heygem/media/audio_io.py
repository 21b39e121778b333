"""Audio of a file, in memory (`AudioTrack`) or streamed (`AudioFile`); filters; WAV output.

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
from heygem.core.types import FloatArray, PathLike
from heygem.media.container import (
    audio_stream,
    first_frame,
    is_still_image,
    open_media,
    printable,
    require_complete,
    video_stream,
)

_MIN_GAP_S = 0.05  # larger jumps of the time stamps are real gaps, smaller ones are rounding
_SILENCE_BLOCK = 48_000  # samples


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
    notes : list of str
        Damage encountered while decoding.
    non_finite_count : int
        Samples that were NaN or infinite and became 0, in the last pass.

    Raises
    ------
    InputError
        A file that cannot be used or holds no audio.
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
        self.non_finite_count = 0
        with open_media(self.path) as container:
            require_complete(container, self.path)
            stream = self._stream(container)
            frame = self._first_frame(container, stream)
            self.rate_hz: int = frame.sample_rate
            self.channels: int = frame.layout.nb_channels
            self.layout: str = frame.layout.name
            self.codec: str = stream.codec_context.name
            self._origin_s = self._time_zero_s(stream, frame)

    @property
    def samples(self) -> FloatArray:
        """The whole audio: float32 [n, channels], -1..1."""
        blocks = list(self.blocks())
        if not blocks:
            return np.zeros((0, self.channels), np.float32)
        return np.concatenate(blocks)

    @cached_property
    def duration_s(self) -> float:
        """Length in seconds, counted by decoding once."""
        return sum(len(block) for block in self.blocks()) / self.rate_hz

    def blocks(self) -> Iterator[FloatArray]:
        """Yield float32 [k, channels], some hundredths of a second each."""
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

    def _first_frame(self, container: InputContainer, stream: av.AudioStream) -> av.AudioFrame:
        for frame in _decode(container, stream, []):
            return frame
        raise InputError(
            f"{printable(self.path)}: no sound can be decoded",
            seen=stream.codec_context.name,
            remedy="The file is damaged or its codec is unknown; convert it to WAV.",
        )

    def _time_zero_s(self, stream: av.AudioStream, frame: av.AudioFrame) -> float:
        """Stream time of time zero: of the first video frame, else of the first audio frame."""
        with open_media(self.path) as container:
            video = video_stream(container)
            if video is not None and not is_still_image(container):
                try:
                    first = first_frame(container, video, "")
                    return _seconds(first.pts or 0, video.time_base)
                except InputError:
                    pass
        return _seconds(frame.pts or 0, stream.time_base)

    def _aligned_blocks(self) -> Iterator[FloatArray]:
        """Decoded blocks from time zero on, with gaps filled and overlaps cut."""
        self.non_finite_count = 0
        position = 0  # samples yielded
        errors: list[str] = []
        with open_media(self.path) as container:
            stream = self._stream(container)
            resampler, format_before = None, None
            frames = _decode(container, stream, errors)
            for frame, length in _with_declared_end(frames, container, stream):
                frame_format = (frame.sample_rate, frame.layout.name, frame.format.name)
                if resampler is None or frame_format != format_before:
                    resampler = av.AudioResampler("flt", self.layout, self.rate_hz)
                    format_before = frame_format
                start_s = None if frame.pts is None else _seconds(frame.pts, frame.time_base)
                frame.pts = None
                parts = [np.asarray(f.to_ndarray(), np.float32) for f in resampler.resample(frame)]
                if not parts:
                    continue
                block = np.concatenate(parts, 1).reshape(-1, self.channels)[:length]
                block = self._finite(block)
                if start_s is not None:
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
        note = f"{len(errors)} damaged audio packets skipped"
        if errors and note not in self.notes:
            self.notes.append(note)

    def _finite(self, block: FloatArray) -> FloatArray:
        """Zero NaN and infinity, which float WAVs can hold and filters would spread."""
        finite = np.isfinite(block)
        if finite.all():
            return block
        self.non_finite_count += int((~finite).sum())
        return np.where(finite, block, 0)


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


def audio_frame(block: FloatArray, rate_hz: int, layout: str | av.AudioLayout) -> av.AudioFrame:
    """A PyAV frame of packed float samples, from float32 [k, channels]; without a time."""
    packed = np.ascontiguousarray(block, np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    frame.sample_rate = rate_hz
    return frame


def filter_blocks(
    blocks: Iterable[FloatArray],
    rate_hz: int,
    layout: str,
    filters: Iterable[tuple[str, str]],
) -> Iterator[FloatArray]:
    """Run audio through FFmpeg filters.

    Parameters
    ----------
    blocks : iterable of float32 [k, channels]
    rate_hz : int
    layout : str
        FFmpeg's name of the channel layout.
    filters : iterable of (name, arguments)

    Yields
    ------
    float32 [k, channels], the same total length
    """
    graph = av.filter.Graph()
    nodes = [graph.add_abuffer(format="flt", sample_rate=rate_hz, layout=layout)]
    nodes += [graph.add(name, arguments) for name, arguments in filters]
    nodes += [
        graph.add("aformat", f"sample_fmts=flt:sample_rates={rate_hz}:channel_layouts={layout}"),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    channels = av.AudioLayout(layout).nb_channels
    position = 0
    for block in blocks:
        frame = audio_frame(block, rate_hz, layout)
        frame.pts = position
        position += len(block)
        graph.push(frame)
        for filtered in finished_frames(graph):
            yield np.asarray(filtered.to_ndarray(), np.float32).reshape(-1, channels)
    graph.push(None)
    for filtered in finished_frames(graph):
        yield np.asarray(filtered.to_ndarray(), np.float32).reshape(-1, channels)


def finished_frames(graph: av.filter.Graph) -> Iterator[av.AudioFrame]:
    """Yield the audio frames that a filter graph has finished."""
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        assert isinstance(frame, av.AudioFrame)
        yield frame


def _seconds(ticks: int, time_base: Fraction | None) -> float:
    return float(ticks * (time_base or 0))


def _silence(count: int, channels: int) -> Iterator[FloatArray]:
    while count > 0:
        yield np.zeros((min(count, _SILENCE_BLOCK), channels), np.float32)
        count -= _SILENCE_BLOCK


def _decode(
    container: InputContainer, stream: av.AudioStream, errors: list[str]
) -> Iterator[av.AudioFrame]:
    """Yield frames; damaged packets are skipped and their errors appended to `errors`."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as e:
            errors.append(str(e))
            return
        try:
            yield from packet.decode()
        except av.FFmpegError as e:
            errors.append(str(e))


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
