"""Judge a lips model on real clips: the model, the truth, and anchors on one path.

For each clip a person is learnt from its first part; the held-out part is then drawn anew with
its own held-out sound (compared with the real mouth), with digital silence (leak), and with other
people's sound (movement, sharpness and seams: there is no truth to compare with).
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from heygem import audio, lips, pipeline
from heygem import avatar as avatars
from heygem.errors import HeygemError, InputError
from heygem.evaluate import anchors, curves, held_out, judge
from heygem.evaluate.table import MODEL, REAL, TRACED, Row, Table
from heygem.params import Params, Settings

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


@dataclass(frozen=True)
class Clip:
    """A video to judge on. `speaker` groups clips of one person in the means."""

    path: Path
    speaker: str

    @classmethod
    def of(cls, item):
        """A clip from a path (the speaker is the folder's name) or from a Clip."""
        if isinstance(item, cls):
            return item
        path = Path(item)
        return cls(path, path.resolve().parent.name)


def evaluate(clips, params=None, settings=None, *, others=(), name=None, progress=None, watch=None):
    """Measure a lips model on clips it was not trained on.

    Parameters
    ----------
    clips : list of path or Clip
        Talking people with sound, six seconds or more each.
    params : heygem.params.Params, optional
        Face, lips and renderer settings; `params.lips.model` names the model.
    settings : EvaluateSettings, optional
    others : list of path
        Somebody else's speech, drawn into every clip.
    name : str, optional
        What the table calls the model; default: its file name.
    progress : callable, optional
        `progress(stage, done, total)` over clips.
    watch : callable, optional
        `watch(person, method, sound, index, source, made)` for every frame drawn, to keep
        pictures of it; `sound` is "own", "silence" or "other: FILE".

    Returns
    -------
    Table
        Clips that cannot be judged are in `Table.skipped` with the reason; the rest goes on.
    """
    params = params or Params()
    settings = settings or EvaluateSettings()
    model = lips.LipsModel.load(params.lips.model)
    backend = avatars.make_backend(params.face)
    table = Table(name or Path(params.lips.model or lips.SHIPPED).stem)
    clips = [Clip.of(c) for c in clips]
    for done, clip in enumerate(clips):
        if progress is not None:
            progress(clip.path.name, done, len(clips))
        try:
            table.rows.extend(
                judge_clip(clip, model, params, settings, backend, others=others, watch=watch)
            )
        except HeygemError as error:
            log.warning("not judged: %s: %s", clip.path.name, error)
            table.skipped[clip.path.name] = str(error)
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
    """All rows of one clip: list of Row."""
    person = held_out.learn(clip.path, params.face, share=settings.share, guard_s=settings.guard_s)
    speech = audio.load(clip.path)
    stage = build_stage(person, speech.samples, settings)
    split = stage.person.split
    end_s = float(stage.times_s[-1])
    sound = cut(speech.samples, split.start_s, end_s)
    quiet = np.zeros_like(sound)
    own_times = stage.times_s - split.start_s

    def said(samples):
        """The model's mouth for a sound: float32 [T, L, 3]."""
        return speak(model, samples, params.lips, person.avatar).at(own_times)

    def row(method, measures, kind="own"):
        return Row(
            str(clip.path.name),
            clip.speaker,
            method,
            kind,
            measures,
            (0.0, split.library_end_s),
            (split.start_s, end_s),
        )

    def draw(displacement, method=MODEL, sound="own"):
        see = None
        if watch is not None:

            def see(index, source, made, mask):
                watch(person, method, sound, index, source, made)

        return judge.draw(stage, displacement, params.renderer, backend, on_frame=see)

    def judged(displacement, method=MODEL):
        drawn = draw(displacement, method)
        measures = judge.against_real(stage, drawn.mouth)
        return measures | judge.pictures(stage, drawn, same_words=True)

    silent = draw(said(quiet), sound="silence")
    own = judged(said(sound)) | {"leak": judge.leak(stage, silent.mouth)}
    rows = [row(REAL, judge.against_real(stage, stage.real)), row(MODEL, own)]
    if settings.anchors:
        for method, displacement in anchor_mouths(stage, speech.samples, sound, said):
            rows.append(row(method, judged(displacement, method)))
    for other in others:
        kind = f"other: {Path(other).name}"
        drawn = draw(said(np.resize(audio.load(other).samples, len(sound))), sound=kind)
        measures = judge.motion(stage, drawn.mouth)
        measures |= judge.pictures(stage, drawn, same_words=False)
        rows.append(row(MODEL, measures, kind))
    return rows


def build_stage(person, samples, settings):
    """Held-out frames, their real mouth and where there is speech.

    samples : float32 [n], the clip's sound, 16 kHz mono.
    """
    avatar, split = person.avatar, person.split
    times_s = avatar.track.times_s
    voice = audio.voice_activity(samples)
    at = np.clip((times_s * 100).round().astype(int), 0, len(voice) - 1)
    speech = voice[at] > VOICE
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
    whole = curves.mouth_curves(canonical, times_s[found])
    real = whole.part(keep[found])
    if speech[keep].mean() < MIN_SPEECH:
        raise InputError(
            f"hardly anybody speaks in the held-out part of {avatar.path.name}",
            seen=f"{speech[keep].mean():.0%} of it",
            remedy="use another clip, or another share",
        )
    return judge.Stage(
        person=person,
        frames=np.flatnonzero(keep),
        runs=held_out.compact_runs(avatar.track, keep),
        speech=speech[keep],
        real=real,
        closed_gap=curves.closed_gap(whole.aperture),
        windows=settings.windows,
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
    scale = pipeline.personal_scale(avatar, model)
    voice = audio.voice_activity(samples)
    shaped = lips.shape(model.predict(samples), knobs, voice, opening_scale=scale)
    return lips.within_reach(shaped, pipeline.reach(avatar) * max(1.0, knobs.openness_gain))


def anchor_mouths(stage, samples, sound, said):
    """(method, displacement [T, L, 3]) of the truth drawn again, and of every anchor."""
    avatar, split = stage.person.avatar, stage.person.split
    times_s = avatar.track.times_s
    known = np.flatnonzero(split.library(times_s) & avatar.usable)
    library, count = avatar.displacement(known), len(stage.frames)
    yield TRACED, avatar.displacement(stage.frames)
    yield "frozen mouth", anchors.frozen(library, count)
    yield "source-frame copy", anchors.source_copy(library, count)
    yield "mean mouth", anchors.mean_mouth(library, count)
    first = cut(samples, 0, split.library_end_s)
    own_times = stage.times_s - split.start_s
    yield (
        "energy-driven jaw",
        anchors.energy_jaw(
            library,
            anchors.loudness_db(first, times_s[known]),
            anchors.loudness_db(sound, own_times),
        ),
    )
    yield (
        "nearest-audio retrieval",
        anchors.nearest_audio(
            library, audio.log_mel(first), times_s[known], audio.log_mel(sound), own_times
        ),
    )
    if len(sound) >= 2 * 16000:
        yield "shuffled audio", said(anchors.shifted(sound))
