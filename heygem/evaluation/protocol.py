"""The protocol: evaluate a lips model on held-out parts of real clips, with baselines.

For each clip a person is fitted on the library part; the held-out part is rendered again with its
own audio (compared with the real mouth), with digital silence (silence leakage), and with other
people's speech (motion, sharpness and seams: no real mouth speaks those words). On request the
model is also fine-tuned on growing amounts of the person's footage.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import Field

from heygem import audio, lips, pipeline
from heygem.config import capabilities
from heygem.config.params import Params, Settings
from heygem.core.errors import HeygemError, InputError, ParameterError
from heygem.core.leftovers import temporary_folder
from heygem.core.types import PathLike, Progress
from heygem.evaluation import finetune_curve
from heygem.evaluation.av_offset import FeaturePredictor, FileLag, estimate_file_lag
from heygem.evaluation.cache import ResultCache
from heygem.evaluation.clips import Clip, collect_clips
from heygem.evaluation.held_out import build_test_clip
from heygem.evaluation.methods import ClipEvaluation
from heygem.evaluation.results import ClipResult, Results, Row
from heygem.evaluation.split import Person, fit_person
from heygem.evaluation.visuals import Visualizer
from heygem.pipeline.models import Models
from heygem.training import dataset

log = logging.getLogger(__name__)


class EvaluateSettings(Settings):
    """How clips are divided and what is measured."""

    test_fraction: float = Field(
        0.4, gt=0.1, lt=0.9, description="last part of a clip, held out [fraction]"
    )
    guard_s: float = Field(1.0, ge=0.2, le=10, description="left out between the parts [s]")
    windows: int = Field(4, ge=4, le=64, description="windows the spread is taken over")
    baselines: bool = Field(True, description="render and measure the baselines too")
    max_held_out_s: float = Field(
        30.0, ge=2, le=3600, description="evaluate no more of a clip than this [s]"
    )
    report_speakers: tuple[str, ...] = Field(
        (), description="speakers on whom nothing was ever chosen; reported apart"
    )
    finetune_seconds: tuple[float, ...] = Field(
        (), description="amounts of the person's footage to fine-tune on [s]; none: no such curve"
    )
    max_rendered_finetune_s: float = Field(
        60.0, ge=0, description="of these, the largest up to this is rendered and tracked too [s]"
    )


def evaluate(
    clips: Sequence[PathLike | Clip],
    params: Params | None = None,
    settings: EvaluateSettings | None = None,
    *,
    cross_audio: Sequence[PathLike] = (),
    name: str | None = None,
    progress: Progress | None = None,
    cache_dir: PathLike | None = None,
    visuals_dir: PathLike | None = None,
) -> Results:
    """Measure a lips model on clips it was not trained on.

    Parameters
    ----------
    clips : list of path or Clip
        Talking people with audio, six seconds or more each, or folders of them (see
        `heygem.evaluation.clips.collect_clips`).
    params : heygem.config.params.Params, optional
        Face, lips and renderer settings; `params.lips.model` names the model.
    settings : EvaluateSettings, optional
    cross_audio : list of path
        Other people's speech, rendered into every clip.
    name : str, optional
        Name of the model in the table; default: its file name.
    progress : callable, optional
        `progress(clip name, done, total)` over clips.
    cache_dir : path, optional
        Folder for the results of finished clips: the same evaluation, started again, continues.
    visuals_dir : path, optional
        Folder that receives a contact sheet and a comparison video of each clip.

    Returns
    -------
    Results
        Clips that cannot be evaluated are in `Results.skipped` with the reason.

    Raises
    ------
    InputError
        No clip at all could be evaluated.
    ParameterError
        Fine-tuning is asked for where it is switched off or has no effect, or a report speaker is
        none of the clips'.
    """
    params = params or Params()
    settings = settings or EvaluateSettings()
    models = Models(params)
    _check_finetuning(params, settings, models)
    results = Results(name or _model_name(params))
    cache = None
    if cache_dir is not None:
        cache = ResultCache(cache_dir, params, models.lips_sha256, settings, cross_audio)
    with temporary_folder() as folder:
        collected = collect_clips(clips, folder)
        _check_report_speakers(settings, collected)

        def evaluate_one(clip: Clip) -> ClipResult:
            visuals = Visualizer(visuals_dir, clip) if visuals_dir is not None else None
            return evaluate_clip(clip, models, params, settings, cross_audio, visuals)

        _evaluate_all(collected, evaluate_one, results, cache, progress)
    return results


def _evaluate_all(
    clips: Sequence[Clip],
    evaluate_one: Callable[[Clip], ClipResult],
    results: Results,
    cache: ResultCache | None,
    progress: Progress | None,
) -> None:
    """Add the result of every clip, cached or new; one that fails does not stop the others."""
    for done, clip in enumerate(clips):
        if progress is not None:
            progress(clip.name, done, len(clips))
        try:
            result = cache.get(clip) if cache is not None else None
            if result is None:
                result = evaluate_one(clip)
                if cache is not None:
                    cache.put(clip, result)
            results.add(clip.name, result)
        except HeygemError as error:
            log.warning("skipped: %s: %s", clip.name, error)
            results.skipped[clip.name] = str(error)
    if progress is not None:
        progress("done", len(clips), len(clips))
    if not results.rows:
        raise InputError(
            "no clip could be evaluated",
            seen="; ".join(f"{k}: {v}" for k, v in results.skipped.items()) or "no clips",
            remedy="give talking-head videos with audio, six seconds or longer",
        )


def _check_report_speakers(settings: EvaluateSettings, clips: Sequence[Clip]) -> None:
    speakers = {clip.speaker for clip in clips}
    unknown = sorted(set(settings.report_speakers) - speakers)
    if unknown:
        raise ParameterError(
            "report_speakers names people of whom there is no clip",
            seen=", ".join(unknown),
            remedy="give names of these: " + ", ".join(sorted(speakers)),
        )


def _check_finetuning(params: Params, settings: EvaluateSettings, models: Models) -> None:
    if not settings.finetune_seconds:
        return
    capabilities.require("finetune", seen="finetune_seconds")
    if not pipeline.find_engine(params.engine).uses_motion:
        raise ParameterError(
            f"finetune_seconds has no effect with engine: {params.engine}",
            remedy="leave it out, or use engine: warp",
        )
    if not isinstance(models.lips, FeaturePredictor):
        raise ParameterError(
            "finetune_seconds has no effect with a lips model of one's own",
            seen=params.lips.model,
            remedy="leave it out, or use a model that `heygem train lips` made",
        )


def evaluate_clip(
    clip: Clip,
    models: Models,
    params: Params,
    settings: EvaluateSettings,
    cross_audio: Sequence[PathLike] = (),
    visuals: Visualizer | None = None,
) -> ClipResult:
    """Fit the person on the library part of a clip, and measure every method on the rest.

    Raises InputError where the held-out part can neither be rendered nor used for a curve.
    """
    person = fit_person(
        clip.path,
        params.face,
        test_fraction=settings.test_fraction,
        guard_s=settings.guard_s,
        boundary_s=clip.boundary_s,
    )
    samples = audio.load(clip.path).samples
    lag_model = models.lips if isinstance(models.lips, FeaturePredictor) else lips.LipsModel.load()
    library_clip = dataset.from_track(
        dataset.Source(clip.path, clip.speaker),
        person.library_avatar.track,
        samples[: int(person.split.library_end_s * audio.RATE_HZ)],
        embedding=lag_model.embedding,
    )
    file_lag = estimate_file_lag(library_clip, lag_model)
    curve: finetune_curve.Points = []
    if settings.finetune_seconds:
        curve = finetune_curve.measure_clip(
            clip,
            person,
            library_clip,
            samples,
            cast(lips.LipsModel, models.lips),  # checked by `_check_finetuning`
            settings.finetune_seconds,
            file_lag_s=file_lag.lag_s,
            windows=settings.windows,
        )
    points = [point for point, _ in curve]
    facts = _clip_facts(clip, person, file_lag)
    facts["report"] = clip.speaker in settings.report_speakers
    try:
        test = build_test_clip(
            person,
            samples,
            words=clip.words,
            file_lag_s=file_lag.lag_s,
            windows=settings.windows,
            max_s=settings.max_held_out_s,
        )
    except InputError as error:
        if len(points) < 2:
            raise
        return ClipResult([], facts | {"not_rendered": str(error)}, points)
    evaluation = ClipEvaluation(clip, test, samples, models, params, visuals)
    rows, rendered_facts = _render_methods(evaluation, settings, curve, cross_audio)
    if visuals is not None:
        visuals.write(test, samples)
    return ClipResult(rows, facts | rendered_facts, points)


def _clip_facts(clip: Clip, person: Person, file_lag: FileLag) -> dict[str, Any]:
    """What is known of a clip before anything is rendered, for `evaluation.json`."""
    return {
        "sha256": clip.sha256,
        "speaker": clip.speaker,
        "parts": [part.name for part in clip.parts],
        "library_s": [0.0, person.split.library_end_s],
        "sync": clip.sync,
        "sync_check": file_lag.verdict,
        "file_lag_ms": round(1000 * file_lag.lag_s, 1) if file_lag.reliable else None,
    }


def _render_methods(
    evaluation: ClipEvaluation,
    settings: EvaluateSettings,
    curve: finetune_curve.Points,
    cross_audio: Sequence[PathLike],
) -> tuple[list[Row], dict[str, Any]]:
    """The rows of every method that is asked for, and the facts about them."""
    facts = evaluation.facts()
    real, base = evaluation.real_row(), evaluation.model_row()
    rows = [real, base]
    rendered = [
        (point, tuned)
        for point, tuned in curve
        if 0 < point.requested_s <= settings.max_rendered_finetune_s + 5
    ]
    if rendered:
        point, tuned = rendered[-1]
        facts["finetune_rendered_s"] = point.seconds
        rows.append(evaluation.finetuned_row(base, point, tuned))
    if settings.baselines:
        rows += evaluation.baseline_rows()
    rows += [evaluation.cross_audio_row(path) for path in cross_audio]
    return rows, facts


def _model_name(params: Params) -> str:
    """What the results call the model: the file of the lips model, or the engine and its file."""
    if pipeline.find_engine(params.engine).uses_motion:
        return Path(params.lips.model or lips.SHIPPED).stem
    return f"{params.engine} {Path(params.checkpoint).stem}" if params.checkpoint else params.engine
