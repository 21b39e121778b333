"""What rooms, microphones and other throats do to speech, done to mel spectra.

Everything works on power spectra in mel bands, in batches, on the training device: it costs
nothing beside the network, so every window is heard differently every time. Vocal-tract length
perturbation after Jaitly and Hinton (ICML workshop 2013).
"""

import math

import torch
from torch.nn import functional

from heygem import audio
from heygem.audio.features import HIGHEST_HZ, LOWEST_HZ

FLOOR = 1e-5  # of the logarithm in `heygem.audio.features.log_mel`


def to_power(log_mel):
    """Undo the logarithm of `heygem.audio.features.log_mel`."""
    return (torch.exp(log_mel * 3 - 6) - FLOOR).clamp(min=0)


def to_log(power):
    """The logarithm of `heygem.audio.features.log_mel`."""
    return (torch.log(power + FLOOR) + 6) / 3


class Augment:
    """Random changes of a batch of mel power spectra.

    Parameters
    ----------
    generator : torch.Generator
        On the CPU; the same seed gives the same changes.
    """

    def __init__(self, generator):
        self._generator = generator

    def _uniform(self, *shape, like):
        return torch.rand(*shape, generator=self._generator).to(like.device)

    def _normal(self, *shape, like):
        return torch.randn(*shape, generator=self._generator).to(like.device)

    def _some(self, share, like):
        """Which examples, as a mask [B, 1, 1]."""
        return self._uniform(len(like), 1, 1, like=like) < share

    def __call__(self, power, babble):
        """Change a batch.

        Parameters
        ----------
        power : float [B, T, 80]
        babble : float [B, T, 80]
            Other people's speech, to be mixed under it.

        Returns
        -------
        float [B, T, 80]
        """
        power = self.throat(power)
        power = self.room(power)
        power = self.colour(power)
        power = self.disturb(power, babble)
        # +-7 dB: what is left of level after the voice was normalised.
        return power * torch.exp(0.8 * self._normal(len(power), 1, 1, like=power))

    def throat(self, power, *, most=0.16):
        """Shorter and longer vocal tracts: the frequency axis stretched by up to `most`."""
        mel_low, mel_high = (_mel(hz) for hz in (LOWEST_HZ, HIGHEST_HZ))
        centres = torch.linspace(mel_low, mel_high, audio.BANDS + 2, device=power.device)[1:-1]
        alpha = torch.exp((self._uniform(len(power), 1, like=power) * 2 - 1) * most)
        hz = 700 * torch.expm1(centres / 1127) * alpha  # [B, 80]
        at = (1127 * torch.log1p(hz / 700) - mel_low) / (mel_high - mel_low) * (audio.BANDS + 1) - 1
        at = at.clamp(0, audio.BANDS - 1.001)
        low = at.long()
        part = (at - low)[:, None]
        low = low[:, None].expand(-1, power.shape[1], -1)
        log = torch.log(power + 1e-7)
        return torch.exp(log.gather(2, low) * (1 - part) + log.gather(2, low + 1) * part)

    def room(self, power, *, share=0.35, longest=60):
        """Reverberation: an exponential tail of 30 to 280 ms behind the sound."""
        count = len(power)
        tau = 3 + 25 * self._uniform(count, 1, like=power)  # [10 ms]
        steps = torch.arange(longest, device=power.device)[None]
        tail = torch.exp(-steps / tau) * (steps > 0)
        tail = tail / tail.sum(1, keepdim=True) * 0.8 * self._uniform(count, 1, like=power)
        by_example = power.permute(2, 0, 1)  # [80, B, T]
        padded = functional.pad(by_example, (longest - 1, 0))
        late = functional.conv1d(padded, tail.flip(1)[:, None], groups=count)
        return power + self._some(share, power) * late.permute(1, 2, 0)

    def _curve(self, count, spread, terms, like):
        """Smooth random curves over the bands, in nepers : float [count, 80]."""
        x = torch.linspace(0, 1, audio.BANDS, device=like.device)[None]
        total = torch.zeros(count, audio.BANDS, device=like.device)
        for k in range(1, terms + 1):
            phase = 0 if k == 1 else 2 * math.pi * self._uniform(count, 1, like=like)
            size = spread * self._normal(count, 1, like=like) / (1 + 0.5 * k)
            total = total + size * torch.cos(math.pi * k * x + phase)
        return total

    def colour(self, power, *, spread=0.7):
        """Microphones and equalisers: a smooth gain over frequency."""
        return power * torch.exp(self._curve(len(power), spread, 4, power))[:, None]

    def disturb(self, power, babble, *, voices=0.35, noise=0.5, dull=0.2):
        """Other voices, steady noise, and channels that carry no treble."""
        count = len(power)
        level = torch.exp(-(5.5 * self._uniform(count, 1, 1, like=power) + 1.2))  # -5..-29 dB
        power = power + self._some(voices, power) * level * babble
        loudness = power.mean((1, 2), keepdim=True)
        power = power + self._some(noise, power) * self.noise(power) * loudness * 3
        cut = (50 + 40 * self._uniform(count, 1, 1, like=power)).long()  # from 2.9 kHz on
        bands = torch.arange(audio.BANDS, device=power.device)
        return torch.where(self._some(dull, power) & (bands > cut), power * 1e-3, power)

    def noise(self, like, *, quietest=6.0):
        """Steady coloured noise, power relative to 1, 10 dB and more below it : as `like`."""
        count = len(like)
        level = torch.exp(-2.3 * (1 + (quietest - 1) * self._uniform(count, 1, 1, like=like)))
        eq = torch.exp(self._curve(count, 1.8, 3, like))[:, None]
        grain = 0.5 - 0.5 * torch.log(self._uniform(*like.shape, like=like) + 1e-6)
        return eq * level * grain


def _mel(hz):
    return 1127 * math.log1p(hz / 700)
