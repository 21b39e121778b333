"""A person's footage: tracked, compared, with its sound; and what of it is left out, and why."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from heygem import audio, avatar, lips
from heygem.avatar import Avatar
from heygem.avatar.loading import without_frames
from heygem.config.params import FaceSettings
from heygem.core import assets
from heygem.core.errors import InputError
from heygem.core.types import BoolArray, Progress
from heygem.face import identity
from heygem.face.backends import make_backend
from heygem.finetune import identity_check
from heygem.finetune.identity_check import Comparison, Verdict
from heygem.training.clip import Clip, Source, from_track

MIN_FACE_PX = (
    32.0  # of further footage, for motion; the primary video's face needs `face.min_face_px`
)


@dataclass(frozen=True)
class Footage:
    """The files that are used, in one order; the first is the primary video.

    Attributes
    ----------
    paths : list of Path
    sha256s : list of str
    avatars : list of Avatar
    clips : list of Clip
    comparisons : list of Comparison
        Of all files whose faces were compared, those left out included.
    left_out : list of dict
        `name` and `reason` of each file of which nothing is used.
    notes : list of str
        For the user.
    """

    paths: list[Path]
    sha256s: list[str]
    avatars: list[Avatar]
    clips: list[Clip] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def without(self, reasons: dict[int, str]) -> "Footage":
        """The footage without some files, which are listed with their reasons : by row."""
        rows = [k for k in range(len(self.paths)) if k not in reasons]
        left_out = [{"name": self.paths[k].name, "reason": why} for k, why in reasons.items()]
        return replace(
            self,
            paths=[self.paths[k] for k in rows],
            sha256s=[self.sha256s[k] for k in rows],
            avatars=[self.avatars[k] for k in rows],
            clips=[self.clips[k] for k in rows if self.clips],
            left_out=[*self.left_out, *left_out],
            notes=[*self.notes, *(f"{f['name']}: {f['reason']}; left out" for f in left_out)],
        )

    def without_unused_sound(self, used: Sequence[Clip]) -> "Footage":
        """The footage without files whose sound the fit did not use.

        The primary video stays, because results show it; its own movement is then not used.
        """
        used_sha256s = {clip.sha256 for clip in used}
        unused = [k for k, sha256 in enumerate(self.sha256s) if sha256 not in used_sha256s]
        why = "sound and picture do not belong together"
        footage = self.without({k: why for k in unused if k > 0})
        if 0 not in unused:
            return footage
        note = f"{self.paths[0].name}: {why}; its pictures are used, its speech is not"
        return replace(footage, notes=[*footage.notes, note])

    @property
    def identity(self) -> list[dict[str, Any]]:
        """What was measured of the files that are used, as plain values; no embeddings."""
        used = {path.resolve() for path in self.paths}
        return [c.facts for c in self.comparisons if c.path.resolve() in used]


def track(
    paths: Sequence[Path], sha256s: Sequence[str], face: FaceSettings, progress: Progress
) -> Footage:
    """Track every file; a second copy of a file is not used."""
    unique: dict[str, Path] = {}
    for path, sha256 in zip(paths, sha256s, strict=True):
        unique.setdefault(sha256, path)
    backend = make_backend(face)
    smaller = face.model_copy(update={"min_face_px": min(MIN_FACE_PX, face.min_face_px)})
    avatars = []
    for k, (sha256, path) in enumerate(unique.items()):
        stage = "track" if len(unique) == 1 else f"track {k + 1}/{len(unique)}"
        avatars.append(
            avatar.load(
                path,
                face if k == 0 else smaller,
                backend=backend,
                sha256=sha256,
                progress=lambda _, done, total, stage=stage: progress(stage, done, total),
            )
        )
    return Footage(list(unique.values()), list(unique), avatars)


def check_identity(
    footage: Footage, face: FaceSettings, progress: Progress, *, confirmed: Sequence[Path] = ()
) -> Footage:
    """Leave out what shows somebody else than the primary video does: files, and shots of files.

    Raises
    ------
    InputError
        A file is doubtful, and the user has not stated that it shows the same person.
    AssetError
        The model that tells people apart is not there.
    NoFaceError
        Nothing is left of the primary video.
    """
    if not identity_check.needs_check(footage.avatars):
        return footage
    comparisons = identity_check.compare(
        footage.avatars,
        identity.FaceEmbedder(assets.path(identity.MODEL)),
        confirmed=confirmed,
        progress=lambda done, total: progress("identity", done, total),
    )
    identity_check.require_certainty(comparisons)
    avatars, notes = [], list(footage.notes)
    for person, comparison in zip(footage.avatars, comparisons, strict=True):
        if comparison.verdict != Verdict.OTHER and comparison.other.any():
            stretches = _stretches(person, comparison.other)
            notes.append(f"{person.path.name}: somebody else at {stretches}; left out")
            person = without_frames(person, comparison.other, face)
        avatars.append(person)
    strangers = {
        k: f"shows somebody else than {footage.paths[0].name}, {comparison.numbers}"
        for k, comparison in enumerate(comparisons)
        if comparison.verdict == Verdict.OTHER
    }
    notes += [
        f"{c.path.name}: taken for the same person because you say so, {c.numbers}"
        for c in comparisons
        if c.confirmed
    ]
    checked = replace(footage, avatars=avatars, comparisons=comparisons, notes=notes)
    return checked.without(strangers)


def listen(footage: Footage, model: lips.LipsModel, progress: Progress) -> Footage:
    """The footage with its clips: audio features and motion, valid where the face is usable.

    Further footage that shows less than a second of the person is left out.

    Raises
    ------
    InputError
        The primary video shows less than a second.
    """
    clips, unusable = [], {}
    for k, person in enumerate(footage.avatars):
        try:
            clips.append(_clip(person, model, progress))
        except InputError as error:
            if k == 0:
                raise
            unusable[k] = str(error.what)
    return replace(footage.without(unusable), clips=clips)


def _clip(person: Avatar, model: lips.LipsModel, progress: Progress) -> Clip:
    progress("listen", 0, 1)
    samples = audio.load(person.path).samples
    source = Source(person.path, "person")
    clip = from_track(
        source, person.track, samples, sha256=person.sha256, embedding=model.embedding
    )
    times_s = np.arange(len(clip.valid)) / lips.RATE_HZ
    frame = np.clip(np.searchsorted(person.track.times_s, times_s), 0, len(person.track) - 1)
    return replace(clip, valid=clip.valid & person.usable[frame])


def _stretches(person: Avatar, frames: BoolArray) -> str:
    """Stretches of frames in words: `3.2-5.0 s, 9.1-9.8 s`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], frames.astype(int), [0]])))
    times_s = person.track.times_s
    return ", ".join(
        f"{times_s[start]:.1f}-{times_s[stop - 1]:.1f} s"
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
    )
