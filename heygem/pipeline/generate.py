"""One avatar and one sound in, one labelled video out.

`generate` reads from top to bottom: it loads the models, encodes the sound, loads the avatar, turns
the predicted trajectory into this person's, decides which frame is shown when, and then streams

    decode -> render -> paste -> label -> encode

with a few frames in flight between three threads, so that memory does not grow with length.
"""

import contextlib
import hashlib
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from heygem import __version__, media
from heygem.audio import RATE_HZ, embedding
from heygem.avatar.avatar import Avatar
from heygem.avatar.reasons import describe
from heygem.avatar.still_animation import animate
from heygem.avatar.timeline import Timeline, build_timeline
from heygem.config.params import Params
from heygem.config.renamed import show_notice
from heygem.core import assets
from heygem.core.errors import InputError, ParameterError
from heygem.core.files import sha256_of_unchanged
from heygem.core.interrupts import observes_cancel
from heygem.core.memory import trim_heap
from heygem.core.publish import MayReplace, publishing
from heygem.core.types import Image, PathLike, Progress
from heygem.core.version import code_version, library_versions
from heygem.lips.av_sync import av_agreement
from heygem.lips.motion import Motion
from heygem.lips.trajectory import Trajectory
from heygem.media.container import printable
from heygem.media.encoders import choose_encoder
from heygem.media.stills import Still, StillTaker
from heygem.media.yuv import YuvImage
from heygem.pipeline.articulate import SpeakerStyle, articulate, speaker_style, with_expression
from heygem.pipeline.encoding import Film, encode, make_labeller
from heygem.pipeline.models import EncodedAudio, Models
from heygem.pipeline.people import load_person
from heygem.pipeline.preflight import (
    check_encoder,
    check_label,
    check_limits,
    check_result,
    input_files,
    replaces_results,
)
from heygem.pipeline.progress import StageClock, cancellable
from heygem.pipeline.renderers import find_engine, make_renderer
from heygem.pipeline.segments import (
    SEGMENT_S,
    identity_of,
    item_segments,
    plan_segments,
)
from heygem.provenance import consent
from heygem.provenance import keys as key_store
from heygem.provenance.keys import Keys
from heygem.provenance.labeller import ShowFrame
from heygem.provenance.ledger import Ledger
from heygem.rendering.base import Renderer


@dataclass(frozen=True)
class Result:
    """A finished video and the facts about it.

    Attributes
    ----------
    path : Path
    manifest : dict
        Facts to be stored beside the video: labels, avatar report, measures, notes.
    duration_s : float
    frames : int
    skipped_frames : dict of str to int
        Frames left as they were, by reason code; see `heygem.avatar.reasons`.
    timings : dict of str to float
        Seconds by stage, and milliseconds of processor time for each frame by step.
    warnings : list of str
    trajectory : Trajectory or None
        The mouth movement as drawn; None where the engine draws none.
    stills : sequence of Still
        Frames that were asked for; none where a part of the film is of an interrupted run.
    """

    path: Path
    manifest: dict[str, Any]
    duration_s: float
    frames: int
    skipped_frames: dict[str, int]
    timings: dict[str, float]
    warnings: list[str]
    trajectory: Trajectory | None
    stills: Sequence[Still] = ()

    @property
    def passed_through(self) -> dict[str, int]:
        """The name of `skipped_frames` in the last release."""
        show_notice("`Result.passed_through` is now called `Result.skipped_frames`")
        return self.skipped_frames


