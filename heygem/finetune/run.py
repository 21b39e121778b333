"""From a person's footage to a `.heygem` folder: track, listen, learn, gather, write.

What takes long is kept as it goes (tracks in the avatar cache, what was learnt in a checkpoint), so
that a run that was stopped goes on. The folder appears under its name when it is whole.
"""

import contextlib
import hashlib
import os
import shutil
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from heygem import audio, lips, media
from heygem import avatar as avatars
from heygem.config.params import FaceSettings
from heygem.core import assets
from heygem.core import files as core_files
from heygem.core.errors import Cancelled, InputError, OutputError, ParameterError
from heygem.core.files import hash_input, write_json
from heygem.core.version import code_version
from heygem.face.backends import make_backend
from heygem.finetune import adapter, bundle, coverage, mouth_library, report
from heygem.finetune.adapt import Adapted, FinetuneSettings, adapt
from heygem.finetune.consent import Statement, require_consent
from heygem.finetune.identity_check import same_person
from heygem.provenance import keys
from heygem.provenance.ledger import Ledger
from heygem.training import dataset

SMALLEST_PX = 32.0  # a face that teaches movement; the shown one must be as large as ever


@dataclass(frozen=True)
class FinetuneResult:
    """What came out.

    Attributes
    ----------
    path : Path
        The `.heygem` folder.
    facts : dict
        Its `avatar.json`.
    adapted : heygem.finetune.adapt.Adapted
    coverage : heygem.finetune.coverage.Coverage
    library : heygem.finetune.mouth_library.Added
    seconds : dict of str to float
        By stage.
    notes : list of str
        What the user should know, in words.
    """

    path: Path
    facts: dict
    adapted: Adapted
    coverage: coverage.Coverage
    library: mouth_library.Added
    seconds: dict
    notes: list


def finetune(
    footage,
    out,
    settings=None,
    *,
    consent,
    face=None,
    base=None,
    progress=None,
    cancel=None,
    watch=None,
):
    """Teach the kit one person.

    Parameters
    ----------
    footage : list of path
        Videos of that person speaking; results show the first.
    out : path
        The folder to make; its name ends in `.heygem`.
    settings : FinetuneSettings, optional
    consent : heygem.finetune.consent.Statement
        By what right; kept in the folder and in the ledger.
    face : heygem.config.params.FaceSettings, optional
        Which face, where there are several.
    base : path, optional
        Lips model to begin with; default: the kit's own.
    progress : callable, optional
        `progress(stage, done, total)`.
    cancel : threading.Event, optional
        Set it to stop; nothing is left under `out`.
    watch : callable, optional
        `watch(name, value, step)` for curves.

    Returns
    -------
    Taught

    Raises
    ------
    InputError, NoFaceError
        Footage that cannot be used: no sound, no face, another face, too little speech.
    ConsentError, ParameterError, OutputError, AssetError, Cancelled
    """
    out, paths = _checked(out, footage)
    clock = _Clock()

    tell = _Teller(progress, cancel)
    tell("check", 0, 1)
    sha256s = [core_files.sha256(path) for path in paths]
    require_consent(Ledger(keys=keys.ensure()), consent, sha256s, avatar=out.name)
    model = lips.LipsModel.load(base)
    people = tell.wait(lambda: _track(paths, face or FaceSettings(), tell))
    shown, others = people[0], people[1:]
    doubts = same_person(people)
    clock.lap("track")
    clips = tell.wait(lambda: [_clip(person, model, tell) for person in people])
    clock.lap("listen")
    place = _checkpoint(sha256s)
    adapted = tell.wait(
        lambda: adapt(model, clips, settings, progress=tell, watch=watch, checkpoint=place)
    )
    clock.lap("learn")
    added = tell.wait(
        lambda: mouth_library.grow(shown, others, tell=lambda k, n: tell("pictures", k, n))
    )
    seen = coverage.measure(shown, others)
    widest = max(person.report["widest_aperture"] for person in people)
    shown = replace(shown, library=added.library, report=shown.report | {"widest_aperture": widest})
    clock.lap("pictures")
    notes = [*_notes(adapted, seen), *doubts]
    facts = {
        "format": bundle.FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": code_version(),
        "base_sha256": core_files.sha256(base or lips.SHIPPED),
        "shown": f"shown{paths[0].suffix.lower()}",
        "sources": _sources(paths, sha256s, people, clips, adapted),
        "seconds": round(adapted.seconds, 2),
        "kept_base": adapted.kept_base,
        "before": report.numbers(adapted.before),
        "after": report.numbers(adapted.after),
        "held_out": adapted.held_out,
        "settings": (settings or FinetuneSettings()).model_dump(),
        "face": (face or FaceSettings()).model_dump(mode="json"),
        "consent": consent.fields,
        "pictures": {"own": added.own, "added": added.added, "by_file": added.by_file},
        "timings": dict(clock.seconds),
        "notes": notes,
    }
    tell("write", 0, 1)
    with _whole(out) as hidden:
        _write(hidden, facts, paths[0], shown, adapted, seen, tell)
    clock.lap("write")
    return FinetuneResult(out, bundle.read(out), adapted, seen, added, clock.seconds, notes)


