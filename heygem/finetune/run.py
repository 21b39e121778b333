"""Fine-tuning: from a person's footage to an avatar bundle.

Long steps are cached (tracks in the avatar cache, the fit in a checkpoint), so that an interrupted
run continues. The folder appears under its name when it is complete.
"""

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heygem import lips, media
from heygem.avatar import Avatar
from heygem.config.params import FaceSettings, Params
from heygem.core import assets, files
from heygem.core.errors import InputError, OutputError, ParameterError
from heygem.core.folders import make_private_folder
from heygem.core.interrupts import observes_cancel
from heygem.core.types import PathLike, Progress, Watch
from heygem.core.version import code_version
from heygem.finetune import bundle, bundle_writer, coverage, mouth_library, report
from heygem.finetune.adapt import Adaptation, adapt
from heygem.finetune.cancellation import CancellableProgress
from heygem.finetune.consent import Statement, check_consent, require_consent
from heygem.finetune.footage import Footage, check_identity, listen, track
from heygem.finetune.settings import FinetuneSettings
from heygem.provenance import installation, keys
from heygem.provenance.ledger import Ledger

SHORT_FOOTAGE_S = 55


@dataclass(frozen=True)
class FinetuneResult:
    """A fine-tuned avatar and how it was made.

    Attributes
    ----------
    path : Path
        The `.heygem` folder.
    facts : dict
        Its `avatar.json`.
    adaptation : heygem.finetune.adapt.Adaptation
    coverage : heygem.finetune.coverage.Coverage
    library : heygem.finetune.mouth_library.ExtendedLibrary
    seconds : dict of str to float
        By stage.
    notes : list of str
        For the user.
    """

    path: Path
    facts: dict[str, Any]
    adaptation: Adaptation
    coverage: coverage.Coverage
    library: mouth_library.ExtendedLibrary
    seconds: dict[str, float]
    notes: list[str]


@observes_cancel
def finetune(
    footage: Sequence[PathLike],
    out: PathLike,
    settings: FinetuneSettings | None = None,
    *,
    consent: Statement,
    face: FaceSettings | None = None,
    base: PathLike | None = None,
    same_person: Sequence[PathLike] = (),
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    watch: Watch | None = None,
) -> FinetuneResult:
    """Fine-tune an avatar to one person's footage.

    Parameters
    ----------
    footage : sequence of path
        Videos of that person speaking; results show the first.
    out : path
        The folder to make; its name ends in `.heygem`.
    settings : FinetuneSettings, optional
    consent : heygem.finetune.consent.Statement
        Stored in the folder and in the ledger.
    face : heygem.config.params.FaceSettings, optional
        Which face, where there are several.
    base : path, optional
        Base lips model; default: the bundled one.
    same_person : sequence of path
        Files of `footage` of which the user states that they show the same person, where the faces
        leave a doubt.
    progress : callable, optional
        `progress(stage, done, total)`.
    cancel : threading.Event, optional
        Set it to stop; nothing is left under `out`.
    watch : callable, optional
        `watch(name, value, step)` for curves.

    Raises
    ------
    InputError, NoFaceError
        Footage that cannot be used: no sound, no face, too little speech; or that may show
        somebody else. What does show somebody else is left out.
    ConsentError, ParameterError, OutputError, AssetError, Cancelled
    """
    out, paths = _check_arguments(out, footage, same_person)
    settings, face = settings or FinetuneSettings(), face or FaceSettings()
    stopwatch, report_progress = _Stopwatch(), CancellableProgress(progress, cancel)
    report_progress("check", 0, 1)
    sha256s = [files.sha256(path) for path in paths]
    ledger = Ledger(keys=keys.ensure())
    check_consent(ledger, consent, sha256s)
    model = lips.LipsModel.load(base)
    confirmed = [Path(path) for path in same_person]
    material = _gather(paths, sha256s, face, model, confirmed, report_progress, stopwatch)
    checkpoint = _checkpoint(material.sha256s)
    adaptation = report_progress.run(
        lambda: adapt(
            model,
            material.clips,
            settings,
            progress=report_progress,
            watch=watch,
            checkpoint=checkpoint,
        )
    )
    stopwatch.lap("learn")
    material = material.without_unused_sound(adaptation.clips)
    require_consent(ledger, consent, material.sha256s, avatar=out.name)
    primary, others = material.avatars[0], material.avatars[1:]
    extended = report_progress.run(
        lambda: mouth_library.extend(
            primary, others, progress=lambda done, total: report_progress("pictures", done, total)
        )
    )
    covered = coverage.measure(primary, others)
    stopwatch.lap("pictures")
    notes = [*_notes(adaptation), *covered.words, *material.notes]
    facts = _facts(material, adaptation, extended) | {
        "base_sha256": files.sha256(base or lips.SHIPPED),
        "settings": settings.model_dump(),
        "face": face.model_dump(mode="json"),
        "consent": consent.fields,
        "timings": dict(stopwatch.seconds),
        "notes": notes,
    }
    bundle_writer.write(
        out,
        facts,
        material.paths,
        _merge(material.avatars, extended),
        adaptation,
        covered,
        report_progress,
    )
    stopwatch.lap("write")
    return FinetuneResult(
        out, bundle.read(out), adaptation, covered, extended, stopwatch.seconds, notes
    )