@observes_cancel
def generate(
    video: PathLike | Avatar,
    audio: PathLike,
    out: PathLike,
    params: Params | None = None,
    *,
    models: Models | None = None,
    trajectory: Trajectory | None = None,
    ledger: Ledger | None = None,
    keys: Keys | None = None,
    may_replace: MayReplace | None = None,
    segment_s: float = SEGMENT_S,
    progress: Progress | None = None,
    show_frame: ShowFrame | None = None,
    stills: tuple[int, int] = (0, 0),
    cancel: threading.Event | None = None,
) -> Result:
    """Make a person speak a sound.

    Parameters
    ----------
    video : path or Avatar
        The person: a video, a still portrait, an avatar bundle (`.heygem`), or a loaded avatar.
    audio : path
        Any file with sound.
    out : path
        The video to write (.mp4, .mov or .mkv).
    params : Params, optional
    models : Models, optional
        Models already in memory; default: loaded here.
    trajectory : Trajectory, optional
        Drawn exactly as given, in place of what the lips model predicts.
    ledger, keys : optional
        Where the result is recorded, and what it is signed with; default: this installation's.
    segment_s : float
        A result longer than two of these is encoded in segments of this length [s], which outlive
        a killed process: the next run of the same item continues after the last whole one.
    may_replace : callable, optional
        Called with the path of a file that has the name of the result: whether it may be replaced.
        Default: a result that is in the ledger, and any file with `inputs.overwrite`. An input is
        never replaced.
    progress : callable, optional
        `progress(stage, done, total)`; stages are "listen", "track", "render", "finish", "label".
    show_frame : callable, optional
        Called with each labelled frame and its time [s]; see
        `heygem.media.live_picture.LivePicture`.
    stills : tuple of int
        How many labelled frames, in the middles of equal parts of the film, the result is to have
        beside it, and their longer side at most, pixels.
    cancel : threading.Event, optional
        Set it to stop; nothing is left behind, unless it is a `StopEvent` that keeps the work.

    Raises
    ------
    InputError, NoFaceError, ConsentError, OutputError, ParameterError, AssetError, Cancelled
    """
    params = params if params is not None else Params()
    report_progress = cancellable(progress, cancel)
    clock = StageClock()
    models = models if models is not None else Models(params)
    keys = keys if keys is not None else key_store.ensure()
    ledger = ledger if ledger is not None else Ledger(keys=keys)
    clock.lap("load")

    out, inputs = Path(out), input_files(params, _path_of(video), audio)
    may_replace = may_replace if may_replace is not None else replaces_results(ledger, params)
    check_result(out, inputs=inputs, may_replace=may_replace)
    check_encoder(params.media)
    avatar = _loaded(video, params)
    check_label(params.label, _path_of(video) if avatar is None else avatar.path)
    _check_limits(params, _path_of(video) if avatar is None else avatar.path, audio)
    report_progress("listen", 0, 1)
    predict = trajectory is None and find_engine(params.engine).uses_motion
    encoded = models.encode_audio(audio, params.audio, avatar, predict=predict)
    report_progress("listen", 1, 1)
    clock.lap("listen")

    sources = {"video": _sha256_of(video, avatar), "sound": _sha256_of(audio)}
    permission = authorize(ledger, avatar, *sources.values(), basis=params.label.consent)
    if avatar is None:
        avatar = _track(video, params, models, sources["video"], report_progress)
    clock.lap("track")

    avatar = animate(avatar, encoded.speech.samples, RATE_HZ, params.media.still_motion)
    timeline = build_timeline(avatar, encoded.speech.duration_s, params.media)
    renderer = make_renderer(avatar, params, models)
    motion, style = _drawn_trajectory(renderer, trajectory, encoded, avatar, models, params)
    drawn: Motion | None = motion
    if motion is not None and style is not None:  # a trajectory that is given is drawn as it is
        drawn = with_expression(motion, avatar, timeline.order, params.lips)
    renderer.plan(drawn, encoded.speech.samples, timeline)
    clock.lap("plan")

    facts = _facts(avatar, models, params, sources, permission)
    spans = plan_segments(timeline.times_s, segment_s=segment_s, whole_s=2 * segment_s)
    size = {"width": avatar.track.width, "height": avatar.track.height}
    encoder = choose_encoder(params.media.encoder, device=models.device, **size)
    computed_by = models.device, encoder.codec
    identity = partial(_identity, facts, params, computed_by, keys, avatar, timeline, trajectory)
    with item_segments(out, identity, spans) as store:
        taker = StillTaker(timeline.times_s, *stills)
        watchers: list[ShowFrame] = [taker] if show_frame is None else [taker, show_frame]
        show_frame = partial(_show_to_all, watchers)
        labeller = make_labeller(avatar, params, keys, store, show_frame, models.device)
        film = Film(
            out.name, avatar, renderer, timeline, encoded, labeller, params, models.device, encoder
        )
        with (
            labeller.recorded_run(ledger, title=printable(out.name), facts=facts),
            publishing(out, inputs=inputs, may_replace=may_replace) as part,
        ):
            embedding.release_encoder()
            trim_heap()  # of what listening and planning needed
            encoding = encode(film, part, spans, store, report_progress)
            clock.lap("render")
            trim_heap()  # of frames, before the sealing takes memory of another kind
            report_progress("label", 0, 1)
            label = labeller.finalize(
                part,
                ledger=ledger,
                parent=avatar.path,
                title=printable(out.name),
                sound=(encoded.speech.samples, RATE_HZ),
                facts=facts,
                version=__version__,
            )
    clock.lap("seal")

    manifest = {
        "label": label,
        "avatar": avatar.report,
        **_bundle_facts(avatar),
        **_motion_facts(motion, encoded, style),
        "engine": params.engine,
        "device": models.device,
        "notes": [
            *encoded.speech.notes,
            *avatar.track.notes,
            *getattr(renderer, "notes", ()),
            *label["notes"],
            *([encoder.note] if encoder.note is not None else ()),
            *encoding.notes,
        ],
    }
    return Result(
        out,
        manifest,
        timeline.duration_s,
        len(timeline),
        dict(encoding.skipped),
        clock.timings(timeline.duration_s) | encoding.timings,
        _warnings(encoded, avatar, encoding.skipped, len(timeline)),
        motion,
        taker.stills,
    )


