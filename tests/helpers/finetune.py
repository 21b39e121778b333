"""Generated speakers whose articulation is a known change of the base model's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heygem.finetune.settings import FinetuneSettings
from heygem.training.clip import Clip, Source

QUICK = FinetuneSettings(cv_folds=4)


@dataclass(frozen=True)
class Utterance:
    """Features of speech, and the base model's coefficients for it."""

    features: np.ndarray
    coefficients: np.ndarray


def speaker(base, utterances, change=None, *, noise=0.0):
    """Clips of a speaker whose mouth is `change` applied to the base's coefficients, plus noise."""
    rng = np.random.default_rng(3)
    clips = []
    for i, utterance in enumerate(utterances):
        coefficients = utterance.coefficients
        moved = coefficients if change is None else coefficients @ change
        moved = moved + noise * rng.normal(size=coefficients.shape).astype(np.float32)
        displacement = np.einsum("tk,knd->tnd", moved, base.basis).astype(np.float32)
        clips.append(
            Clip(
                Source(Path(f"clip{i}.mp4"), "somebody"),
                f"{i}" * 64,
                features=utterance.features,
                voice=np.ones(len(utterance.features), np.float32),
                displacement=displacement,
                valid=np.ones(len(displacement), bool),
            )
        )
    return clips


def unlike(base):
    """A map of the coefficients far from the identity: the speaker rounds where others open."""
    rng = np.random.default_rng(6)  # a turn after which the base predicts with 0.6
    turn, _ = np.linalg.qr(rng.normal(size=(len(base.basis),) * 2))
    return 2.6 * (0.3 * np.eye(len(base.basis)) + 0.7 * turn).astype(np.float32)
