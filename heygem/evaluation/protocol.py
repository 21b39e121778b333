"""Judge a lips model on real clips: the model, the truth, and anchors on one path.

For each clip a person is learnt from its first part; the held-out part is then drawn anew with
its own held-out sound (compared with the real mouth), with digital silence (leak), and with other
people's sound (movement, sharpness and seams: there is no truth to compare with). On request the
model is also adapted to growing amounts of the person's footage.
"""

import logging
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from heygem import audio, lips, pipeline
from heygem.config import capabilities
from heygem.config.params import Params, Settings
from heygem.core.errors import HeygemError, InputError
from heygem.evaluation import baselines, finetune_curve, lipreading, motion_metrics, rerender
from heygem.evaluation import split as held_out
from heygem.evaluation.av_offset import own_lag
from heygem.evaluation.cache import ResultCache
from heygem.evaluation.clips import gather
from heygem.evaluation.results import ADAPTED, MODEL, REAL, SEEN, TRACED, ClipResult, Row, Table
from heygem.evaluation.visuals import Visualizer
from heygem.face.backends import make_backend
from heygem.training import dataset

log = logging.getLogger(__name__)

MIN_SPEECH = 0.3  # share of held-out frames; below it there is no speech to judge
VOICE = 0.5  # voice activity from which a frame counts as speech


class EvaluateSettings(Settings):
    """How clips are split and what is measured."""

    share: float = Field(0.4, gt=0.1, lt=0.9, description="last part of a clip, judged [share]")
    guard_s: float = Field(1.0, ge=0.2, le=10, description="left out between the parts [s]")
    windows: int = Field(4, ge=4, le=64, description="windows the spread is taken over")
    anchors: bool = Field(True, description="draw and judge the anchor rows too")
    max_held_out_s: float = Field(
        30.0, ge=2, le=3600, description="judge no more of a clip than this [s]"
    )
    few_shot_s: tuple[float, ...] = Field(
        (), description="amounts of the person's own footage to adapt to [s]; none: no such curve"
    )
    drawn_s: float = Field(
        60.0, ge=0, description="of these, the largest up to this is drawn and tracked too [s]"
    )


def evaluate(
    clips, params=None, settings=None, *, others=(), name=None, progress=None, keep=None, look=None
):
    """Measure a lips model on clips it was not trained on.

    Parameters
    ----------
    clips : list of path or Clip
        Talking people with sound, six seconds or more each, or folders of them (see
        `heygem.evaluation.clips.gather`).
    params : heygem.config.params.Params, optional
        Face, lips and renderer settings; `params.lips.model` names the model.
    settings : EvaluateSettings, optional
    others : list of path
        Somebody else's speech, drawn into every clip.
    name : str, optional
        What the table calls the model; default: its file name.
    progress : callable, optional
        `progress(stage, done, total)` over clips.
    keep : path, optional
        Folder in which finished clips are kept: the same evaluation, started again, goes on.
    look : path, optional
        Folder that receives a contact sheet and a comparison video of each clip.

    Returns
    -------
    Table
        Clips that cannot be judged are in `Table.skipped` with the reason; the rest goes on.
    """
    params = params or Params()
    settings = settings or EvaluateSettings()
    if settings.few_shot_s:
        capabilities.require("finetune", seen="few_shot_s")
    model = lips.LipsModel.load(params.lips.model)
    backend = make_backend(params.face)
    table = Table(name or Path(params.lips.model or lips.SHIPPED).stem)
    kept = ResultCache(keep, params, settings, others) if keep is not None else None
    with tempfile.TemporaryDirectory(prefix="heygem-evaluate-") as folder:
        clips = gather(clips, folder)
        for done, clip in enumerate(clips):
            if progress is not None:
                progress(clip.name, done, len(clips))
            try:
                judged = kept.get(clip) if kept is not None else None
                if judged is None:
                    watch = Visualizer(look, clip) if look is not None else None
                    judged = judge_clip(
                        clip, model, params, settings, backend, others=others, watch=watch
                    )
                    if kept is not None:
                        kept.put(clip, judged)
                table.add(clip.name, judged)
            except HeygemError as error:
                log.warning("not judged: %s: %s", clip.name, error)
                table.skipped[clip.name] = str(error)
    if progress is not None:
        progress("done", len(clips), len(clips))
    if not table.rows:
        raise InputError(
            "no clip could be judged",
            seen="; ".join(f"{k}: {v}" for k, v in table.skipped.items()) or "no clips",
            remedy="give talking-head videos with sound, six seconds or longer",
        )
    return table


