"""Training windows: the basis of mouth shapes, speakers' amplitudes, augmented random batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from heygem.audio.features import BANDS
from heygem.core.types import FloatArray
from heygem.face.topology import LOWER
from heygem.lips.features import FEATURE_DIM, silent_features
from heygem.lips.inference import STEPS
from heygem.lips.trajectory import RATE_HZ, aperture_direction
from heygem.training import augment
from heygem.training.clip import Clip
from heygem.training.coefficients import point_weights
from heygem.training.embeddings import noise_embeddings

STRETCH = 0.17  # speech rates between e^-0.17 and e^0.17 of the real one (16 % slower, 19 % faster)
MARGIN_ROWS = 10  # a window may begin before the clip and end after it, to train its ends too
SILENT_PROBABILITY = 0.05  # windows of silence or bare noise, mouth at rest
NO_SPECTRA_PROBABILITY = 0.3  # or the network would rely on known voices
NO_PHONES_PROBABILITY = 0.15  # spectra, and embedding, as a recogniser may fail
NO_EMBEDDING_PROBABILITY = 0.1
SCALE_LIMITS = (0.4, 2.5)  # of a speaker's amplitude over the median speaker's


@dataclass(frozen=True)
class Basis:
    """Principal components of the lower face's displacement.

    Attributes
    ----------
    shapes : float32 [K, len(LOWER), 3]
        Displacement for a coefficient of 1, which is one standard deviation.
    project : float32 [len(LOWER) * 3, K]
        Displacements to coefficients.
    spread : float32 [K]
        Standard deviations before scaling, largest first.
    explained : float
        Share of the weighted variance that the components explain.
    """

    shapes: FloatArray
    project: FloatArray
    spread: FloatArray
    explained: float

    @property
    def aperture(self) -> FloatArray:
        """Coefficients to change of the lip aperture : float [K]."""
        return aperture_direction(self.shapes)


def fit_basis(clips: Sequence[Clip], count: int) -> Basis:
    """Fit `count` weighted principal components to all valid frames of `clips`."""
    weights = point_weights()
    rows = [c.displacement[c.valid][::2].reshape(-1, len(weights)) for c in clips]
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


def speaker_scales(clips: Sequence[Clip]) -> tuple[dict[str, float], float]:
    """Each speaker's amplitude in speech over the median speaker's, and that median.

    Returns
    -------
    (dict of str to float, float)
        Scales within `SCALE_LIMITS`; the median standard deviation of the lip aperture, in IOD.
        Speakers with less than a second of speech have no scale.
    """
    spread: dict[str, list[float]] = {}
    for clip in clips:
        if clip.speaking.sum() >= RATE_HZ:
            spread.setdefault(clip.source.speaker, []).append(clip.aperture[clip.speaking].std())
    mean = {who: float(np.mean(values)) for who, values in spread.items()}
    median = float(np.median(list(mean.values()))) if mean else 1.0
    scales = {who: float(np.clip(v / median, *SCALE_LIMITS)) for who, v in mean.items()}
    return scales, median


@dataclass(frozen=True)
class _ClipTensors:
    """A clip as the network reads it.

    power [2 N, 80], phones [2 N, 40], versions of the speech embedding [V, 2 N, 64 or 0],
    target [N, K], valid [N]
    """

    power: Tensor
    phones: Tensor
    embeddings: Tensor
    target: Tensor
    valid: Tensor


class TrainingWindows:
    """Random windows of some clips, augmented.

    Parameters
    ----------
    clips : sequence of Clip
    basis : Basis
    scales : mapping of str to float
        From `speaker_scales`; each speaker's motion is divided by theirs.
    rows : int
        Length of a window, at 50 Hz.
    embedding : str, optional
        Projection of the speech embedding in the clips' features; None: none.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        basis: Basis,
        scales: Mapping[str, float],
        *,
        rows: int,
        embedding: str | None = None,
    ) -> None:
        self.rows = rows
        silence = torch.from_numpy(silent_features(embedding=embedding))
        self._silent_phones = silence[BANDS:FEATURE_DIM]
        self._silent_embedding = silence[FEATURE_DIM:]
        noise = np.zeros((1, 0), np.float32) if embedding is None else noise_embeddings(embedding)
        self._noise_embeddings = torch.from_numpy(noise)
        self.tensors = []
        seconds: dict[str, float] = {}
        for clip in clips:
            speaker = clip.source.speaker
            flat = clip.displacement.reshape(len(clip.displacement), -1)
            flat = flat / scales.get(speaker, 1.0)
            self.tensors.append(
                _ClipTensors(
                    augment.to_power(torch.from_numpy(clip.features[:, :BANDS])),
                    torch.from_numpy(clip.features[:, BANDS:FEATURE_DIM]),
                    _embeddings(clip),
                    torch.from_numpy(flat @ basis.project),
                    torch.from_numpy(clip.valid),
                )
            )
            seconds[speaker] = seconds.get(speaker, 0.0) + clip.duration_s
        # Between clips and speakers: one with nine times the footage is drawn three times as often.
        share = np.array(
            [c.duration_s / max(seconds[c.source.speaker], 1e-9) ** 0.5 for c in clips]
        )
        self._share = share / share.sum()

    def batch(
        self, count: int, seed: int | Sequence[int], device: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw `count` windows, the same ones for the same `seed`.

        Returns
        -------
        features : float [count, 2 rows, inputs]
        target : float [count, rows, K]
        valid : bool [count, rows]
        """
        rng = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        windows = [self._draw(i, rng) for i in rng.choice(len(self.tensors), count, p=self._share)]
        power, phones, embedding, target, valid, babble = (
            torch.stack(column).to(device) for column in zip(*windows, strict=True)
        )
        change = augment.Augment(generator)
        power = change(power, babble)

        def mask(probability: float) -> Tensor:
            return (torch.rand(count, 1, 1, generator=generator) < probability).to(device)

        silent = mask(SILENT_PROBABILITY)
        noisy = mask(0.8)
        power = torch.where(silent, change.noise(power) * noisy, power)
        phones = torch.where(silent, self._silent_phones.to(device), phones)
        rest = torch.where(
            noisy,
            self._noise_embeddings[
                torch.randint(len(self._noise_embeddings), (count, 1), generator=generator)
            ].to(device),
            self._silent_embedding.to(device),
        )
        embedding = torch.where(silent, rest, embedding)
        target = torch.where(silent, torch.zeros_like(target), target)
        no_spectra = mask(NO_SPECTRA_PROBABILITY) & ~silent
        power = torch.where(no_spectra, torch.full_like(power, 1e-4), power)
        no_phones = mask(NO_PHONES_PROBABILITY) & ~no_spectra
        phones = torch.where(no_phones, torch.zeros_like(phones), phones)
        no_embedding = mask(NO_EMBEDDING_PROBABILITY) & ~no_spectra
        embedding = torch.where(no_embedding, torch.zeros_like(embedding), embedding)
        features = torch.cat([augment.to_log(power), phones, embedding], -1)
        return features, target, valid | silent[:, 0]

    def _draw(self, index: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """One window of a clip at a random rate.

        Power, phones, embedding, target, valid, and babble.
        """
        clip = self.tensors[index]
        rate = float(np.exp(rng.uniform(-STRETCH, STRETCH)))
        latest = max(len(clip.target) - self.rows * rate + MARGIN_ROWS, 1 - MARGIN_ROWS)
        start = rng.uniform(-MARGIN_ROWS, latest)
        at = start + torch.arange(self.rows) * rate
        fine = STEPS * start + torch.arange(STEPS * self.rows) * rate
        inside = (at >= 0) & (at < len(clip.target) - 1)
        other = self.tensors[rng.integers(len(self.tensors))].power
        skip = int(rng.integers(max(1, len(other) - STEPS * self.rows)))
        babble = other[skip : skip + STEPS * self.rows]
        missing = STEPS * self.rows - len(babble)
        return (
            _sample(clip.power, fine),
            _sample(clip.phones, fine),
            _sample(clip.embeddings[int(rng.integers(len(clip.embeddings)))], fine),
            _sample(clip.target, at),
            clip.valid[at.long().clamp(0, len(clip.valid) - 1)] & inside,
            torch.nn.functional.pad(babble, (0, 0, 0, missing)),
        )


def _embeddings(clip: Clip) -> Tensor:
    """The speech embedding of a clip's sound as it is and augmented : float [V, 2 N, 64 or 0]."""
    plain = torch.from_numpy(clip.features[None, :, FEATURE_DIM:])
    if clip.augmented_embeddings is None:
        return plain
    return torch.cat([plain, torch.from_numpy(clip.augmented_embeddings).float()])


def _sample(values: Tensor, at: Tensor) -> Tensor:
    """Rows of `values [T, ...]` at fractional positions, constant beyond the ends."""
    at = at.clamp(0, len(values) - 1.001)
    low = at.long()
    part = (at - low)[:, None]
    return values[low] * (1 - part) + values[low + 1] * part
