"""Augmentation of mel power spectra: vocal tract length, reverberation, equalisation, noise.

Everything works on batches of spectra on the training device and costs little beside the network,
so that a window is never the same twice. Vocal tract length perturbation (VTLP) after Jaitly and
Hinton (ICML workshop 2013).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from heygem import audio
from heygem.audio.features import HIGHEST_HZ, LOWEST_HZ

FLOOR = 1e-5  # of the logarithm in `heygem.audio.features.log_mel`


def to_power(log_mel: Tensor) -> Tensor:
    """Undo the logarithm of `heygem.audio.features.log_mel`."""
    return (torch.exp(log_mel * 3 - 6) - FLOOR).clamp(min=0)


def to_log(power: Tensor) -> Tensor:
    """Apply the logarithm of `heygem.audio.features.log_mel`."""
    return (torch.log(power + FLOOR) + 6) / 3


class Augment:
    """Random changes of a batch of mel power spectra, float [B, T, 80].

    Parameters
    ----------
    generator : torch.Generator
        On the CPU; the same seed gives the same changes.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def __call__(self, power: Tensor, babble: Tensor) -> Tensor:
        """Apply every augmentation to a batch.

        Parameters
        ----------
        power : float [B, T, 80]
        babble : float [B, T, 80]
            Speech of other clips, mixed under some windows.

        Returns
        -------
        float [B, T, 80]
        """
        power = self.vtlp(power)
        power = self.reverb(power)
        power = self.eq(power)
        power = self.degrade(power, babble)
        # +-7 dB: the differences in level that remain after `audio.load` has set the voice's level.
        return power * torch.exp(0.8 * self._normal(len(power), 1, 1, like=power))

    def vtlp(self, power: Tensor, *, max_stretch: float = 0.16) -> Tensor:
        """Stretch the frequency axis by e^-max_stretch to e^max_stretch: another vocal tract."""
        mel_low, mel_high = (_mel(hz) for hz in (LOWEST_HZ, HIGHEST_HZ))
        centres = torch.linspace(mel_low, mel_high, audio.BANDS + 2, device=power.device)[1:-1]
        alpha = torch.exp((self._uniform(len(power), 1, like=power) * 2 - 1) * max_stretch)
        hz = 700 * torch.expm1(centres / 1127) * alpha  # [B, 80]
        # The band, as a fraction, that each band takes its power from.
        at = (1127 * torch.log1p(hz / 700) - mel_low) / (mel_high - mel_low) * (audio.BANDS + 1) - 1
        at = at.clamp(0, audio.BANDS - 1.001)
        low = at.long()
        part = (at - low)[:, None]
        low = low[:, None].expand(-1, power.shape[1], -1)
        log = torch.log(power + 1e-7)
        return torch.exp(log.gather(2, low) * (1 - part) + log.gather(2, low + 1) * part)

    def reverb(self, power: Tensor, *, probability: float = 0.35, max_steps: int = 60) -> Tensor:
        """Add an exponential tail with a time constant of 30 to 280 ms, cut at `max_steps`."""
        count = len(power)
        tau = 3 + 25 * self._uniform(count, 1, like=power)  # [10 ms]
        steps = torch.arange(max_steps, device=power.device)[None]
        tail = torch.exp(-steps / tau) * (steps > 0)
        tail = tail / tail.sum(1, keepdim=True) * 0.8 * self._uniform(count, 1, like=power)
        by_window = power.permute(2, 0, 1)  # [80, B, T]
        padded = functional.pad(by_window, (max_steps - 1, 0))
        late = functional.conv1d(padded, tail.flip(1)[:, None], groups=count)
        return power + self._mask(probability, power) * late.permute(1, 2, 0)

    def eq(self, power: Tensor, *, spread: float = 0.7) -> Tensor:
        """Multiply by a smooth random gain over frequency: another microphone or equaliser."""
        return power * torch.exp(self._smooth_curve(len(power), spread, 4, power))[:, None]

    def degrade(
        self,
        power: Tensor,
        babble: Tensor,
        *,
        babble_probability: float = 0.35,
        noise_probability: float = 0.5,
        lowpass_probability: float = 0.2,
    ) -> Tensor:
        """Add other voices and steady noise, and cut the treble, each to some windows."""
        count = len(power)
        level = torch.exp(-(5.5 * self._uniform(count, 1, 1, like=power) + 1.2))  # -5..-29 dB
        power = power + self._mask(babble_probability, power) * level * babble
        loudness = power.mean((1, 2), keepdim=True)
        power = power + self._mask(noise_probability, power) * self.noise(power) * loudness * 3
        cut = (50 + 40 * self._uniform(count, 1, 1, like=power)).long()  # from 2.9 kHz on
        bands = torch.arange(audio.BANDS, device=power.device)
        treble = self._mask(lowpass_probability, power) & (bands > cut)
        return torch.where(treble, power * 1e-3, power)

    def noise(self, like: Tensor, *, lowest_level: float = 6.0) -> Tensor:
        """Steady coloured noise in the shape of `like`; power 10 to 60 dB below 1."""
        count = len(like)
        level = torch.exp(-2.3 * (1 + (lowest_level - 1) * self._uniform(count, 1, 1, like=like)))
        colour = torch.exp(self._smooth_curve(count, 1.8, 3, like))[:, None]
        grain = 0.5 - 0.5 * torch.log(self._uniform(*like.shape, like=like) + 1e-6)
        return colour * level * grain

    def _smooth_curve(self, count: int, spread: float, terms: int, like: Tensor) -> Tensor:
        """Sum of a few random cosines over the bands, in nepers of power : float [count, 80]."""
        x = torch.linspace(0, 1, audio.BANDS, device=like.device)[None]
        total = torch.zeros(count, audio.BANDS, device=like.device)
        for k in range(1, terms + 1):
            phase = 0 if k == 1 else 2 * math.pi * self._uniform(count, 1, like=like)
            size = spread * self._normal(count, 1, like=like) / (1 + 0.5 * k)
            total = total + size * torch.cos(math.pi * k * x + phase)
        return total

    def _uniform(self, *shape: int, like: Tensor) -> Tensor:
        return torch.rand(*shape, generator=self._generator).to(like.device)

    def _normal(self, *shape: int, like: Tensor) -> Tensor:
        return torch.randn(*shape, generator=self._generator).to(like.device)

    def _mask(self, probability: float, like: Tensor) -> Tensor:
        """Which windows are changed : bool [B, 1, 1]."""
        return self._uniform(len(like), 1, 1, like=like) < probability


def _mel(hz: float) -> float:
    return 1127 * math.log1p(hz / 700)