def judge_clip(clip, model, params, settings, backend, *, others=(), watch=None):
    """All there is to say of one clip.

    Parameters
    ----------
    clip : heygem.evaluation.clips.Clip
    model : heygem.lips.model.LipsModel
    watch : heygem.evaluation.visuals.Look, optional

    Returns
    -------
    Judged
    """
    person = held_out.learn(
        clip.path,
        params.face,
        share=settings.share,
        guard_s=settings.guard_s,
        boundary_s=clip.boundary_s,
    )
    samples = audio.load(clip.path).samples
    source = dataset.Source(clip.path, clip.speaker)
    first = dataset.from_track(
        source, person.first.track, samples[: int(person.split.library_end_s * audio.RATE_HZ)]
    )
    lag = own_lag(first, model)
    points = adapt_to(clip, person, first, samples, model, settings, lag)
    facts = {
        "sha256": clip.sha256,
        "speaker": clip.speaker,
        "parts": [part.name for part in clip.parts],
        "learnt_from_s": [0.0, person.split.library_end_s],
        "sync": clip.sync,
        "sync_check": lag.verdict,
        "file_lag_ms": round(1000 * lag.lag_s, 1) if lag.known else None,
    }
    points_only = [point for point, _ in points]
    try:
        stage = build_stage(person, samples, settings, words_said=clip.words, lag_s=lag.lag_s)
    except InputError as error:
        if len(points) < 2:
            raise
        return ClipResult(
            [], facts | {"not_drawn": str(error)}, points_only
        )  # curves say something
    split = stage.person.split
    end_s = float(stage.times_s[-1])
    facts["judged_on_s"] = [split.start_s, end_s]
    known = np.flatnonzero(split.library(person.avatar.track.times_s))
    facts["learnt_from_frames"] = [int(known[0]), int(known[-1])]
    facts["judged_on_frames"] = [int(stage.frames[0]), int(stage.frames[-1])]
    if stage.reader is not None:
        facts["words"] = len(stage.reader.of(stage.real, stage.said))
        facts["words_chance"] = stage.reader.chance(stage.real, stage.said)
    sound = cut(samples, split.start_s, end_s)
    own_times = stage.times_s - split.start_s

    def said(samples, model=model):
        """A model's mouth for a sound: float32 [T, L, 3]."""
        return speak(model, samples, params.lips, person.avatar).at(own_times)

    def row(method, measures, kind="own"):
        ranges = (0.0, split.library_end_s), (split.start_s, end_s)
        return Row(clip.name, clip.speaker, method, kind, measures, *ranges)

    def draw(displacement, method=MODEL, sound="own"):
        see = watch.taking(person, method, sound) if watch is not None else None
        return rerender.draw(stage, displacement, params.renderer, backend, on_frame=see)

    def judged(displacement, method=MODEL):
        drawn = draw(displacement, method)
        measures = rerender.against_real(stage, drawn.mouth, heard=method not in SEEN)
        return measures | rerender.pictures(stage, drawn, same_words=True)

    silent = draw(said(np.zeros_like(sound)), sound="silence")
    own = judged(said(sound)) | {"leak": rerender.leak(stage, silent.mouth)}
    rows = [row(REAL, rerender.against_real(stage, stage.real, heard=False)), row(MODEL, own)]
    adapted = [(p, m) for p, m in points if 0 < p.asked_s <= settings.drawn_s + 5]
    if adapted:
        point, taught = adapted[-1]
        facts["few_shot_drawn_s"] = point.seconds
        same = {key: measure for key, measure in own.items() if key != "leak"}
        # The base drawn again would be the same to the pixel.
        rows.append(row(ADAPTED, same if point.kept_base else judged(said(sound, taught), ADAPTED)))
    if settings.anchors:
        for method, displacement in anchor_mouths(stage, samples, sound, said):
            rows.append(row(method, judged(displacement, method)))
    for other in others:
        kind = f"other: {Path(other).name}"
        drawn = draw(said(np.resize(audio.load(other).samples, len(sound))), sound=kind)
        measures = rerender.motion(stage, drawn.mouth)
        measures |= rerender.pictures(stage, drawn, same_words=False)
        rows.append(row(MODEL, measures, kind))
    if watch is not None:
        watch.finish(stage, samples)
    return ClipResult(rows, facts, points_only)


def adapt_to(clip, person, first, samples, model, settings, lag):
    """The few-shot curve of a clip: list of (Point, LipsModel); empty if none is asked for.

    first : heygem.training.dataset.Clip of the part learnt from.
    """
    if not settings.few_shot_s:
        return []
    whole = dataset.from_track(first.source, person.avatar.track, samples)
    times_s = np.arange(len(whole.valid)) / lips.RATE_HZ
    judged = replace(whole, valid=whole.valid & person.split.held_out(times_s))
    more = dataset.load([dataset.Source(path, clip.speaker) for path in clip.more]).clips
    return finetune_curve.curve(
        [first, *more],
        judged,
        person,
        model,
        settings.few_shot_s,
        name=clip.name,
        lag_s=lag.lag_s,
        windows=settings.windows,
    )


