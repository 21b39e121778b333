"""Sound of a file, in memory (`AudioTrack`) or streamed (`AudioFile`).

Both have ``rate_hz``, ``channels``, ``samples`` and ``blocks()``; the writer takes either. Ten
minutes of stereo at 48 kHz are 230 MB in memory and nothing when streamed.
"""

import os
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from heygem.core.errors import InputError
from heygem.core.types import FloatArray, PathLike
from heygem.media.probe import (
    audio_stream,
    first_frame,
    is_picture,
    open_media,
    require_whole,
    shown,
    video_stream,
)

_GAP_S = 0.05  # jumps in the time stamps beyond this are real gaps, below it is rounding


@dataclass(frozen=True)
class AudioTrack:
    """Sound in memory.

    samples : float32 [n, channels], -1..1
    rate_hz : int
    """

    samples: np.ndarray
    rate_hz: int

    @property
    def channels(self) -> int:
        return self.samples.shape[1]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate_hz

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield float32 [k, channels], one second each."""
        for start in range(0, len(self.samples), self.rate_hz):
            yield self.samples[start : start + self.rate_hz]


class AudioFile:
    """Sound read from a file as it is needed, at its own rate and channels.

    Time zero is the first shown frame where the file also holds a video, so sound and picture
    of one file stay together: a late start is filled with silence, an early one cut off.

    Parameters
    ----------
    path : str or Path
    gain_db : float
        Applied to every sample.
    process : callable, optional
        Blocks in, blocks of the same total length out; applied before the gain.

    Raises
    ------
    InputError
        A file that cannot be used or holds no sound.
    """

    def __init__(self, path, *, gain_db: float = 0.0, process=None):
        self.path = Path(path)
        self.gain_db = gain_db
        self.process = process
        self.notes: list[str] = []
        self.replaced = 0  # samples that were not numbers, in the last reading
        with open_media(self.path) as container:
            require_whole(container, self.path)
            stream = self._stream(container)
            frame = self._first(container, stream)
            self.rate_hz = frame.sample_rate
            self.channels = frame.layout.nb_channels
            self.layout = frame.layout.name
            self.codec = stream.codec_context.name
            self._origin_s = self._origin(stream, frame)

    def _stream(self, container):
        stream = audio_stream(container)
        if stream is None:
            raise InputError(
                f"{shown(self.path)} holds no sound",
                seen=f"picture only ({container.format.name})",
                remedy="Give a file with speech in it as the audio.",
            )
        return stream

    def _first(self, container, stream):
        for frame in _decode(container, stream, []):
            return frame
        raise InputError(
            f"{shown(self.path)}: no sound can be decoded",
            seen=stream.codec_context.name,
            remedy="The file is damaged or its codec is unknown; convert it to WAV.",
        )

    def _origin(self, stream, frame) -> float:
        """Stream time that is time zero, seconds."""
        with open_media(self.path) as container:
            video = video_stream(container)
            if video is not None and not is_picture(container):
                try:
                    first = first_frame(container, video, "")
                    return float((first.pts or 0) * video.time_base)
                except InputError:
                    pass
        return float((frame.pts or 0) * stream.time_base)

    @property
    def samples(self) -> np.ndarray:
        """All of it: float32 [n, channels], -1..1."""
        blocks = list(self.blocks())
        if not blocks:
            return np.zeros((0, self.channels), np.float32)
        return np.concatenate(blocks)

    @property
    def duration_s(self) -> float:
        """Length in seconds, counted by decoding once."""
        if not hasattr(self, "_duration_s"):
            self._duration_s = sum(len(b) for b in self.blocks()) / self.rate_hz
        return self._duration_s

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield float32 [k, channels], some hundredths of a second each."""
        gain = np.float32(10 ** (self.gain_db / 20))
        blocks = self._aligned()
        if self.process is not None:
            blocks = self.process(blocks)
        for block in blocks:
            yield block * gain if self.gain_db else block

    def _aligned(self):
        self.replaced = 0
        done = 0  # samples given out, or still to be skipped when negative
        skipped: list[str] = []
        with open_media(self.path) as container:
            stream = self._stream(container)
            resampler, before = None, None
            for frame, keep in _with_ends(_decode(container, stream, skipped), container, stream):
                shape = (frame.sample_rate, frame.layout.name, frame.format.name)
                if shape != before:
                    resampler = av.AudioResampler("flt", self.layout, self.rate_hz)
                    before = shape
                at_s = None if frame.pts is None else float(frame.pts * frame.time_base)
                frame.pts = None
                parts = [f.to_ndarray() for f in resampler.resample(frame)]
                if not parts:
                    continue
                block = np.concatenate(parts, 1).reshape(-1, self.channels)[:keep]
                finite = np.isfinite(block)
                if not finite.all():  # float WAVs can hold anything, and NaN spreads in filters
                    self.replaced += int((~finite).sum())
                    block = np.where(finite, block, 0)
                if at_s is not None:
                    want = round((at_s - self._origin_s) * self.rate_hz)
                    # The first block is placed exactly, later ones only after a real gap.
                    tolerance = 0 if done == 0 else _GAP_S * self.rate_hz
                    gap = want - done
                    if gap > tolerance:
                        yield from _silence(gap, self.channels)
                        done += gap
                    elif -gap > tolerance:
                        block = block[-gap:]
                if len(block):
                    done += len(block)
                    yield np.ascontiguousarray(block, dtype=np.float32)
        note = f"{len(skipped)} damaged audio packets skipped"
        if skipped and note not in self.notes:
            self.notes.append(note)


def _silence(count, channels, most=48_000):
    while count > 0:
        yield np.zeros((min(count, most), channels), np.float32)
        count -= most


def _decode(container, stream, skipped):
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as e:
            skipped.append(str(e))
            return
        try:
            yield from packet.decode()
        except av.FFmpegError as e:
            skipped.append(str(e))


def _with_ends(frames, container, stream):
    """Yield (frame, number of its samples to keep): MP4 tells how much of AAC's last one is sound.

    FFmpeg decodes the encoder's padding at the end, up to 64 ms at 16 kHz.
    """
    declared = stream.duration if container.format.name.startswith("mov") else None
    held = None
    for frame in frames:
        if held is not None:
            yield held, None
        held = frame
    if held is None:
        return
    keep = None
    if declared and held.pts is not None:
        end_s = float(((stream.start_time or 0) + declared) * stream.time_base)
        left = round((end_s - float(held.pts * held.time_base)) * held.sample_rate)
        keep = left if 0 < left < held.samples else None
    yield held, keep


def filtered(blocks, rate_hz: int, layout: str, filters) -> Iterator[np.ndarray]:
    """Run float32 [k, channels] blocks through FFmpeg audio filters; the length is kept."""
    graph = av.filter.Graph()
    nodes = [graph.add_abuffer(format="flt", sample_rate=rate_hz, layout=layout)]
    nodes += [graph.add(name, arguments) for name, arguments in filters]
    nodes += [
        graph.add("aformat", f"sample_fmts=flt:sample_rates={rate_hz}:channel_layouts={layout}"),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    channels = av.AudioLayout(layout).nb_channels
    fed = 0

    def drain():
        while True:
            try:
                frame = graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            yield frame.to_ndarray().reshape(-1, channels)

    for block in blocks:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block.reshape(1, -1)), format="flt", layout=layout
        )
        frame.sample_rate = rate_hz
        frame.pts = fed
        fed += len(block)
        graph.push(frame)
        yield from drain()
    graph.push(None)
    yield from drain()


def read_audio(path) -> AudioTrack:
    """Read a file's whole sound into memory.

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