def _gather(
    paths: Sequence[Path],
    sha256s: Sequence[str],
    face: FaceSettings,
    model: lips.LipsModel,
    confirmed: Sequence[Path],
    progress: CancellableProgress,
    stopwatch: "_Stopwatch",
) -> Footage:
    """Footage of one person, with its sound; nothing else is read of other people's files."""
    tracked = progress.run(lambda: track(paths, sha256s, face, progress))
    stopwatch.lap("track")
    checked = progress.run(lambda: check_identity(tracked, face, progress, confirmed=confirmed))
    stopwatch.lap("identity")
    complete = progress.run(lambda: listen(checked, model, progress))
    stopwatch.lap("listen")
    return complete


def consent_from_params(params: Params) -> Statement:
    """The consent of a recipe: `label.consent`, for `recorded` with the details in the ledger.

    Raises
    ------
    ConsentError
        None is recorded for the primary video.
    """
    ledger = Ledger(keys=keys.ensure())
    basis = installation.consent_basis(ledger.path.parent, params.label.consent)
    if basis != "recorded":
        return Statement(basis)
    if not params.inputs.videos:
        raise ParameterError("no footage is named", remedy="list it under inputs.videos")
    return Statement.on_record(ledger, files.hash_input(params.inputs.videos[0]))


def _check_arguments(
    out: PathLike, footage: Sequence[PathLike], same_person: Sequence[PathLike]
) -> tuple[Path, list[Path]]:
    """The folder to make and the files to use; raises where they cannot be used."""
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
    resolved = {path.resolve() for path in paths}
    for path in same_person:
        if Path(path).resolve() not in resolved:
            raise ParameterError(
                "a file that is said to show the same person is not among the footage",
                seen=path,
                remedy="name it as it is named among the footage",
            )
    if (out.exists() or out.is_symlink()) and not bundle.is_own(out):
        raise OutputError(
            f"{out.name} exists and is not an avatar bundle, or holds other files as well",
            remedy="choose another name",
        )
    for path in paths:
        if path.resolve().is_relative_to(out.resolve()):
            raise InputError(
                f"{path.name} lies in the folder that would be replaced",
                seen=out,
                remedy="choose another name for --out",
            )
        info = media.probe(path)
        if info.video is None or info.is_still:
            raise InputError(f"{path.name} is not a video", remedy="give videos of the person")
        if info.audio is None:
            raise InputError(
                f"{path.name} has no sound", remedy="give footage with the person's own voice"
            )
    return out, paths


def _checkpoint(sha256s: Sequence[str]) -> Path:
    """File of the fit to this footage, in heygem's own cache."""
    folder = make_private_folder(assets.home() / "finetune")
    return folder / f"{hashlib.sha256(''.join(sha256s).encode()).hexdigest()[:32]}.npz"


def _merge(avatars: Sequence[Avatar], extended: mouth_library.ExtendedLibrary) -> Avatar:
    """The first avatar, with the pictures and the widest aperture of all footage."""
    primary = avatars[0]
    widest = max(a.report["widest_aperture"] for a in avatars)
    return replace(
        primary, library=extended.library, report=primary.report | {"widest_aperture": widest}
    )


def _facts(
    material: Footage, adaptation: Adaptation, extended: mouth_library.ExtendedLibrary
) -> dict[str, Any]:
    """What `avatar.json` holds of footage and result; the keys are those of the format."""
    return {
        "format": bundle.FORMAT,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": code_version(),
        "shown": f"shown{material.paths[0].resolve().suffix.lower()}",
        "sources": _sources(material, adaptation),
        "left_out": material.left_out,
        "identity": material.identity,
        "seconds": round(adaptation.seconds, 2),
        "kept_base": adaptation.kept_base,
        "before": report.rounded(adaptation.before),
        "after": report.rounded(adaptation.after),
        "held_out": adaptation.held_out,
        "pictures": {
            "own": extended.own,
            "added": extended.added,
            "by_file": extended.by_file,
        },
    }


def _sources(material: Footage, adaptation: Adaptation) -> list[dict[str, Any]]:
    """One record for each file that is used."""
    lags = {c.sha256: c.lag_s for c in adaptation.clips}
    return [
        {
            "name": path.name,
            "sha256": sha256,
            "seconds": round(clip.duration_s, 2),
            "used": sha256 in lags,
            "picture_late_ms": round(1000 * lags.get(sha256, 0.0)),
            "face_px": person.report["face_px"],
        }
        for path, sha256, person, clip in zip(
            material.paths, material.sha256s, material.avatars, material.clips, strict=True
        )
    ]


def _notes(adaptation: Adaptation) -> list[str]:
    """Messages for the user about the fit."""
    before, after = adaptation.before.correlation, adaptation.after.correlation
    if adaptation.kept_base:
        notes = [
            "fine-tuning did not improve the mouth on held-out seconds "
            f"({before:.2f}, then {after:.2f}): the base model is kept"
        ]
    else:
        notes = [f"the mouth follows held-out speech better: {before:.2f}, now {after:.2f}"]
    if adaptation.seconds < SHORT_FOOTAGE_S:
        notes.append(f"{adaptation.seconds:.0f} s of footage; a minute or more is better")
    return notes


class _Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note the seconds since the last call under a stage's name."""
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 2)
        self._last = now
