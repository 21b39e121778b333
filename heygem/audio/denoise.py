"""Reduction of steady noise, with the noise spectrum measured in the recording's quietest moment.

FFmpeg's ``afftdn`` subtracts a noise spectrum. By default it assumes white noise, which takes 2 dB
off the noise of a fan; given a stretch of the actual noise first, it removes the full 12 dB and
raises the signal-to-noise ratio of speech by 4 to 6 dB (white and pink noise, 12 to 22 dB below
speech).
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from heygem.core.types import FloatArray
from heygem.media.audio_filter import filter_blocks
from heygem.media.audio_io import AudioFile

REDUCTION_DB = 12.0  # more makes speech sound watery
_PROFILE_S = 1.0  # of noise given to the filter before the recording
_FILTER_DELAY_S = 0.025  # of afftdn's output
_STEP_S, _STEPS = 0.05, 8  # the noise is taken from the quietest 0.4 s
_DIGITAL_SILENCE = 1e-10  # power
_MIN_NOISE_DB = -80.0  # dBFS; below it there is nothing to reduce
_MIN_PAUSE_DEPTH_DB = 10.0  # a pause is at least this much below the voice


@dataclass(frozen=True)
class Denoiser:
    """Reduces the noise of `profile` by `REDUCTION_DB`; called with blocks, it yields blocks.

    profile : float32 [n, channels], the noise alone
    rate_hz : int
    layout : str, FFmpeg's name of the channel layout
    """

    profile: FloatArray
    rate_hz: int
    layout: str

    def __call__(self, blocks: Iterable[FloatArray]) -> Iterator[FloatArray]:
        """Filter float32 [k, channels] blocks; total length and timing are kept."""
        lead = round(_PROFILE_S * self.rate_hz)
        delay = int(_FILTER_DELAY_S * self.rate_hz)
        level_db = np.clip(10 * np.log10(np.mean(self.profile**2)) + 1, -80, -20)
        filters = [
            ("asendcmd", "c='0.1 afftdn sn start;0.9 afftdn sn stop'"),
            ("afftdn", f"nr={REDUCTION_DB}:nf={level_db:.1f}"),
        ]
        to_skip = lead + delay
        padded = self._padded(blocks, lead, delay)
        for block in filter_blocks(padded, self.rate_hz, self.layout, filters):
            skip = min(to_skip, len(block))
            to_skip -= skip
            if skip < len(block):
                yield block[skip:]

    def _padded(self, blocks: Iterable[FloatArray], lead: int, delay: int) -> Iterator[FloatArray]:
        """The noise profile, the blocks, and zeros that flush the filter's delay."""
        repeats = -(-lead // len(self.profile))
        noise = np.tile(self.profile, (repeats, 1))[:lead]
        for start in range(0, lead, 1000):  # commands take effect between blocks only
            yield noise[start : start + 1000]
        yield from blocks
        yield np.zeros((delay, self.profile.shape[1]), np.float32)


def fit_denoiser(source: AudioFile) -> tuple[Denoiser | None, str]:
    """A `Denoiser` for a recording, or None where it has no measurable noise, and a note on it."""
    step = round(_STEP_S * source.rate_hz)
    recent: deque[tuple[float, FloatArray]] = deque(maxlen=_STEPS)
    powers = []
    quietest, lowest = None, np.inf
    for piece in _rechunk(source.blocks(), step):
        power = float(np.mean(piece**2))
        powers.append(power)
        recent.append((power, piece))
        mean = sum(p for p, _ in recent) / len(recent)
        # Digital silence contains no noise to measure.
        noisy = len(recent) == _STEPS and min(p for p, _ in recent) > _DIGITAL_SILENCE
        if noisy and mean < lowest:
            lowest, quietest = mean, np.concatenate([b for _, b in recent])
    if quietest is None or 10 * np.log10(lowest) < _MIN_NOISE_DB:
        return None, "no noise to reduce"
    voice = float(np.percentile(powers, 90))
    if lowest > voice / 10 ** (_MIN_PAUSE_DEPTH_DB / 10):
        return None, "noise not reduced: the recording has no pause to measure it in"
    note = f"steady noise ({10 * np.log10(lowest):.0f} dBFS) reduced by {REDUCTION_DB:.0f} dB"
    return Denoiser(quietest, source.rate_hz, source.layout), note


def _rechunk(blocks: Iterable[FloatArray], size: int) -> Iterator[FloatArray]:
    """Blocks of any length to blocks of `size`; an incomplete last one is dropped."""
    buffer = None
    for block in blocks:
        buffer = block if buffer is None else np.concatenate([buffer, block])
        while len(buffer) >= size:
            yield buffer[:size]
            buffer = buffer[size:]
