"""Fine-tuning curve: the same held-out part after growing amounts of the person's footage.

The amounts are nested, so each point has the footage of the one before it, and all points are
evaluated on the same seconds. The footage ends a guard of a second before the held-out part begins;
further footage of the person comes from other files. The curve compares predicted with tracked
apertures; one amount is also rendered and tracked again, as every other method is.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from heygem import pipeline
from heygem.config import capabilities
from heygem.core.errors import InputError
from heygem.core.types import FloatArray
from heygem.evaluation import motion_metrics
from heygem.evaluation.clips import Clip
from heygem.evaluation.results import FinetunePoint, Measure, Measures
from heygem.evaluation.split import Person
from heygem.lips.model import LipsModel
from heygem.lips.trajectory import RATE_HZ
from heygem.training import dataset

log = logging.getLogger(__name__)

MIN_COVERAGE = 0.9  # of an amount: with less footage than this the amount is left out

Points = list[tuple[FinetunePoint, LipsModel]]
# The amount that was asked for, the footage, the model, and whether it is still the base model.
_Tuned = tuple[float, list[dataset.Clip], LipsModel, bool]


def measure_clip(
    clip: Clip,
    person: Person,
    library_clip: dataset.Clip,
    samples: FloatArray,
    model: LipsModel,
    amounts_s: Sequence[float],
    *,
    file_lag_s: float = 0.0,
    windows: int = 4,
) -> Points:
    """The curve of one clip, on its library part and the person's other footage.

    Parameters
    ----------
    clip : heygem.evaluation.clips.Clip
    person : heygem.evaluation.split.Person
    library_clip : heygem.training.dataset.Clip
        Features and motion of the library part.
    samples : float32 [n]
        Audio of the whole clip, 16 kHz mono.
    model, amounts_s, file_lag_s, windows
        See `measure_curve`.
    """
    whole = dataset.from_track(
        library_clip.source, person.avatar.track, samples, embedding=model.embedding
    )
    times_s = np.arange(len(whole.valid)) / RATE_HZ
    held_out = replace(whole, valid=whole.valid & person.split.held_out(times_s))
    extra = dataset.load(
        [dataset.Source(path, clip.speaker, split="dev") for path in clip.extra_footage],
        embedding=model.embedding,
    ).clips
    return measure_curve(
        [library_clip, *extra],
        held_out,
        person,
        model,
        amounts_s,
        name=clip.name,
        file_lag_s=file_lag_s,
        windows=windows,
    )


def measure_curve(
    footage: Sequence[dataset.Clip],
    held_out: dataset.Clip,
    person: Person,
    model: LipsModel,
    amounts_s: Sequence[float],
    *,
    name: str,
    file_lag_s: float = 0.0,
    windows: int = 4,
) -> Points:
    """Fine-tune on growing amounts of footage and evaluate each on the same held-out seconds.

    Parameters
    ----------
    footage : list of heygem.training.dataset.Clip
        In the order in which it is used.
    held_out : heygem.training.dataset.Clip
        `valid` only where it is evaluated.
    person : heygem.evaluation.split.Person
    model : heygem.lips.model.LipsModel
        The base model.
    amounts_s : sequence of float
    name : str
        Name of the evaluated clip in tables.
    file_lag_s : float
        See `heygem.evaluation.av_offset`.
    windows : int

    Returns
    -------
    list of (FinetunePoint, LipsModel)
        The base model first.
    """
    curve: list[_Tuned] = [(0.0, [], model, True)]
    curve.extend(_finetune(model, footage, amounts_s))
    evaluated = np.flatnonzero(held_out.valid)
    held_out_s = (evaluated[0] / RATE_HZ, (evaluated[-1] + 1) / RATE_HZ)
    points = []
    for amount_s, part, tuned, kept_base in curve:
        point = FinetunePoint(
            clip=name,
            speaker=held_out.source.speaker,
            requested_s=float(amount_s),
            seconds=float(sum(c.duration_s for c in part)),
            footage=[(c.source.path.name, 0.0, len(c.valid) / RATE_HZ) for c in part],
            held_out_s=held_out_s,
            kept_base=kept_base,
            measures=measure_prediction(
                tuned, held_out, person, file_lag_s=file_lag_s, windows=windows
            ),
        )
        points.append((point, tuned))
    return points


def _finetune(
    model: LipsModel, footage: Sequence[dataset.Clip], amounts_s: Sequence[float]
) -> Iterator[_Tuned]:
    capabilities.require("finetune", seen="a fine-tuning curve")
    from heygem.finetune.adapt import adapt

    for amount_s in available_amounts(amounts_s, sum(clip.duration_s for clip in footage)):
        part = take_seconds(footage, amount_s)
        try:
            adapted = adapt(model, part)
        except InputError as error:  # too little speech in it
            log.info("not fine-tuned on %.0f s: %s", amount_s, error)
            continue
        yield amount_s, part, adapted.model, adapted.kept_base


def available_amounts(amounts_s: Sequence[float], available_s: float) -> list[float]:
    """The amounts that the footage suffices for, and all of it where more was asked for."""
    amounts = [a for a in sorted(amounts_s) if 0 < a * MIN_COVERAGE <= available_s]
    if any(a > available_s for a in amounts_s) and available_s > 1.1 * max([0.0, *amounts]):
        amounts.append(available_s)
    return amounts


def take_seconds(footage: Sequence[dataset.Clip], seconds: float) -> list[dataset.Clip]:
    """The first seconds (with a face) of a sequence of clips."""
    taken: list[dataset.Clip] = []
    for clip in footage:
        if seconds <= 0:
            break
        rows = int(np.searchsorted(np.cumsum(clip.valid), seconds * RATE_HZ)) + 1
        taken.append(truncate(clip, min(rows, len(clip.valid))))
        seconds -= taken[-1].duration_s
    return taken


def truncate(clip: dataset.Clip, rows: int) -> dataset.Clip:
    """The first rows (1/50 s each) of a clip."""
    return replace(
        clip,
        features=clip.features[: 2 * rows],
        voice=clip.voice[: 2 * rows],
        displacement=clip.displacement[:rows],
        valid=clip.valid[:rows],
    )


def measure_prediction(
    model: LipsModel,
    clip: dataset.Clip,
    person: Person,
    *,
    file_lag_s: float = 0.0,
    windows: int = 4,
) -> Measures:
    """Compare the predicted with the tracked aperture where a clip is valid."""
    predicted_motion = model.predict_features(clip.features)
    style = pipeline.speaker_style(predicted_motion, clip.voice, person.avatar, model)
    aperture = predicted_motion.aperture() * style.opening_scale
    times_s = np.arange(len(aperture)) / RATE_HZ
    # A mouth that is late shows at t + lag what the audio says at t.
    corrected = np.interp(times_s + file_lag_s, times_s, clip.aperture)
    keep = np.flatnonzero(clip.valid)
    predicted, real = aperture[keep], clip.aperture[keep]
    corrected, times_s = corrected[keep], times_s[keep]
    metrics = {
        "aperture_corr": lambda p: motion_metrics.correlation(predicted[p], real[p]),
        "lag_corrected_corr": lambda p: motion_metrics.correlation(predicted[p], corrected[p]),
        "residual_lag_ms": lambda p: motion_metrics.lag_ms(predicted[p], corrected[p], times_s[p]),
        "amplitude_ratio": lambda p: motion_metrics.amplitude_ratio(predicted[p], corrected[p]),
    }
    parts = motion_metrics.window_slices(len(keep), windows)
    return {key: Measure.over(metric, parts) for key, metric in metrics.items()}
