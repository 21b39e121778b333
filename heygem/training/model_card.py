"""Model card of a lips model: training data and licences, settings, quality on unseen speakers."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from heygem.core.types import FloatArray, PathLike
from heygem.core.version import commit
from heygem.lips.model import LipsModel
from heygem.lips.trajectory import RATE_HZ, Trajectory
from heygem.training import metrics
from heygem.training.clip import Clip
from heygem.training.dataset import Dataset
from heygem.training.settings import TrainSettings
from heygem.training.sync import check_sync
from heygem.training.trainer import TrainingResult

HALVES_GAP_S = 0.4  # between the seconds that give a lag and those that are judged with it

# Method ("model", "synced", a baseline's name) to speaker to agreement.
Evaluation = dict[str, dict[str, metrics.Agreement]]


def table(rows: Iterable[Sequence[object]], head: Sequence[str]) -> str:
    """A Markdown table; floats are rounded to two decimals."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [f"{v:.2f}" if isinstance(v, float) else str(v) for v in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def evaluate(model: LipsModel, clips: Sequence[Clip]) -> Evaluation:
    """Zero-shot agreement on clips of speakers not trained on, beside two baselines.

    Returns
    -------
    dict
        Method ("model", "energy-driven jaw", "shuffled audio") to speaker to Agreement; and under
        "synced" the model with each clip's lag corrected. That lag is never taken from the seconds
        that are judged: the first half of a clip gives it for the second, and the second for the
        first.
    """
    trajectories = [model.predict_features(c.features) for c in clips]
    predicted = [t.aperture()[: len(c.valid)] for t, c in zip(trajectories, clips, strict=True)]
    return {
        "model": _by_speaker(clips, predicted),
        "synced": _by_speaker(_lag_corrected(clips, trajectories), [*predicted, *predicted]),
        "energy-driven jaw": _by_speaker(clips, [_energy(c) for c in clips]),
        "shuffled audio": _by_speaker(clips, [np.roll(p, len(p) // 2) for p in predicted]),
    }


def mean_correlation(
    agreements: Mapping[str, metrics.Agreement], name: str = "correlation"
) -> float:
    """Mean over speakers of `correlation` or another field."""
    values = [getattr(a, name) for a in agreements.values() if a.seconds > 0]
    return float(np.mean(values)) if values else 0.0


def write(
    path: PathLike,
    result: TrainingResult,
    dataset: Dataset,
    *,
    evaluation: Evaluation | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write the card.

    Parameters
    ----------
    path : path
    result : TrainingResult
    dataset : Dataset
    evaluation : dict, optional
        From `evaluate`.
    notes : sequence of str
        Further sections, in Markdown.
    """
    parts = [
        *_introduction(result),
        *_sync_section(result),
        *(["## Quality", *_quality(evaluation, result.settings)] if evaluation else []),
        "## Held-out speakers of the training set",
        "Each by the one network that was not trained on the speaker: mean correlation "
        f"{mean_correlation(result.held_out):.2f} over {len(result.held_out)} speakers.",
        *notes,
        *_reproduction(result, dataset),
    ]
    Path(path).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _introduction(result: TrainingResult) -> list[str]:
    model, clips = result.model, result.clips
    minutes = sum(c.duration_s for c in clips) / 60
    speakers = {c.source.speaker for c in clips}
    excluded = ", ".join(result.settings.exclude_licences) or "none"
    return [
        "# Model card: lips",
        f"Speech ({_inputs(model)}) to the movement of the lower "
        f"face at 50 Hz, as {len(model.basis)} coefficients of mesh displacements in the canonical "
        f"face frame. The mean of {len(model.networks)} temporal convolutional networks. Its input "
        "holds no pixels. Made by `heygem train lips`; Apache-2.0.",
        "## Training data",
        f"{len(speakers)} speakers, {minutes:.1f} minutes with a face, {len(clips)} clips; "
        f"licence classes left out: {excluded}. No video, picture or sound is in the file.",
        table(_sources(clips), ["source", "class", "licence", "speakers", "minutes"]),
    ]


def _inputs(model: LipsModel) -> str:
    if model.networks[0].lookahead is not None:
        return "the speech embedding alone, with little of the sound that follows"
    if model.embedding:
        return "log-mel spectra, recognised phones and the speech embedding"
    return "log-mel spectra and recognised phones"


def _sync_section(result: TrainingResult) -> list[str]:
    lags = [abs(s.lag_s) for s in result.sync if s.verdict == "shifted"]
    dropped = ", ".join(c.source.path.name for c in result.dropped)
    return [
        "## Sync check",
        f"{len(result.clips) - len(lags)} clips used as they are, {len(lags)} shifted by their own "
        f"lag (largest {1000 * max(lags, default=0):.0f} ms), {len(result.dropped)} left out"
        + (f": {dropped}." if dropped else "."),
    ]


def _reproduction(result: TrainingResult, dataset: Dataset) -> list[str]:
    model = result.model
    return [
        "## How to reproduce it",
        "`heygem train lips DATASET` with the settings below; all random numbers depend on `seed`, "
        "the network's number and the step, so the same data and code give the same file on the "
        "same kind of machine.",
        table(
            [
                ("data sha256 (all clips)", f"`{dataset.sha256}`"),
                ("code version", f"`{commit()}`"),
                (
                    "processor time",
                    f"{result.seconds / 60:.0f} minutes with {result.device}, without tracking",
                ),
                ("typical lip aperture (std)", f"{model.opening_std:.4f} IOD"),
                ("gain", f"{float(model.gain[0]):.2f}"),
                *((k, f"`{v}`") for k, v in result.settings.model_dump().items()),
            ],
            ["what", "value"],
        ),
    ]


def _lag_corrected(clips: Sequence[Clip], predicted: Sequence[Trajectory]) -> list[Clip]:
    """First the first halves of all clips, then the second, each with the lag of its other half."""
    halves = [[_half(c, second) for c in clips] for second in (False, True)]
    checks = [check_sync(half, predicted) for half in halves]
    return [
        clip.shifted(check.correction_s)
        for half, others in zip(halves, reversed(checks), strict=True)
        for clip, check in zip(half, others, strict=True)
    ]


def _half(clip: Clip, second: bool) -> Clip:
    """A clip valid in one of its halves only; a gap between them, wider than most lags, in none."""
    rows, gap = len(clip.valid), round(HALVES_GAP_S / 2 * RATE_HZ)
    inside = np.zeros(rows, bool)
    if second:
        inside[rows // 2 + gap :] = True
    else:
        inside[: max(0, rows // 2 - gap)] = True
    return replace(clip, valid=clip.valid & inside)


def _energy(clip: Clip) -> FloatArray:
    """Loudness smoothed over 60 ms: a mouth that opens with it and nothing else."""
    loudness = clip.features[:, 5:60].mean(1)
    loudness = np.convolve(loudness, np.ones(6) / 6, "same")
    return loudness[: 2 * len(clip.valid)].reshape(-1, 2).mean(1)


def _by_speaker(
    clips: Sequence[Clip], predicted: Sequence[FloatArray]
) -> dict[str, metrics.Agreement]:
    pairs = defaultdict(list)
    for clip, curve in zip(clips, predicted, strict=True):
        pairs[clip.source.speaker].append((curve, clip.aperture, clip.valid))
    return {who: metrics.agreement(p) for who, p in sorted(pairs.items())}


def _means(
    agreements: Mapping[str, metrics.Agreement], speakers: Collection[str]
) -> tuple[float, float, float]:
    """Mean correlation, mean aligned correlation and median amplitude ratio of some speakers."""
    chosen = {who: a for who, a in agreements.items() if who in speakers and a.seconds > 0}
    ratio = float(np.median([a.ratio for a in chosen.values()])) if chosen else 0.0
    return mean_correlation(chosen), mean_correlation(chosen, "aligned"), ratio


def _sources(clips: Sequence[Clip]) -> list[tuple[object, ...]]:
    """Rows (source, licence class, licence, speakers, minutes)."""
    speakers: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    minutes: dict[tuple[str, str, str], float] = defaultdict(float)
    for clip in clips:
        s = clip.source
        key = (s.origin or "own footage", s.licence_class, s.licence)
        speakers[key].add(s.speaker)
        minutes[key] += clip.duration_s / 60
    return [
        (origin, kind, licence.replace("|", "/"), len(who), round(minutes[key], 1))
        for key, who in sorted(speakers.items())
        for origin, kind, licence in [key]
    ]


def _quality(evaluation: Evaluation, settings: TrainSettings) -> list[str]:
    speakers = set(evaluation["model"])
    reported = speakers & set(settings.report_speakers)
    groups = {"report": reported, "choose": speakers - reported} if reported else {"": speakers}
    means = [
        (f"{name}, {group} speakers" if group else name, *_means(evaluation[key], members))
        for group, members in groups.items()
        for name, key in (
            ("model", "model"),
            ("model, clips' own lag corrected", "synced"),
            ("energy-driven jaw", "energy-driven jaw"),
            ("shuffled audio", "shuffled audio"),
        )
    ]
    rows = [
        (who, *(asdict(a)[k] for k in ("seconds", "correlation", "aligned", "ratio")), a.lag_ms)
        for who, a in evaluation["model"].items()
    ]
    return [
        "Change of the lip aperture, predicted against tracked, on speakers not trained on. "
        '"Aligned" is at the lag where the correlation is highest; a lag of 20 ms is one step. '
        "Amplitude ratio is the standard deviation of the prediction over the tracked one. A "
        "clip's own lag is estimated on the half of the clip that is not judged with it."
        + (" On the *report* speakers nothing was ever chosen." if reported else ""),
        table(means, ["mean over speakers", "correlation", "aligned", "amplitude ratio (median)"]),
        table(
            [(*r[:-1], f"{r[-1]:+.0f}") for r in rows],
            ["speaker", "seconds", "correlation", "aligned", "amplitude ratio", "lag ms"],
        ),
    ]