def consent_of(params):
    """The consent that a recipe states: `label.consent`, the details of `recorded` by the ledger.

    Raises
    ------
    ConsentError
        None is recorded for the shown video.
    """
    basis = params.label.consent
    if basis != "recorded":
        return Statement(basis)
    if not params.inputs.videos:
        raise ParameterError("no footage is named", remedy="list it under inputs.videos")
    shown = hash_input(params.inputs.videos[0])
    return Statement.on_record(Ledger(keys=keys.ensure()), shown)


def _checked(out, footage):
    """The folder to make and the files to learn from, or why not."""
    out = Path(out)
    paths = list(dict.fromkeys(Path(path) for path in footage))
    if out.suffix != media.BUNDLE_SUFFIX:
        raise ParameterError(
            f"the avatar's name must end in {media.BUNDLE_SUFFIX}",
            seen=out.name,
            remedy=f"use {out.with_suffix(media.BUNDLE_SUFFIX).name}",
        )
    if not paths:
        raise ParameterError("no footage is named", remedy="give one video or more")
    if out.exists() and not (out / bundle.FACTS).is_file():
        raise OutputError(
            f"{out.name} is there and is no taught avatar", remedy="choose another name"
        )
    for path in paths:
        info = media.probe(path)
        if info.video is None or info.is_still:
            raise InputError(f"{path.name} is not a video", remedy="give videos of the person")
        if info.audio is None:
            raise InputError(
                f"{path.name} has no sound",
                remedy="give footage in which the person is heard speaking",
            )
    return out, paths


def _track(paths, face, tell):
    """One Avatar for each video; later ones may show a smaller face."""
    backend = make_backend(face)
    found = []
    smaller = face.model_copy(update={"min_face_px": min(SMALLEST_PX, face.min_face_px)})
    for k, path in enumerate(paths):
        stage = "track" if len(paths) == 1 else f"track {k + 1}/{len(paths)}"
        found.append(
            avatars.load(
                path,
                face if k == 0 else smaller,
                backend=backend,
                progress=lambda _, done, total, stage=stage: tell(stage, done, total),
            )
        )
    return found


def _clip(person, model, tell):
    """What is heard and how the mouth moves, where the face can be used."""
    tell("listen", 0, 1)
    samples = audio.load(person.path).samples
    source = dataset.Source(person.path, "person")
    clip = dataset.from_track(source, person.track, samples, sha256=person.sha256)
    if model.encoder is not None:
        more = model.encoder.encode(samples, rows=len(clip.features))
        clip = replace(clip, features=np.concatenate([clip.features, more], 1).astype(np.float32))
    times_s = np.arange(len(clip.valid)) / lips.RATE_HZ
    frame = np.clip(np.searchsorted(person.track.times_s, times_s), 0, len(person.track) - 1)
    return replace(clip, valid=clip.valid & person.usable[frame])


