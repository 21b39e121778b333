"""Windows of speech and movement, as the network learns from them."""

from dataclasses import dataclass

import numpy as np
import torch

from heygem.audio.features import BANDS
from heygem.face import topology as topo
from heygem.face.topology import LOWER, LOWER_WEIGHT
from heygem.lips.features import silent_features
from heygem.lips.trajectory import RATE_HZ, aperture_direction
from heygem.training import augment

STEPS = 2  # spectra per row of movement
STRETCH = 0.17  # speech rates between e^-0.17 and e^0.17 of the real one (16 % slower, 19 % faster)
SILENT_SHARE = 0.05  # windows of silence or bare noise, mouth at rest
NO_SPECTRA_SHARE = 0.3  # windows heard as phones alone, or the network would lean on voices
NO_PHONES_SHARE = 0.15  # windows without phones, as a recogniser may fail
SCALE_LIMITS = (0.4, 2.5)  # how differently wide people may open their mouths


@dataclass(frozen=True)
class Basis:
    """Principal components of the lower face's displacements.

    Attributes
    ----------
    shapes : float32 [K, len(LOWER), 3]
        Displacement for a coefficient of 1, which is one standard deviation.
    project : float32 [len(LOWER) * 3, K]
        Displacements to coefficients.
    spread : float32 [K]
        Standard deviations before scaling, largest first: how much each one matters.
    explained : float
        Share of the weighted variance that the components hold.
    """

    shapes: np.ndarray
    project: np.ndarray
    spread: np.ndarray
    explained: float

    @property
    def aperture(self):
        return aperture_direction(self.shapes)


def point_weights():
    """How much each coordinate matters : float32 [len(LOWER) * 3].

    Depth is guessed by a mesh model rather than seen, so it weighs less; lips weigh more.
    """
    weights = np.repeat(LOWER_WEIGHT[:, None], 3, 1) * np.array([1, 1, 0.4])
    for ring, more in ((topo.LIPS_INNER, 1.7), (topo.LIPS_OUTER, 1.3)):
        weights[np.isin(LOWER, ring)] *= more
    return weights.reshape(-1).astype(np.float32)


def fit_basis(clips, count):
    """Principal components over all frames of `clips` : Basis."""
    weights = point_weights()
    rows = [c.moved[c.valid][::2].reshape(-1, len(weights)) for c in clips]
    weighted = np.concatenate(rows).astype(np.float64) * weights
    values, vectors = np.linalg.eigh(weighted.T @ weighted)
    vectors = vectors[:, ::-1][:, :count]  # [points, K]
    spread = (weighted @ vectors).std(0)
    shapes = (vectors.T / weights * spread[:, None]).reshape(count, len(LOWER), 3)
    return Basis(
        shapes.astype(np.float32),
        (weights[:, None] * vectors / spread).astype(np.float32),
        spread.astype(np.float32),
        float(values[::-1][:count].sum() / values.sum()),
    )


def speaker_scales(clips):
    """How far each speaker opens the mouth, over the median speaker : (dict, median std)."""
    spread = {}
    for clip in clips:
        spoken = clip.speaking
        if spoken.sum() >= RATE_HZ:
            spread.setdefault(clip.source.speaker, []).append(clip.aperture[spoken].std())
    mean = {who: float(np.mean(values)) for who, values in spread.items()}
    middle = float(np.median(list(mean.values()))) if mean else 1.0
    scales = {who: float(np.clip(v / middle, *SCALE_LIMITS)) for who, v in mean.items()}
    return scales, middle


class TrainingWindows:
    """Random windows of some clips, augmented.

    Parameters
    ----------
    clips : list of Clip
    basis : Basis
    scales : dict of str to float
        From `personal_scales`; movements are divided by their speaker's.
    rows : int
        Length of a window, at 50 Hz.
    encoder : heygem.audio.encoder.SpeechEncoder, optional
        Those that `heard` of the clips comes from, too.
    """

    def __init__(self, clips, basis, scales, *, rows, encoder=None):
        self.rows = rows
        self._quiet = torch.from_numpy(silent_features(encoder)[BANDS:])
        self._items = []
        seconds = {}
        for clip in clips:
            who = clip.source.speaker
            flat = clip.moved.reshape(len(clip.moved), -1) / scales.get(who, 1.0)
            self._items.append(
                (
                    augment.to_power(torch.from_numpy(clip.heard[:, :BANDS])),
                    torch.from_numpy(clip.heard[:, BANDS:]),
                    torch.from_numpy(flat @ basis.project),
                    torch.from_numpy(clip.valid),
                )
            )
            seconds[who] = seconds.get(who, 0.0) + clip.duration_s
        # Between clips and speakers: somebody with nine times the footage is heard thrice as often.
        share = np.array(
            [c.duration_s / max(seconds[c.source.speaker], 1e-9) ** 0.5 for c in clips]
        )
        self._share = share / share.sum()

    def batch(self, count, seed, device):
        """`count` windows, the same ones for the same `seed`.

        Returns
        -------
        heard : float [count, 2 rows, inputs]
        wanted : float [count, rows, K]
        valid : bool [count, rows]
        """
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        heard, named, wanted, valid, others = [], [], [], [], []
        for i in rng.choice(len(self._items), count, p=self._share):
            power, sounds, target, there = self._items[i]
            rate = float(np.exp(rng.uniform(-STRETCH, STRETCH)))
            # A window may begin before the clip and end after it, so that its ends are learnt too.
            start = rng.uniform(-10, max(len(target) - self.rows * rate + 10, -9))
            at = start + torch.arange(self.rows) * rate
            fine = STEPS * start + torch.arange(STEPS * self.rows) * rate
            heard.append(_sample(power, fine))
            named.append(_sample(sounds, fine))
            wanted.append(_sample(target, at))
            inside = (at >= 0) & (at < len(target) - 1)
            valid.append(there[at.long().clamp(0, len(there) - 1)] & inside)
            other = self._items[rng.integers(len(self._items))][0]
            skip = int(rng.integers(max(1, len(other) - STEPS * self.rows)))
            piece = other[skip : skip + STEPS * self.rows]
            missing = STEPS * self.rows - len(piece)
            others.append(torch.nn.functional.pad(piece, (0, 0, 0, missing)))
        power, named = torch.stack(heard).to(device), torch.stack(named).to(device)
        wanted, valid = torch.stack(wanted).to(device), torch.stack(valid).to(device)
        change = augment.Augment(generator)
        power = change(power, torch.stack(others).to(device))

        def some(share):
            return (torch.rand(count, 1, 1, generator=generator) < share).to(device)

        silent = some(SILENT_SHARE)
        power = torch.where(silent, change.noise(power) * some(0.8), power)
        named = torch.where(silent, self._quiet.to(device), named)
        wanted = torch.where(silent, torch.zeros_like(wanted), wanted)
        unseen = some(NO_SPECTRA_SHARE) & ~silent
        power = torch.where(unseen, torch.full_like(power, 1e-4), power)
        named = torch.where(some(NO_PHONES_SHARE) & ~unseen, torch.zeros_like(named), named)
        log_mel = augment.to_log(power)
        return torch.cat([log_mel, named], -1), wanted, valid | silent[:, 0]


def _sample(values, at):
    """Rows of `values [T, ...]` at fractional positions, held at the ends."""
    at = at.clamp(0, len(values) - 1.001)
    low = at.long()
    part = (at - low)[:, None]
    return values[low] * (1 - part) + values[low + 1] * part
