"""What a person's own seconds add: the same held-out part after 0, 15, 30, 60, 180 s of footage.

Split by time: what is learnt from ends a second of guard before what is judged begins (further
footage of the person is other files). The amounts are nested, so that each point has seen all that
the one before it saw, and all are judged on the same seconds. This is the level of curves,
predicted against tracked; one amount is also drawn and tracked again, as everything else is.
"""

import logging
from dataclasses import dataclass, field, replace

import numpy as np

from heygem import pipeline
from heygem.config import capabilities
from heygem.core.errors import InputError
from heygem.evaluation import motion_metrics
from heygem.evaluation.results import Measure
from heygem.lips.trajectory import RATE_HZ

log = logging.getLogger(__name__)

ENOUGH = 0.9  # of an amount: with less footage the point is not that amount's


@dataclass(frozen=True)
class Point:
    """One amount of one person's footage.

    Attributes
    ----------
    clip, speaker : str
    asked_s, seconds : float
        The amount, and what was learnt from (seconds with a face).
    learnt : list of (file, start_s, end_s)
    judged_s : (float, float)
        Of `clip`.
    kept_base : bool
        Adaptation was no better on the footage itself, so the base stayed.
    measures : dict of str to Measure
        `aperture_r`, `own_r`, `own_lag_ms`, `open_ratio`.
    """

    clip: str
    speaker: str
    asked_s: float
    seconds: float
    learnt: list
    judged_s: tuple
    kept_base: bool
    measures: dict = field(default_factory=dict)


def curve(footage, held_out, person, model, amounts_s, *, name, lag_s=0.0, windows=4):
    """Adapt to growing amounts of footage and judge each on the same held-out seconds.

    Parameters
    ----------
    footage : list of heygem.training.dataset.Clip
        To learn from, in the order in which it is taken.
    held_out : heygem.training.dataset.Clip
        `valid` only where it is judged.
    person : heygem.evaluation.split.Person
    model : heygem.lips.model.LipsModel
        The base.
    amounts_s : sequence of float
    name : str
        How tables call the clip that is judged.
    lag_s : float
        The file's own lag, see `heygem.evaluation.av_offset`.
    windows : int

    Returns
    -------
    list of (Point, LipsModel)
        The base first.
    """
    capabilities.require("finetune", seen="a curve of few-shot")
    from heygem.finetune.adapt import adapt

    there_s = sum(clip.duration_s for clip in footage)
    wanted = [a for a in sorted(amounts_s) if 0 < a * ENOUGH <= there_s]
    if any(a > there_s for a in amounts_s) and there_s > 1.1 * max([0.0, *wanted]):
        wanted.append(there_s)
    found = [(0.0, [], model, True)]
    for amount_s in wanted:
        part = take(footage, amount_s)
        try:
            adapted = adapt(model, part)
        except InputError as error:  # too little speech in it
            log.info("not adapted to %.0f s: %s", amount_s, error)
            continue
        found.append((amount_s, part, adapted.model, adapted.kept_base))
    inside = np.flatnonzero(held_out.valid)
    judged_s = (inside[0] / RATE_HZ, (inside[-1] + 1) / RATE_HZ)
    points = []
    for amount_s, part, adapted, kept in found:
        point = Point(
            clip=name,
            speaker=held_out.source.speaker,
            asked_s=float(amount_s),
            seconds=float(sum(c.duration_s for c in part)),
            learnt=[(c.source.path.name, 0.0, len(c.valid) / RATE_HZ) for c in part],
            judged_s=judged_s,
            kept_base=kept,
            measures=judge(adapted, held_out, person, lag_s=lag_s, windows=windows),
        )
        points.append((point, adapted))
    return points


def take(footage, seconds):
    """The first seconds (with a face) of clips in a row: list of Clip."""
    taken = []
    for clip in footage:
        if seconds <= 0:
            break
        rows = int(np.searchsorted(np.cumsum(clip.valid), seconds * RATE_HZ)) + 1
        taken.append(first(clip, min(rows, len(clip.valid))))
        seconds -= taken[-1].duration_s
    return taken


def first(clip, rows):
    """A clip's first rows of movement."""
    return replace(
        clip,
        heard=clip.heard[: 2 * rows],
        voice=clip.voice[: 2 * rows],
        moved=clip.moved[:rows],
        valid=clip.valid[:rows],
    )


def judge(model, clip, person, *, lag_s=0.0, windows=4):
    """Predicted against tracked lip gap where a clip is valid: dict of str to Measure."""
    scale = pipeline.speaker_scale(person.avatar, model)
    said = model.predict_features(clip.heard).aperture() * scale
    times_s = np.arange(len(said)) / RATE_HZ
    # A picture that is late shows later what is said now.
    real, own = clip.aperture, np.interp(times_s + lag_s, times_s, clip.aperture)
    keep = np.flatnonzero(clip.valid)
    said, real, own, times_s = said[keep], real[keep], own[keep], times_s[keep]
    measures = {
        "aperture_r": lambda p: motion_metrics.correlation(said[p], real[p]),
        "own_r": lambda p: motion_metrics.correlation(said[p], own[p]),
        "own_lag_ms": lambda p: motion_metrics.lag_ms(said[p], own[p], times_s[p]),
        "open_ratio": lambda p: motion_metrics.open_ratio(said[p], own[p]),
    }
    parts = motion_metrics.window_slices(len(keep), windows)
    return {key: Measure.over(measure, parts) for key, measure in measures.items()}
