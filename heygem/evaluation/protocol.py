"""The protocol: evaluate a lips model on held-out parts of real clips, with baselines.

For each clip a person is fitted on the library part; the held-out part is rendered again with its
own audio (compared with the real mouth), with digital silence (silence leakage), and with other
people's speech (motion, sharpness and seams: no real mouth speaks those words). On request the
model is also fine-tuned on growing amounts of the person's footage.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from heygem import audio, lips, pipeline
from heygem.config import capabilities
from heygem.config.params import Params, Settings
from heygem.core.errors import HeygemError, InputError, ParameterError
from heygem.core.types import FloatArray, PathLike, Progress
from heygem.evaluation import baselines, finetune_curve, rerender
from heygem.evaluation.av_offset import estimate_file_lag
from heygem.evaluation.cache import ResultCache
from heygem.evaluation.clips import Clip, collect_clips
from heygem.evaluation.held_out import TestClip, build_test_clip
from heygem.evaluation.results import (
    CROSS_AUDIO,
    FINETUNED,
    FROM_VIDEO,
    MODEL,
    ORACLE,
    OWN_AUDIO,
    REAL,
    ClipResult,
    FinetunePoint,
    Measures,
    Results,
    Row,
)
from heygem.evaluation.split import fit_person
from heygem.evaluation.visuals import SILENCE, Visualizer
from heygem.lips.motion import Motion, RecordedMotion
from heygem.lips.predictor import LipsPredictor
from heygem.pipeline.models import Models
from heygem.rendering.warp.renderer import WarpRenderer
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
    """
    params = params or Params()
    settings = settings or EvaluateSettings()
    if settings.finetune_seconds:
        capabilities.require("finetune", seen="finetune_seconds")
    if settings.finetune_seconds and not pipeline.find_engine(params.engine).uses_motion:
        raise ParameterError(
            f"finetune_seconds has no effect with engine: {params.engine}",
            remedy="leave it out, or use engine: warp",
        )
    models = Models(params)
    results = Results(name or _model_name(params))
    cache = ResultCache(cache_dir, params, settings, cross_audio) if cache_dir is not None else None
    with tempfile.TemporaryDirectory(prefix="heygem-evaluate-") as folder:
        clip_list = collect_clips(clips, folder)
        for done, clip in enumerate(clip_list):
            if progress is not None:
                progress(clip.name, done, len(clip_list))
            try:
                result = cache.get(clip) if cache is not None else None
                if result is None:
                    visuals = Visualizer(visuals_dir, clip) if visuals_dir is not None else None
                    result = evaluate_clip(
                        clip,
                        models,
                        params,
                        settings,
                        cross_audio=cross_audio,
                        visuals=visuals,
                    )
                    if cache is not None:
                        cache.put(clip, result)
                results.add(clip.name, result)
            except HeygemError as error:
                log.warning("skipped: %s: %s", clip.name, error)
                results.skipped[clip.name] = str(error)
    if progress is not None:
        progress("done", len(clip_list), len(clip_list))
    if not results.rows:
        raise InputError(
            "no clip could be evaluated",
            seen="; ".join(f"{k}: {v}" for k, v in results.skipped.items()) or "no clips",
            remedy="give talking-head videos with audio, six seconds or longer",
        )
    return results