def _checkpoint(sha256s):
    place = assets.home() / "finetune"
    place.mkdir(parents=True, exist_ok=True)
    return place / f"{hashlib.sha256(''.join(sha256s).encode()).hexdigest()[:32]}.npz"


def _sources(paths, sha256s, people, clips, adapted):
    """What each file gave."""
    lags = {c.sha256: c.lag_s for c in adapted.clips}
    return [
        {
            "name": path.name,
            "sha256": sha256,
            "seconds": round(clip.duration_s, 2),
            "used": sha256 in lags,
            "picture_late_ms": round(1000 * lags.get(sha256, 0.0)),
            "face_px": person.report["face_px"],
        }
        for path, sha256, person, clip in zip(paths, sha256s, people, clips, strict=True)
    ]


def _notes(adapted, seen):
    """What the user should know."""
    before, after = adapted.before.correlation, adapted.after.correlation
    if adapted.kept_base:
        gain = f"{before:.2f}, then {after:.2f}"
        notes = [
            f"learning made the mouth no better on held-out seconds ({gain}): the base is kept"
        ]
    else:
        notes = [f"the mouth follows held-out speech better: {before:.2f}, now {after:.2f}"]
    if adapted.seconds < 55:
        notes.append(f"learnt from {adapted.seconds:.0f} s; a minute or more teaches more")
    for clip in adapted.dropped:
        notes.append(f"{clip.source.path.name}: sound and picture do not belong together; left out")
    return [*notes, *seen.words]


def _write(hidden, facts, source, shown, adapted, seen, tell):
    """All files of the folder, `avatar.json` with their hashes last."""
    target = hidden / facts["shown"]
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copyfile(source, target)
    tell("write", 0, 1)
    avatars.cache.write(hidden / bundle.PERSON, shown)
    if not adapted.kept_base:
        adapter.save(adapted.change, hidden / bundle.ADAPTER, base_sha256=facts["base_sha256"])
    tell("write", 0, 1)
    report.write(hidden, facts, shown, adapted, seen)
    files = sorted(path for path in hidden.iterdir())
    for path in files:
        path.chmod(0o644)  # what was written through a temporary file is its writer's alone
    facts["files"] = {path.name: core_files.sha256(path) for path in files}
    write_json(hidden, facts, name=bundle.FACTS)
    tell("write", 1, 1)


@contextlib.contextmanager
def _whole(out):
    """A hidden folder beside `out` that takes its place when everything went well."""
    hidden = out.with_name(f".{out.name}-{os.getpid()}")
    old = out.with_name(f".{out.name}-{os.getpid()}-old")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        hidden.mkdir()
        yield hidden
        if out.exists():
            out.rename(old)
        hidden.rename(out)
    except OSError as error:
        if old.exists() and not out.exists():
            old.rename(out)
        raise OutputError(
            f"cannot write {out.name}", seen=error.strerror, remedy="check the output folder"
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


class _Teller:
    """Tells of progress, and notices a cancel within a moment, whatever is being worked at."""

    def __init__(self, progress, cancel):
        self._progress = progress
        self._cancel = cancel if cancel is not None else threading.Event()
        self._gone = threading.Event()  # nobody waits any longer

    def __call__(self, stage, done, total):
        if self._cancel.is_set() or self._gone.is_set():
            raise Cancelled("stopped on request", remedy="run it again to go on")
        if self._progress is not None:
            self._progress(stage, done, total)

    def wait(self, act):
        """Result of `act`, which works in a thread; on a cancel it is left behind to end itself."""
        came = {}

        def work():
            try:
                came["value"] = act()
            except BaseException as error:
                came["error"] = error

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.1)
                if self._cancel.is_set():
                    raise Cancelled("stopped on request", remedy="run it again to go on")
        except BaseException:
            self._gone.set()
            raise
        if "error" in came:
            raise came["error"]
        return came["value"]


class _Clock:
    """Seconds by stage."""

    def __init__(self):
        self.seconds = {}
        self._last = time.perf_counter()

    def lap(self, name):
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 2)
        self._last = now