def _show_to_all(watchers: Sequence[ShowFrame], image: Image | YuvImage, time_s: float) -> None:
    for watcher in watchers:
        watcher(image, time_s)


def authorize(
    ledger: Ledger,
    avatar: Avatar | None,
    video_sha256: str,
    audio_sha256: str,
    *,
    basis: str | None,
) -> dict[str, Any]:
    """Refuse unless this person and this sound may be used; see `heygem.provenance.consent`.

    An avatar bundle carries the consent that was stated when it was fine-tuned.

    Raises
    ------
    ConsentError
    """
    if avatar is not None and avatar.bundle is not None:
        basis = avatar.bundle.authorize(ledger)
    return consent.require(ledger, video_sha256, audio_sha256, basis=basis)


def _loaded(video: PathLike | Avatar, params: Params) -> Avatar | None:
    """The avatar where nothing has to be tracked for it: given, or in an avatar bundle."""
    if isinstance(video, Avatar):
        return video
    return load_person(video, params.face) if media.is_avatar_bundle(video) else None


def _track(
    video: PathLike | Avatar,
    params: Params,
    models: Models,
    video_sha256: str,
    report_progress: Progress,
) -> Avatar:
    assert not isinstance(video, Avatar)
    backend = models.faces
    return load_person(
        video, params.face, backend=backend, progress=report_progress, sha256=video_sha256
    )


def _identity(
    facts: dict[str, Any],
    params: Params,
    computed_by: tuple[str, str],
    keys: Keys,
    avatar: Avatar,
    timeline: Timeline,
    trajectory: Trajectory | None,
) -> str:
    """What two runs have in common only if the segments of one may be used by the other."""
    parts = {
        **{name: facts[name] for name in ("sources", "models", "code")},
        "params": params.digest(),
        "device": computed_by,
        "libraries": library_versions(),
        "key": keys.name,
        "secret": hashlib.sha256(b"heygem segments" + keys.watermark_secret).hexdigest(),
    }
    given = () if trajectory is None else (trajectory.at(timeline.times_s),)
    return identity_of(parts, avatar.usable, timeline.order, timeline.times_s, *given)


