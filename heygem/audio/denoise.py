"""Steady noise taken off a voice, with the noise learnt from the recording's own quietest moment.

FFmpeg's ``afftdn`` subtracts a noise spectrum. Left to itself it guesses a white one, which takes
2 dB off a fan; shown a stretch of the real noise first, it takes off the full 12 dB and raises
the signal-to-noise ratio of speech by 4 to 6 dB (white and pink noise, 12 to 22 dB below speech).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from heygem.media.audio_io import filtered

REDUCTION_DB = 12.0  # more begins to sound of water
_LEARN_S = 1.0  # of noise played to the filter before the recording
_DELAY_S = 0.025  # afftdn gives its output this much later
_STEP_S, _STEPS = 0.05, 8  # the quietest 0.4 s are looked for
_NOTHING_DB = -80.0  # quieter than this there is no noise to speak of
_PAUSE_DB = 10.0  # a pause is at least this much below the voice


@dataclass(frozen=True)
class Denoiser:
    """Takes `REDUCTION_DB` off the noise it learnt; call it with blocks, get blocks.

    profile : float32 [n, channels], the noise alone
    """

    profile: np.ndarray
    rate_hz: int
    layout: str

    def __call__(self, blocks) -> Iterator[np.ndarray]:
        """float32 [k, channels] blocks in, the same length and time out."""
        lead = round(_LEARN_S * self.rate_hz)
        delay = int(_DELAY_S * self.rate_hz)
        level_db = np.clip(10 * np.log10(np.mean(self.profile**2)) + 1, -80, -20)
        filters = [
            ("asendcmd", "c='0.1 afftdn sn start;0.9 afftdn sn stop'"),
            ("afftdn", f"nr={REDUCTION_DB}:nf={level_db:.1f}"),
        ]
        cut = lead + delay
        for block in filtered(
            self._framed(blocks, lead, delay), self.rate_hz, self.layout, filters
        ):
            skip = min(cut, len(block))
            cut -= skip
            if skip < len(block):
                yield block[skip:]

    def _framed(self, blocks, lead, delay):
        repeats = -(-lead // len(self.profile))
        noise = np.tile(self.profile, (repeats, 1))[:lead]
        for start in range(0, lead, 1000):  # commands take effect between blocks only
            yield noise[start : start + 1000]
        yield from blocks
        yield np.zeros((delay, self.profile.shape[1]), np.float32)


def learn(source) -> tuple[Denoiser | None, str]:
    """A `Denoiser` for a recording, or None, and what to say about it.

    Parameters
    ----------
    source : AudioFile
    """
    step = round(_STEP_S * source.rate_hz)
    recent, powers = deque(maxlen=_STEPS), []
    quietest, lowest = None, np.inf
    for piece in _pieces(source.blocks(), step):
        power = float(np.mean(piece**2))
        powers.append(power)
        recent.append((power, piece))
        mean = sum(p for p, _ in recent) / len(recent)
        # Digital silence is no noise: it is skipped, not taken for the quietest moment.
        if len(recent) == _STEPS and min(p for p, _ in recent) > 1e-10 and mean < lowest:
            lowest, quietest = mean, np.concatenate([b for _, b in recent])
    if quietest is None or 10 * np.log10(lowest) < _NOTHING_DB:
        return None, "no noise to take off"
    voice = float(np.percentile(powers, 90))
    if lowest > voice / 10 ** (_PAUSE_DB / 10):
        return None, "noise left as it is: the recording has no pause to learn it from"
    note = f"steady noise ({10 * np.log10(lowest):.0f} dBFS) reduced by {REDUCTION_DB:.0f} dB"
    return Denoiser(quietest, source.rate_hz, source.layout), note


def _pieces(blocks, size):
    """Blocks of any length to blocks of ``size``; the rest at the end is left out."""
    held = None
    for block in blocks:
        held = block if held is None else np.concatenate([held, block])
        while len(held) >= size:
            yield held[:size]
            held = held[size:]
