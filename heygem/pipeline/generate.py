"""One person, one sound, one labelled video.

Read top to bottom: `generate` loads what it needs, lets the model hear the sound, lays out which of
the person's frames is shown when, and then streams

    decode -> render the mouth -> paste -> label -> encode

with a few frames in flight between three threads, so that memory does not grow with length.
"""

import contextlib
import hashlib
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from heygem import __version__, media, provenance
from heygem import audio as sound
from heygem import avatar as people
from heygem.config.params import Params
from heygem.core import assets
from heygem.core.errors import Cancelled, OutputError
from heygem.core.files import sha256
from heygem.core.version import code_version
from heygem.lips.av_sync import av_agreement
from heygem.lips.controls import apply_controls, limit_aperture
from heygem.lips.trajectory import Trajectory
from heygem.pipeline.models import Models
from heygem.pipeline.people import load_person
from heygem.pipeline.streaming import BackgroundConsumer, prefetch
from heygem.pipeline.timeline import build_timeline, frames_in_order
from heygem.provenance import consent, keys
from heygem.provenance.ledger import Ledger
from heygem.rendering.compose import paste
from heygem.rendering.warp.renderer import WarpRenderer
from heygem.rendering.wav2lip import Wav2LipRenderer

load_models = Models  # public as `heygem.load_models`

PERSONAL_SCALE = (0.7, 1.5)  # how far a person's own articulation may scale the typical one
USUAL_REACH = 0.16  # lip gap that speech seldom passes [eye distances]


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes
    ----------
    path : Path
        The finished video.
    manifest : dict
        Facts that are worth keeping beside it (label, avatar report, sound, notes).
    duration_s : float
    frames : int
    skipped_frames : dict of str to int
        Frames left as they were, by reason.
    timings : dict of str to float
        Seconds by stage.
    warnings : list of str
    trajectory : heygem.lips.trajectory.Trajectory
        The mouth movement that was drawn, knobs applied.
    """

    path: Path
    manifest: dict
    duration_s: float
    frames: int
    skipped_frames: dict
    timings: dict
    warnings: list
    trajectory: Trajectory


def generate(video, audio, out, params=None, *, models=None, progress=None, cancel=None):
    """Make a person speak a sound.

    Parameters
    ----------
    video : path or heygem.avatar.Avatar
        The person: a video or a still portrait, the `.heygem` folder of one who was taught, or one
        already loaded.
    audio : path
        Any file with sound.
    out : path
        The video to write (.mp4, .mov or .mkv).
    params : heygem.config.params.Params, optional
    models : Models, optional
        Models already in memory; default: loaded here.
    progress : callable, optional
        `progress(stage, done, total)`; stages are "track", "listen", "render".
    cancel : threading.Event, optional
        Set it to stop; nothing is left behind.

    Returns
    -------
    Result

    Raises
    ------
    InputError, NoFaceError, OutputError, ParameterError, AssetError, Cancelled
    """
    params = params if params is not None else Params()
    progress = progress if progress is not None else (lambda stage, done, total: None)
    cancel = cancel if cancel is not None else threading.Event()
    clock = _Clock()

    def tell(stage, done, total):
        if cancel.is_set():
            raise Cancelled("stopped on request", remedy="run it again to make it")
        progress(stage, done, total)

    models = models if models is not None else Models(params)
    clock.lap("load")

    tell("listen", 0, 1)
    person = video if isinstance(video, people.Avatar) else None
    if person is None and media.is_avatar_bundle(video):
        person = load_person(video, params.face)
    heard = models.hear(audio, params.audio, person)
    tell("listen", 1, 1)
    clock.lap("listen")

    signing = keys.ensure()
    ledger = Ledger(keys=signing)
    sources = {
        "video": _hash(video) if person is None else person.sha256,
        "sound": _hash(audio),
    }
    permission = authorize(ledger, person, *sources.values(), basis=params.label.consent)
    if person is None:
        person = load_person(video, params.face, backend=models.faces, progress=tell)
    if person.bundle is not None:
        sources |= person.bundle.sources
    clock.lap("track")

    scale = speaker_scale(person, models.lips_of(person))
    trajectory = limit_aperture(
        apply_controls(heard.trajectory, params.lips, heard.voice, opening_scale=scale),
        aperture_limit(person) * max(1.0, params.lips.openness_gain),
    )
    timeline = build_timeline(person, heard.speech.duration_s, params.media)
    if params.engine == "wav2lip":
        engine = models.wav2lip(params.checkpoint)
        offset_ms = params.lips.offset_ms
        renderer = Wav2LipRenderer(engine, person, heard.speech.samples, offset_ms=offset_ms)
        renderer.plan(timeline.times_s, timeline.order)
    else:
        renderer = WarpRenderer(person, params.renderer, models.device)
        renderer.plan(Motion(trajectory, timeline.times_s), timeline.order)
    clock.lap("plan")

    labeller = provenance.Labeller(
        params.label,
        person.track.width,
        person.track.height,
        keys=signing,
        keep_clear=_face_boxes(person),
        device=models.device,
    )
    out = Path(out)
    passed = Counter()
    with _finished(out) as unfinished:
        writer = media.VideoWriter(
            unfinished,
            width=person.track.width,
            height=person.track.height,
            rate=timeline.rate,
            audio=heard.speech.source,
            crf=params.media.crf,
            preset=params.media.preset,
            metadata=labeller.tags,
            # A still has no clock of its own; a video's is kept, so that its times are exact.
            time_base=None if person.is_still else person.info.video.time_base,
            pixel_aspect=person.info.video.pixel_aspect,
        )
        with writer, BackgroundConsumer(lambda item: writer.write(*item)) as sink:
            for k, image in enumerate(prefetch(frames_in_order(person, timeline.order))):
                tell("render", k, len(timeline))
                patch = renderer.render(image, k) if k < timeline.spoken else None
                if patch is None:
                    passed[_reason(person, timeline, k)] += 1
                moment = float(timeline.times_s[k])
                sink.put((labeller.label_frame(paste(image, patch), moment), moment))
        tell("render", len(timeline), len(timeline))
        sealed = labeller.finalize(
            unfinished,
            ledger=ledger,
            parent=person.path,
            title=out.name,
            sound=(heard.speech.samples, sound.RATE_HZ),
            facts={
                "sources": sources,
                **({"finetuned": person.bundle.summary()} if person.bundle is not None else {}),
                "permission": permission,
                "params": params.model_dump(mode="json"),
                "models": {"lips": models.lips_sha256, **assets.pinned()},
                "code": code_version(),
            },
            version=__version__,
        )
    clock.lap("render")

    step = float(np.median(np.diff(timeline.times_s))) if len(timeline) > 1 else 0.0
    duration_s = float(timeline.times_s[-1]) + step
    timings = clock.seconds | {"seconds_per_second": clock.total / max(duration_s, 1e-6)}
    return Result(
        path=out,
        manifest={
            "label": sealed,
            "avatar": person.report,
            **({"finetuned": person.bundle.summary()} if person.bundle is not None else {}),
            "opening_scale": round(scale, 3),
            "measures": av_agreement(trajectory, heard),
            "device": models.device,
            "notes": [*heard.speech.notes, *person.track.notes, *sealed["notes"], *writer.notes],
        },
        duration_s=duration_s,
        frames=len(timeline),
        skipped_frames=dict(passed),
        timings={name: round(value, 3) for name, value in timings.items()},
        warnings=_warnings(heard, person, passed, len(timeline)),
        trajectory=trajectory,
    )


def authorize(ledger, person, video_sha256, sound_sha256, *, basis):
    """Go on only where this person and this sound may be used; see `consent.require`.

    A taught person brings along the consent that was stated when they were taught.
    """
    if person is not None and person.bundle is not None:
        basis = person.bundle.allow(ledger)
    return consent.require(ledger, video_sha256, sound_sha256, basis=basis)


@dataclass(frozen=True)
class Motion:
    """A trajectory at the times of a video's frames, worked out when it is asked for."""

    trajectory: Trajectory
    times_s: np.ndarray

    def __getitem__(self, rows):
        """Displacement from rest : float32 [n, len(LOWER), 3]."""
        return self.trajectory.at(self.times_s[rows])


