"""What the base and the fine-tuned model are compared on: folds of the footage.

Each fold is judged by a fit, and by a lag, that the other folds gave.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from heygem.core.types import BoolArray, FloatArray
from heygem.finetune.ridge import Folds
from heygem.lips.trajectory import RATE_HZ, Trajectory
from heygem.training import metrics
from heygem.training.clip import Clip
from heygem.training.sync import check_sync


@dataclass(frozen=True)
class JudgedPart:
    """What of a clip is judged in one fold: the lip aperture, real and predicted, float32 [N]."""

    fold: int
    real: FloatArray
    before: FloatArray
    after: FloatArray
    valid: BoolArray


def judged_parts(
    clips: Sequence[Clip],
    base: Sequence[Trajectory],
    curves: Sequence[dict[str, Any]],
    folds: Folds,
    fold: int,
) -> list[JudgedPart]:
    """Every clip's rows in a fold, in sync by what the other folds say of its lag.

    The clips are in sync by all of their rows, those of the fold among them. A lag that only the
    fold itself would correct must not flatter it. `base` : what the base predicts for each clip.
    """
    others = []
    for i, clip in enumerate(clips):
        elsewhere = np.array([e is not None and fold not in e for e in folds.excluded_by(i)])
        others.append(replace(clip, valid=clip.valid & elsewhere))
    checks = check_sync(others, base)
    parts = []
    for i, (clip, curve, check) in enumerate(zip(clips, curves, checks, strict=True)):
        shifted = clip.shifted(check.correction_s)
        valid = (folds.index[i] == fold) & shifted.valid
        parts.append(JudgedPart(fold, shifted.aperture, curve["before"], curve["after"], valid))
    return parts


def is_improvement(judged: Sequence[JudgedPart], least: float) -> bool:
    """Whether the fit is better than the base: by `least` of correlation, and not by chance."""
    before, after = (
        metrics.agreement([(getattr(p, key), p.real, p.valid) for p in judged])
        for key in ("before", "after")
    )
    return after.correlation - before.correlation >= least and is_significant(judged)


def agreement_before_and_after(
    judged: Sequence[JudgedPart], least: float
) -> tuple[metrics.Agreement, metrics.Agreement]:
    """Agreement of the base, and of fit or base as the other folds would choose for each fold."""
    before = [(part.before, part.real, part.valid) for part in judged]
    after = []
    for fold in sorted({part.fold for part in judged}):
        chosen = is_improvement([part for part in judged if part.fold != fold], least)
        for part in judged:
            if part.fold == fold:
                curve = part.after if chosen else part.before
                after.append((curve, part.real, part.valid))
    return metrics.agreement(before), metrics.agreement(after)


def is_significant(judged: Sequence[JudgedPart]) -> bool:
    """Whether the mean improvement of the correlation over folds exceeds its standard error."""
    improvements = []
    for fold in sorted({part.fold for part in judged}):
        parts = [part for part in judged if part.fold == fold]
        real, before, after = (
            np.concatenate([getattr(part, key)[part.valid] for part in parts])
            for key in ("real", "before", "after")
        )
        if len(real) < RATE_HZ or min(c.std() for c in (real, before, after)) < 1e-9:
            continue
        improvements.append(np.corrcoef(after, real)[0, 1] - np.corrcoef(before, real)[0, 1])
    if len(improvements) < 2:
        return False
    error = np.std(improvements, ddof=1) / np.sqrt(len(improvements))
    return bool(np.mean(improvements) > error)


def held_out_ranges(folds: Folds) -> list[dict[str, Any]]:
    """Where each fold lies."""
    ranges = []
    for clip, index in enumerate(folds.index):
        for fold in range(folds.count):
            rows = np.flatnonzero(index == fold)
            if len(rows):
                start_s, end_s = rows[0] / RATE_HZ, (rows[-1] + 1) / RATE_HZ
                ranges.append({"part": fold, "clip": clip, "start_s": start_s, "end_s": end_s})
    return ranges