def evaluate_clip(
    clip: Clip,
    models: Models,
    params: Params,
    settings: EvaluateSettings,
    *,
    cross_audio: Sequence[PathLike] = (),
    visuals: Visualizer | None = None,
) -> ClipResult:
    """Fit the person on the library part of a clip, and measure every method on the rest."""
    person = fit_person(
        clip.path,
        params.face,
        test_fraction=settings.test_fraction,
        guard_s=settings.guard_s,
        boundary_s=clip.boundary_s,
    )
    samples = audio.load(clip.path).samples
    library_clip = dataset.from_track(
        dataset.Source(clip.path, clip.speaker),
        person.library_avatar.track,
        samples[: int(person.split.library_end_s * audio.RATE_HZ)],
    )
    file_lag = estimate_file_lag(library_clip, models.lips)
    finetuned: list[tuple[FinetunePoint, lips.LipsModel]] = []
    if settings.finetune_seconds:
        finetuned = finetune_curve.measure_clip(
            clip,
            person,
            library_clip,
            samples,
            models.lips,
            settings.finetune_seconds,
            file_lag_s=file_lag.lag_s,
            windows=settings.windows,
        )
    points = [point for point, _ in finetuned]
    facts = {
        "sha256": clip.sha256,
        "speaker": clip.speaker,
        "parts": [part.name for part in clip.parts],
        "library_s": [0.0, person.split.library_end_s],
        "sync": clip.sync,
        "sync_check": file_lag.verdict,
        "file_lag_ms": round(1000 * file_lag.lag_s, 1) if file_lag.reliable else None,
    }
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
    evaluation = _ClipEvaluation(clip, test, samples, models, params, visuals)
    facts |= evaluation.facts()
    real, base = evaluation.real_row(), evaluation.model_row()
    rows = [real, base]
    rendered = [
        (point, tuned)
        for point, tuned in finetuned
        if 0 < point.requested_s <= settings.max_rendered_finetune_s + 5
    ]
    if rendered:
        point, tuned = rendered[-1]
        facts["finetune_rendered_s"] = point.seconds
        rows.append(evaluation.finetuned_row(base, point, tuned))
    if settings.baselines:
        rows += evaluation.baseline_rows()
    rows += [evaluation.cross_audio_row(path) for path in cross_audio]
    if visuals is not None:
        visuals.write(test, samples)
    return ClipResult(rows, facts, points)


def _model_name(params: Params) -> str:
    """What the results call the model: the file of the lips model, or the engine and its file."""
    if pipeline.find_engine(params.engine).uses_motion:
        return Path(params.lips.model or lips.SHIPPED).stem
    return f"{params.engine} {Path(params.checkpoint).stem}" if params.checkpoint else params.engine


@dataclass(frozen=True)
class _Take:
    """What a renderer is given: a motion (None where it makes its own), and the audio."""

    motion: Motion | None
    samples: FloatArray


