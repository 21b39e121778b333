"""The rows of one clip: the model, its variants and the baselines, each rendered and measured."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heygem import audio, lips, pipeline
from heygem.config.params import Params
from heygem.core.types import FloatArray, PathLike
from heygem.evaluation import baselines, rerender
from heygem.evaluation.clips import Clip
from heygem.evaluation.held_out import TestClip
from heygem.evaluation.results import (
    CROSS_AUDIO,
    FINETUNED,
    FROM_VIDEO,
    MODEL,
    ORACLE,
    OWN_AUDIO,
    REAL,
    FinetunePoint,
    Measures,
    Row,
)
from heygem.evaluation.visuals import MOTIONLESS, SILENCE, Visualizer
from heygem.lips.motion import Motion, RecordedMotion
from heygem.lips.predictor import LipsPredictor
from heygem.pipeline.models import Models
from heygem.rendering.warp.renderer import WarpRenderer

SILENT = ("silence_leakage", "leakage_floor")  # measured with digital silence, by the base model


@dataclass(frozen=True)
class _Take:
    """What a renderer is given: a motion (None where it makes its own), and the audio."""

    motion: Motion | None
    samples: FloatArray


class ClipEvaluation:
    """Computes the rows of one clip.

    Parameters
    ----------
    clip : Clip
    test : heygem.evaluation.held_out.TestClip
    samples : float32 [n]
        Audio of the whole clip, 16 kHz mono.
    models : heygem.pipeline.models.Models
    params : heygem.config.params.Params
    visuals : heygem.evaluation.visuals.Visualizer, optional
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
        self._warp = WarpRenderer(avatar, params.renderer)
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
            "judged_frames": len(test.frames),
            "left_out_frames": test.left_out,
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
        measures = self._measure(self._predict(self._speech), MODEL)
        return self._row(MODEL, measures | self._measure_silence())

    def _measure_silence(self) -> Measures:
        """The silence leakage, and the part of it that a motionless mouth has on this head."""
        take = self._predict(np.zeros_like(self._speech))
        silent = self._draw(take, MODEL, SILENCE)
        measures = {"silence_leakage": rerender.silence_leakage(silent.clip, silent.mouth)}
        if take.motion is None:  # a renderer whose mouth cannot be held still
            return measures
        times_s = self._test.times_s - self._split.start_s
        displacement = take.motion.for_frames(times_s)[: len(times_s)]
        if np.ptp(displacement, axis=0).any():
            motionless = np.repeat(displacement[:1], len(times_s), axis=0)
            silent = self._draw(_Take(RecordedMotion(motionless), take.samples), MODEL, MOTIONLESS)
        measures["leakage_floor"] = rerender.silence_leakage(silent.clip, silent.mouth)
        return measures

    def finetuned_row(self, base: Row, point: FinetunePoint, model: lips.LipsModel) -> Row:
        """The fine-tuned model with the clip's own audio; `base` is the base model's row."""
        if point.kept_base:  # rendering the base model again would give the same pixels
            same = {k: measure for k, measure in base.measures.items() if k not in SILENT}
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
        measures = rerender.motion_measures(rendered.clip, rendered.mouth)
        measures |= rerender.image_measures(self._test, rendered, same_words=False)
        return self._row(MODEL, measures, kind)

    def _predict(self, samples: FloatArray, model: LipsPredictor | None = None) -> _Take:
        """What the engine draws for audio that starts with the held-out part."""
        if not self._engine.uses_motion:
            return _Take(None, samples)
        model = model or self._models.lips
        # Without `pipeline.with_expression`: it would take the judged mouth's own slow movement.
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
            rendered.clip, rendered.mouth, from_audio=method not in FROM_VIDEO
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