def speaker_scale(person, lips):
    """How far this person opens the mouth in speech, over what the model's typical speaker does.

    Peers open mouths to half of the real spread; a person's own video says how wide they open it.
    """
    if person.speech_scale is None or lips.about.get("finetuned"):
        return 1.0  # a model of their own opens as they do already
    return float(np.clip(person.speech_scale / lips.opening_std, *PERSONAL_SCALE))


def aperture_limit(person):
    """Widest opening the person may be drawn with, in eye distances: their own, or a usual one."""
    return max(USUAL_REACH, 1.1 * person.report["widest_aperture"])


def _face_boxes(person):
    """Face boxes over the clip, for the label to keep clear of : list of (x0, y0, x1, y1)."""
    found = np.flatnonzero(person.track.found)
    some = found[np.linspace(0, len(found) - 1, min(len(found), 500)).astype(int)]
    points = person.track.points[some][..., :2]
    return np.concatenate([points.min(1), points.max(1)], 1).tolist()


def _reason(person, timeline, k):
    """Why output frame `k` passes through untouched."""
    if k >= timeline.spoken:
        return "after the sound"
    frame = timeline.order[k]
    if not person.track.found[frame]:
        return "no face"
    return (
        "turned away, too small, unclear or covered"
        if not person.usable[frame]
        else "beside such a frame"
    )


def _warnings(heard, person, passed, frames):
    warnings = [f.message for f in heard.findings if f.level != "info"]
    warnings += person.report["advice"]
    for reason, count in passed.items():
        warnings.append(f"{count} of {frames} frames left as they were: {reason}")
    return warnings


def _hash(path):
    """Content hash of an input, or the reason why it cannot be read, in the reader's words."""
    media.probe(path)
    return sha256(path)


@contextlib.contextmanager
def _finished(out):
    """A hidden path beside `out` that becomes `out` only when everything went well."""
    digest = hashlib.sha256(os.fsencode(out.name)).hexdigest()[:12]
    hidden = out.parent / f".{digest}-{os.getpid()}{out.suffix}"
    try:
        yield hidden
        os.replace(hidden, out)
    except OSError as error:
        raise OutputError(
            f"cannot write {out.name}", seen=error.strerror, remedy="check the output folder"
        ) from error
    finally:
        hidden.unlink(missing_ok=True)


@dataclass
class _Clock:
    """Seconds by stage."""

    seconds: dict = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, name):
        now = time.perf_counter()
        self.seconds[f"{name}_s"] = now - self._last
        self._last = now

    @property
    def total(self):
        return sum(self.seconds.values())