def build_stage(person, samples, settings, *, words_said=(), lag_s=0.0):
    """Held-out frames, their real mouth and where there is speech.

    samples : float32 [n], the clip's sound, 16 kHz mono.
    words_said : sequence of heygem.evaluation.lipreading.Word
    lag_s : float, how much later the file's picture is than its sound.
    """
    avatar, split = person.avatar, person.split
    times_s = avatar.track.times_s
    voice = audio.voice_activity(samples)
    speech = audio.voice_at(voice, times_s) > VOICE
    split = replace(split, end_s=min(split.end_s, len(samples) / 16000))
    split = liveliest(split, times_s, speech, settings.max_held_out_s)
    person = replace(person, split=split)
    keep = split.held_out(times_s) & avatar.usable
    if keep.sum() < 2 * settings.windows:
        raise InputError(
            f"{avatar.path.name} has no usable face in its held-out part",
            seen=f"{int(keep.sum())} frames",
            remedy="use a clip in which the person looks roughly into the camera",
        )
    rate_hz = float(1 / np.median(np.diff(times_s)))
    found = avatar.track.found
    canonical = person.canonical(
        avatar.track.points[found], held_out.compact_runs(avatar.track, found), rate_hz
    )
    whole = motion_metrics.mouth_curves(canonical, times_s[found])
    real = whole.part(keep[found])
    if speech[keep].mean() < MIN_SPEECH:
        raise InputError(
            f"hardly anybody speaks in the held-out part of {avatar.path.name}",
            seen=f"{speech[keep].mean():.0%} of it",
            remedy="use another clip, or another share",
        )
    reader = None
    if words_said:
        try:
            reader = lipreading.Reader(whole, words_said, (0.0, split.library_end_s))
        except InputError as error:
            log.warning("words are not read: %s", error)
    return rerender.TestClip(
        person=person,
        frames=np.flatnonzero(keep),
        runs=held_out.compact_runs(avatar.track, keep),
        speech=speech[keep],
        real=real,
        closed_gap=motion_metrics.closed_gap(whole.aperture),
        windows=settings.windows,
        # A picture that is late shows later what is said now.
        own=whole.at(real.times_s + lag_s),
        reader=reader,
        said=tuple(words_said),
    )


def liveliest(split, times_s, speech, most_s):
    """The split with its held-out part cut down to the stretch of `most_s` with most speech.

    A pause judged as speech makes every ratio to the real mouth's movement meaningless.

    times_s : float64 [T]; speech : bool [T]
    """
    if split.end_s - split.start_s <= most_s:
        return split
    starts = np.arange(split.start_s, split.end_s - most_s + 1e-9, 0.2)
    spoken = [(speech & (times_s >= a) & (times_s < a + most_s)).sum() for a in starts]
    start_s = float(starts[int(np.argmax(spoken))])
    return replace(split, start_s=start_s, end_s=start_s + most_s)


def cut(samples, start_s, end_s, rate_hz=16000):
    """Part of a sound, with a little more at its end for the last frame."""
    return samples[int(start_s * rate_hz) : int((end_s + 0.1) * rate_hz)]


def speak(model, samples, knobs, avatar):
    """The trajectory of a sound for one person, knobs applied, as the pipeline does it."""
    scale = pipeline.speaker_scale(avatar, model)
    voice = audio.voice_activity(samples)
    shaped = lips.apply_controls(model.predict(samples), knobs, voice, opening_scale=scale)
    return lips.limit_aperture(
        shaped, pipeline.aperture_limit(avatar) * max(1.0, knobs.openness_gain)
    )


def anchor_mouths(stage, samples, sound, said):
    """(method, displacement [T, L, 3]) of the truth drawn again, and of every anchor."""
    avatar, split = stage.person.avatar, stage.person.split
    times_s = avatar.track.times_s
    known = np.flatnonzero(split.library(times_s) & avatar.usable)
    library, count = avatar.displacement(known), len(stage.frames)
    yield TRACED, avatar.displacement(stage.frames)
    yield "frozen mouth", baselines.frozen(library, count)
    yield "source-frame copy", baselines.source_copy(library, count)
    yield "mean mouth", baselines.mean_mouth(library, count)
    first = cut(samples, 0, split.library_end_s)
    own_times = stage.times_s - split.start_s
    yield (
        "energy-driven jaw",
        baselines.energy_jaw(
            library,
            baselines.loudness_db(first, times_s[known]),
            baselines.loudness_db(sound, own_times),
        ),
    )
    yield (
        "nearest-audio retrieval",
        baselines.nearest_audio(
            library, audio.log_mel(first), times_s[known], audio.log_mel(sound), own_times
        ),
    )
    if len(sound) >= 2 * 16000:
        yield "shuffled audio", said(baselines.shifted(sound))
