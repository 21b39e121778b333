"""The model card: what a lips model learnt from, under which licences, and how good it is."""

from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import numpy as np

from heygem.core.version import commit
from heygem.training import metrics


def table(rows, head):
    """A Markdown table; numbers are written short."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [f"{v:.2f}" if isinstance(v, float) else str(v) for v in row]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def judge(model, clips):
    """Zero-shot agreement with clips of speakers that were not learnt from, and with anchors.

    Parameters
    ----------
    model : heygem.lips.model.LipsModel
    clips : list of heygem.training.dataset.Clip

    Returns
    -------
    dict
        Method ("model", "energy-driven jaw", "shuffled audio") to speaker to Agreement; and under
        "synced" the model on clips whose lag was put right by the sync check.
    """
    said = [model.predict_features(c.heard).aperture()[: len(c.valid)] for c in clips]
    energy = [_energy(c) for c in clips]
    sync = metrics.check_sync(clips, said)
    shifted = [c.shifted(s.correction_s) for c, s in zip(clips, sync, strict=True)]
    result = {
        "model": _by_speaker(clips, said),
        "synced": _by_speaker(shifted, said),
        "energy-driven jaw": _by_speaker(clips, energy),
        "shuffled audio": _by_speaker(clips, [np.roll(s, len(s) // 2) for s in said]),
    }
    return result


def _energy(clip):
    """What opens with loudness and nothing else, smoothed over 60 ms."""
    loud = clip.heard[:, 5:60].mean(1)
    loud = np.convolve(loud, np.ones(6) / 6, "same")
    return loud[: 2 * len(clip.valid)].reshape(-1, 2).mean(1)


def _by_speaker(clips, said):
    pairs = defaultdict(list)
    for clip, curve in zip(clips, said, strict=True):
        pairs[clip.source.speaker].append((curve, clip.aperture, clip.valid))
    return {who: metrics.agreement(p) for who, p in sorted(pairs.items())}


def mean_correlation(agreements, name="correlation"):
    """Mean over speakers."""
    values = [getattr(a, name) for a in agreements.values() if a.seconds > 0]
    return float(np.mean(values)) if values else 0.0


def write(path, trained, dataset, *, judged=None, notes=()):
    """Write the card.

    Parameters
    ----------
    path : path
    trained : heygem.training.trainer.Trained
    dataset : heygem.training.dataset.Dataset
    judged : dict, optional
        From `judge`.
    notes : sequence of str
        Further sections, in Markdown.
    """
    model, settings = trained.model, trained.settings
    used = trained.used
    minutes = sum(c.duration_s for c in used) / 60
    speakers = {c.source.speaker for c in used}
    parts = [
        "# Model card: lips",
        "Speech (log-mel spectra and recognised phones) to the movement of the lower face at 50 "
        "Hz, as "
        f"{len(model.basis)} coefficients of mesh displacements in the canonical face frame. The "
        f"mean of {len(model.networks)} temporal convolutional networks. It sees no pixels. Made "
        "by `heygem train lips`; Apache-2.0.",
        "## What it learnt from",
        f"{len(speakers)} speakers, {minutes:.1f} minutes with a face, {len(used)} clips; "
        f"licence classes left out: {', '.join(settings.exclude_licences) or 'none'}. "
        "No video, picture or sound is in the file.",
        table(_sources(used), ["source", "class", "licence", "speakers", "minutes"]),
    ]
    shifted = [(c, s) for c, s in zip(used, trained.sync, strict=True) if s.verdict == "shifted"]
    parts += [
        "## Sync check",
        f"{len(used) - len(shifted)} clips taken as they are, {len(shifted)} shifted by their own "
        f"lag (largest {1000 * max((abs(s.lag_s) for _, s in shifted), default=0):.0f} ms), "
        f"{len(trained.dropped)} left out"
        + (": " + ", ".join(c.source.path.name for c in trained.dropped) if trained.dropped else "")
        + ".",
    ]
    if judged:
        parts += ["## How good it is", *_quality(judged)]
    parts += [
        "## Held-out speakers of the training set",
        f"Each by the one network that never saw the speaker: mean correlation "
        f"{mean_correlation(trained.held_out):.2f} over {len(trained.held_out)} speakers.",
        *notes,
        "## How to make it again",
        "`heygem train lips DATASET` with the settings below; seeds are drawn from `seed`, the "
        "network's number and the step, so the same data and code give the same file on the same "
        "kind of machine.",
        table(
            [
                ("data sha256 (all clips)", f"`{dataset.sha256}`"),
                ("code version", f"`{commit()}`"),
                (
                    "processor time",
                    f"{trained.seconds / 60:.0f} minutes with {model.device}, tracking not counted",
                ),
                ("typical opening (std)", f"{model.opening_std:.4f} eye distances"),
                ("gain", f"{float(model.gain[0]):.2f}"),
                *((k, f"`{v}`") for k, v in settings.model_dump().items()),
            ],
            ["what", "value"],
        ),
    ]
    Path(path).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _sources(clips):
    groups = defaultdict(lambda: [set(), 0.0])
    for clip in clips:
        s = clip.source
        entry = groups[s.origin or "own footage", s.licence_class, s.licence]
        entry[0].add(s.speaker)
        entry[1] += clip.duration_s / 60
    return [
        (origin, kind, licence.replace("|", "/"), len(who), round(minutes, 1))
        for (origin, kind, licence), (who, minutes) in sorted(groups.items())
    ]


def _quality(judged):
    means = [
        (
            name,
            mean_correlation(judged[key]),
            mean_correlation(judged[key], "aligned"),
            float(np.median([a.ratio for a in judged[key].values()])),
        )
        for name, key in (
            ("model", "model"),
            ("model, clips' own lag put right", "synced"),
            ("energy-driven jaw", "energy-driven jaw"),
            ("shuffled audio", "shuffled audio"),
        )
    ]
    rows = [
        (who, *(asdict(a)[k] for k in ("seconds", "correlation", "aligned", "ratio")), a.lag_ms)
        for who, a in judged["model"].items()
    ]
    return [
        "Change of the lips' gap, predicted against tracked, on speakers never learnt from. "
        '"Aligned" is at the lag where the correlation is highest; a lag of 20 ms is one step. '
        "Open ratio is the spread of the prediction over the real one.",
        table(means, ["mean over speakers", "correlation", "aligned", "open ratio (median)"]),
        table(
            [(*r[:-1], f"{r[-1]:+.0f}") for r in rows],
            ["speaker", "seconds", "correlation", "aligned", "open ratio", "lag ms"],
        ),
    ]