def _drawn_trajectory(
    renderer: Renderer,
    trajectory: Trajectory | None,
    encoded: EncodedAudio,
    avatar: Avatar,
    models: Models,
    params: Params,
) -> tuple[Trajectory | None, SpeakerStyle | None]:
    """The trajectory to draw: the given one as it is, or the predicted one for this person.

    With the latter, how the person speaks.
    """
    if not renderer.uses_motion:
        if trajectory is not None:
            raise ParameterError(
                f"a trajectory has no effect with engine: {params.engine}",
                remedy="use engine: warp, or leave the trajectory out",
            )
        return None, None
    if trajectory is not None:
        changed = [
            name
            for name, control in type(params.lips).model_fields.items()
            if getattr(params.lips, name) != control.default
        ]
        if changed:
            raise ParameterError(
                f"`lips.{changed[0]}` has no effect on a trajectory that is given",
                remedy="apply it yourself with heygem.lips.apply_controls, and leave it out here",
            )
        return trajectory, None
    if encoded.predicted is None:
        raise ValueError("the sound was encoded without a prediction")
    prediction = encoded.predicted, encoded.voice, avatar, models.lips_of(avatar)
    style = speaker_style(*prediction)
    return articulate(*prediction, params.lips, style=style), style


def _facts(
    avatar: Avatar,
    models: Models,
    params: Params,
    sources: dict[str, str],
    permission: dict[str, Any],
) -> dict[str, Any]:
    """What the ledger records of a result beside its labels."""
    return {
        "sources": sources | dict(avatar.bundle.sources if avatar.bundle is not None else {}),
        **_bundle_facts(avatar),
        "permission": permission,
        "params": params.model_dump(mode="json"),
        "models": {"lips": models.lips_sha256, **assets.pinned()},
        "code": code_version(),
    }


def _bundle_facts(avatar: Avatar) -> dict[str, Any]:
    return {} if avatar.bundle is None else {"finetuned": avatar.bundle.summary()}


def _motion_facts(
    motion: Trajectory | None, encoded: EncodedAudio, style: SpeakerStyle | None
) -> dict[str, Any]:
    """Facts about the trajectory, where one was drawn; `style` where it was predicted."""
    if motion is None:
        return {}
    facts: dict[str, Any] = {"measures": av_agreement(motion, encoded)}
    if style is not None:
        facts["opening_scale"] = round(style.opening_scale, 3)
    return facts


def _warnings(
    encoded: EncodedAudio, avatar: Avatar, skipped: Counter[str], frames: int
) -> list[str]:
    warnings = [f.message for f in encoded.findings if f.level != "info"]
    warnings += avatar.report["advice"]
    for reason, count in skipped.items():
        warnings.append(f"{count} of {frames} frames left as they were: {describe(reason)}")
    return warnings


def _check_limits(params: Params, video: PathLike, audio: PathLike) -> None:
    """Before the sound is decoded; a file that cannot be probed is refused with its own message."""
    with contextlib.suppress(InputError):
        duration_s = media.probe(audio).duration_s
        return check_limits(params.resources, video, float(duration_s or 0.0))


def _path_of(video: PathLike | Avatar) -> PathLike:
    return video.path if isinstance(video, Avatar) else video


def _sha256_of(path: PathLike | Avatar, avatar: Avatar | None = None) -> str:
    """Content hash of an input; an unreadable file is an InputError with its reason."""
    if avatar is not None:
        return avatar.sha256
    assert not isinstance(path, Avatar)
    media.probe(path)
    return sha256_of_unchanged(path)  # a batch has just hashed it