class _ClipEvaluation:
    """The rows of one clip.

    Parameters
    ----------
    clip : Clip
    test : heygem.evaluation.held_out.TestClip
    samples : float32 [n]
        Audio of the whole clip, 16 kHz mono.
    """

    def __init__(
        self,
        clip: Clip,
        test: TestClip,
        samples: FloatArray,
        models: Models,
        params: Params,
        visuals: Visualizer | None,
    ) -> None:
        self._clip, self._test, self._samples = clip, test, samples
        self._models, self._params = models, params
        self._visuals = visuals
        avatar = test.person.avatar
        self._engine = pipeline.make_renderer(avatar, params, models)
        # Recorded motions, such as the real mouth's, can only be drawn by the warp renderer.
        self._warp = WarpRenderer(avatar, params.renderer, models.device)
        split = test.person.split
        self._split = split
        self._end_s = float(test.times_s[-1])
        self._speech = audio_between(samples, split.start_s, self._end_s)

    def facts(self) -> dict[str, Any]:
        """Ranges and words that were evaluated, for `evaluation.json`."""
        test, split = self._test, self._split
        library = np.flatnonzero(split.library(test.person.avatar.track.times_s))
        facts: dict[str, Any] = {
            "held_out_s": [split.start_s, self._end_s],
            "library_frames": [int(library[0]), int(library[-1])],
            "held_out_frames": [int(test.frames[0]), int(test.frames[-1])],
        }
        if test.reader is not None:
            facts["words"] = len(test.reader.words_within(test.real, test.words))
            facts["word_chance"] = test.reader.chance(test.real, test.words)
        return facts

    def real_row(self) -> Row:
        """The real video, compared with itself."""
        real = rerender.compare_with_real(self._test, self._test.real, from_audio=False)
        return self._row(REAL, real)

    def model_row(self) -> Row:
        """The model with the clip's own audio, and with silence for the silence leakage."""
        silence = np.zeros_like(self._speech)
        silent = self._draw(self._predict(silence), MODEL, SILENCE)
        measures = self._measure(self._predict(self._speech), MODEL)
        measures["silence_leakage"] = rerender.silence_leakage(self._test, silent.mouth)
        return self._row(MODEL, measures)

    def finetuned_row(self, base: Row, point: FinetunePoint, model: lips.LipsModel) -> Row:
        """The fine-tuned model with the clip's own audio; `base` is the base model's row."""
        if point.kept_base:  # rendering the base model again would give the same pixels
            same = {k: measure for k, measure in base.measures.items() if k != "silence_leakage"}
            return self._row(FINETUNED, same)
        return self._row(FINETUNED, self._measure(self._predict(self._speech, model), FINETUNED))

    def baseline_rows(self) -> list[Row]:
        """The oracle motion and every baseline with the clip's own audio."""
        motions = baseline_motions(self._test, self._samples, self._speech)
        takes = {name: _Take(RecordedMotion(motion), self._speech) for name, motion in motions}
        if len(self._speech) >= 2 * audio.RATE_HZ:
            takes["shifted audio"] = self._predict(baselines.shift_audio(self._speech))
        return [self._row(method, self._measure(take, method)) for method, take in takes.items()]

    def cross_audio_row(self, path: PathLike) -> Row:
        """The model with another person's speech."""
        kind = f"{CROSS_AUDIO}{Path(path).name}"
        samples = np.resize(audio.load(path).samples, len(self._speech))
        rendered = self._draw(self._predict(samples), MODEL, kind)
        measures = rerender.motion_measures(self._test, rendered.mouth)
        measures |= rerender.image_measures(self._test, rendered, same_words=False)
        return self._row(MODEL, measures, kind)

    def _predict(self, samples: FloatArray, model: LipsPredictor | None = None) -> _Take:
        """What the engine draws for audio that starts with the held-out part."""
        if not self._engine.uses_motion:
            return _Take(None, samples)
        model = model or self._models.lips
        trajectory = pipeline.articulate(
            model.predict(samples),
            audio.voice_activity(samples),
            self._test.person.avatar,
            model,
            self._params.lips,
        )
        return _Take(trajectory, samples)

    def _draw(self, take: _Take, method: str, kind: str) -> rerender.RenderedClip:
        on_frame = None
        if self._visuals is not None:
            on_frame = self._visuals.observer(self._test.person, method, kind)
        return rerender.render_clip(
            self._test,
            take.motion,
            take.samples,
            self._warp if isinstance(take.motion, RecordedMotion) else self._engine,
            self._models.faces,
            on_frame=on_frame,
        )

    def _measure(self, take: _Take, method: str) -> Measures:
        """All measures of a take that speaks the clip's own words."""
        rendered = self._draw(take, method, OWN_AUDIO)
        measures = rerender.compare_with_real(
            self._test, rendered.mouth, from_audio=method not in FROM_VIDEO
        )
        return measures | rerender.image_measures(self._test, rendered, same_words=True)

    def _row(self, method: str, measures: Measures, kind: str = OWN_AUDIO) -> Row:
        library_s = (0.0, self._split.library_end_s)
        held_out_s = (self._split.start_s, self._end_s)
        clip = self._clip
        return Row(clip.name, clip.speaker, method, kind, measures, library_s, held_out_s)


def audio_between(
    samples: FloatArray, start_s: float, end_s: float, rate_hz: int = audio.RATE_HZ
) -> FloatArray:
    """Samples of a time range, with 0.1 s more at its end for the last frame."""
    return samples[int(start_s * rate_hz) : int((end_s + 0.1) * rate_hz)]


def baseline_motions(
    test: TestClip,
    samples: FloatArray,
    speech: FloatArray,
) -> Iterator[tuple[str, FloatArray]]:
    """(method, displacement [T, L, 3]) of the oracle motion and of the baselines with a motion.

    samples : audio of the whole clip; speech : of the held-out part.
    """
    avatar, split = test.person.avatar, test.person.split
    times_s = avatar.track.times_s
    library_frames = np.flatnonzero(split.library(times_s) & avatar.usable)
    library, count = avatar.displacement(library_frames), len(test.frames)
    yield ORACLE, avatar.displacement(test.frames)
    yield "static mouth", baselines.static_mouth(library, count)
    yield "source-frame copy", baselines.source_copy(library, count)
    yield "mean mouth", baselines.mean_mouth(library, count)
    library_speech = audio_between(samples, 0, split.library_end_s)
    library_times_s, held_out_times_s = times_s[library_frames], test.times_s - split.start_s
    yield (
        "energy-driven jaw",
        baselines.energy_jaw(
            library,
            baselines.loudness_db(library_speech, library_times_s),
            baselines.loudness_db(speech, held_out_times_s),
        ),
    )
    yield (
        "nearest-audio retrieval",
        baselines.nearest_audio(
            library,
            audio.log_mel(library_speech),
            library_times_s,
            audio.log_mel(speech),
            held_out_times_s,
        ),
    )
