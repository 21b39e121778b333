"""Spans of a session, the clips rendered from them, and lip aperture curves."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heygem import media
from heygem.avatar.timeline import Timeline
from heygem.config.params import Params
from heygem.core.types import FloatArray, Image
from heygem.lips.trajectory import Trajectory
from heygem.media.yuv import YuvImage


@dataclass(frozen=True)
class ApertureCurves:
    """Lip aperture over a span, relative to the rest shape, in inter-ocular distances.

    Attributes
    ----------
    times_s : float64 [N]
    before, after : float32 [N]
        As predicted (scaled to the speaker), and with the controls applied.
    start_s, end_s : float
    """

    times_s: FloatArray
    before: FloatArray
    after: FloatArray
    start_s: float
    end_s: float

    @classmethod
    def sample(
        cls, before: Trajectory, after: Trajectory, start_s: float, length_s: float
    ) -> "ApertureCurves":
        """The curves of two trajectories over a span, a hundred values a second."""
        end_s = start_s + length_s
        times_s = np.linspace(start_s, end_s, max(2, round(length_s * 100) + 1))
        first, second = (
            np.interp(times_s, each.times_s, each.aperture()).astype(np.float32)
            for each in (before, after)
        )
        return cls(times_s, first, second, start_s, end_s)


@dataclass(frozen=True)
class Clip:
    """A rendered span.

    Attributes
    ----------
    result, source : Path
        Videos of the same length: with the new mouth, and as filmed.
    params : Params
    start_s, length_s : float
        On the clock of the audio.
    frames, skipped_frames : int
    seconds : float
        Time taken to render.
    """

    result: Path
    source: Path
    params: Params
    start_s: float
    length_s: float
    frames: int
    skipped_frames: int
    seconds: float


@dataclass
class Span:
    """Frames and audio of a span, and the video of its source frames."""

    key: tuple
    timeline: Timeline  # on the clock of the audio
    audio: media.AudioTrack
    source: Path
    frames: list[Image | YuvImage] | None = None

    @property
    def times_s(self) -> FloatArray:
        """Times of the frames, the first at 0 : float64 [N]."""
        return self.timeline.times_s - self.timeline.times_s[0]


def audio_between(source: media.AudioSource, start_s: float, end_s: float) -> media.AudioTrack:
    """A span of an audio source; nothing after it is read."""
    first, last = round(start_s * source.rate_hz), round(end_s * source.rate_hz)
    parts, position = [], 0
    for block in source.blocks():
        parts.append(block[max(0, first - position) : max(0, last - position)])
        position += len(block)
        if position >= last:
            break
    samples = np.concatenate(parts) if parts else np.zeros((0, source.channels), np.float32)
    return media.AudioTrack(samples, source.rate_hz)
