"""Whether all footage shows one person; checked before anything of it is used.

Faces of each file are compared with those of the primary video, in frames spread over it and in
every shot. There are three verdicts: the same person, doubtful (the user is asked), somebody else
(left out). The two limits are measured: `benchmarks/identity.py`, `docs/finetune.md`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from heygem import media
from heygem.avatar.avatar import Avatar
from heygem.core.errors import InputError
from heygem.core.types import BoolArray, FloatArray, IntArray
from heygem.face.identity import FaceEmbedder, unit

SAME, OTHER = 0.55, 0.35  # similarity from which on, and below which
SAMPLES = 24  # frames of each video
MAX_SHOTS = 100  # that are looked at one by one
PIECE = 3  # consecutive samples of a shot that are compared as one


class Verdict(StrEnum):
    """Whether a file shows the person of the primary video."""

    SAME = "same"
    DOUBTFUL = "doubtful"
    OTHER = "other"


@dataclass(frozen=True)
class Comparison:
    """One file against the primary video.

    Attributes
    ----------
    path : Path
    similarity : float
        Cosine of mean embeddings, -1..1: of the least similar piece that may show the person, or
        of the most similar one where none may.
    lowest, highest : float
        Of single frames.
    frames : int
        Compared.
    verdict : Verdict
    other : bool [T]
        Frames of a stretch that shows somebody else, in a file that also shows the person.
    confirmed : bool
        The user states that it is the same person.
    """

    path: Path
    similarity: float
    lowest: float
    highest: float
    frames: int
    verdict: Verdict
    other: BoolArray = field(repr=False)
    confirmed: bool = False

    @property
    def numbers(self) -> str:
        """What was measured, and the limits, in words."""
        return (
            f"similarity {self.similarity:.2f} ({self.lowest:.2f} to {self.highest:.2f} in single "
            f"frames, {self.frames} of them; one person from {SAME:.2f} on, two below {OTHER:.2f})"
        )

    @property
    def facts(self) -> dict[str, Any]:
        """As plain values, for `avatar.json`."""
        return {
            "name": self.path.name,
            "similarity": round(self.similarity, 3),
            "lowest": round(self.lowest, 3),
            "highest": round(self.highest, 3),
            "frames": self.frames,
            "verdict": str(self.verdict),
            "confirmed": self.confirmed,
        }


@dataclass(frozen=True)
class FaceSamples:
    """Frames of one video, their embeddings, and the pieces of a few frames that are compared.

    Attributes
    ----------
    frames : int [N]
        In order.
    piece : int [N]
        Of each frame, from 0 on without gaps.
    embeddings : float32 [N, 128]
        Of unit length.
    """

    frames: IntArray
    piece: IntArray
    embeddings: FloatArray

    @property
    def piece_means(self) -> FloatArray:
        """Mean embedding of each piece, of unit length : float [pieces, 128]."""
        sums = np.zeros((int(self.piece.max()) + 1, self.embeddings.shape[1]))
        np.add.at(sums, self.piece, self.embeddings)
        return unit(sums)

    @property
    def reference(self) -> FloatArray:
        """Mean embedding of the person whom most of the video shows, of unit length."""
        means = self.piece_means
        is_alike = means @ means.T >= OTHER
        sizes = np.bincount(self.piece)
        person = np.flatnonzero(is_alike[int((is_alike @ sizes).argmax())])
        return unit(self.embeddings[np.isin(self.piece, person)].mean(0))


def needs_check(avatars: Sequence[Avatar]) -> bool:
    """Whether there is anything to compare: several files, or several shots."""
    return len(avatars) > 1 or any(len(avatar.track.runs) > 1 for avatar in avatars)


def compare(
    avatars: Sequence[Avatar],
    embedder: FaceEmbedder,
    *,
    confirmed: Sequence[Path] = (),
    progress: Callable[[int, int], None] | None = None,
) -> list[Comparison]:
    """Compare all footage with the primary video.

    Parameters
    ----------
    avatars : sequence of Avatar
        The primary video first.
    embedder : FaceEmbedder
    confirmed : sequence of Path
        Files of which the user states that they show the same person.
    progress : callable, optional
        `progress(done, total)`, by video.

    Returns
    -------
    list of Comparison
        In the order of `avatars`.
    """
    samples = []
    for k, avatar in enumerate(avatars):
        if progress is not None:
            progress(k, len(avatars))
        samples.append(_embed(avatar, embedder))
    reference = samples[0].reference
    confirmed_paths = {path.resolve() for path in confirmed}
    return [
        _compare(avatar, sample, reference, is_confirmed=avatar.path.resolve() in confirmed_paths)
        for avatar, sample in zip(avatars, samples, strict=True)
    ]


def require_certainty(comparisons: Sequence[Comparison]) -> None:
    """Refuse footage that may show somebody else, unless the user states that it does not.

    Raises
    ------
    InputError
        It names both files and what was measured.
    """
    primary = comparisons[0].path.name
    for comparison in comparisons:
        name = comparison.path.name
        if comparison.verdict == Verdict.DOUBTFUL and not comparison.confirmed:
            raise InputError(
                f"{name} may show somebody else than {primary}"
                if comparison is not comparisons[0]
                else f"{name} may show more than one person",
                seen=comparison.numbers,
                remedy=f"look at them: leave out what shows somebody else, or state that all is "
                f"one person: --same-person {comparison.path} (in Python: same_person)",
            )


def judge(samples: FaceSamples, reference: FloatArray) -> tuple[float, IntArray, Verdict]:
    """The verdict on one video.

    Parameters
    ----------
    samples : FaceSamples
    reference : float [128]
        Of the primary video.

    Returns
    -------
    (float, int [n], Verdict)
        Similarity of the least similar piece that may show the person, or of the most similar one
        where none may; the pieces that show somebody else, in a video that also shows the person.
    """
    similarities = samples.piece_means @ reference
    may_be_person = similarities >= OTHER
    if not may_be_person.any():
        return float(similarities.max()), np.array([], int), Verdict.OTHER
    similarity = float(similarities[may_be_person].min())
    verdict = Verdict.SAME if similarity >= SAME else Verdict.DOUBTFUL
    return similarity, np.flatnonzero(~may_be_person), verdict


def _compare(
    avatar: Avatar, samples: FaceSamples, reference: FloatArray, *, is_confirmed: bool
) -> Comparison:
    similarity, pieces, verdict = judge(samples, reference)
    by_frame = samples.embeddings @ reference
    return Comparison(
        avatar.path,
        similarity,
        float(by_frame.min()),
        float(by_frame.max()),
        len(samples.frames),
        verdict,
        _frames_of(avatar, samples, pieces),
        is_confirmed and verdict == Verdict.DOUBTFUL,
    )


def _frames_of(avatar: Avatar, samples: FaceSamples, pieces: IntArray) -> BoolArray:
    """Frames that belong to some of the pieces: each to the nearest sample of its shot."""
    chosen = np.zeros(len(avatar.track), bool)
    for start, stop in avatar.track.runs:
        rows = np.flatnonzero((samples.frames >= start) & (samples.frames < stop))
        if not len(rows):  # nothing was looked at here
            chosen[start:stop] = avatar.usable[start:stop]
        else:
            distance = np.abs(np.arange(start, stop)[:, None] - samples.frames[rows])
            nearest = rows[distance.argmin(1)]
            chosen[start:stop] = np.isin(samples.piece[nearest], pieces)
    return chosen


def _embed(avatar: Avatar, embedder: FaceEmbedder) -> FaceSamples:
    """Embeddings of faces spread over a video, some in every shot."""
    frames, piece = _sample(avatar)
    sampled = set(frames.tolist())
    embeddings: dict[int, FloatArray] = {}
    with media.VideoReader(avatar.path, only=sampled) as reader:
        for frame in reader:
            if frame.index in sampled:
                points = avatar.track.points[frame.index]
                embeddings[frame.index] = embedder.embed(frame.image, points)
            if len(embeddings) == len(sampled):
                break
    return FaceSamples(frames, piece, np.stack([embeddings[k] for k in frames.tolist()]))


def _sample(avatar: Avatar) -> tuple[IntArray, IntArray]:
    """Usable frames to be compared, in order, and the piece of each : int [N], int [N]."""
    usable = np.flatnonzero(avatar.usable)
    spacing = max(1.0, len(usable) / SAMPLES)
    shots = [usable[(usable >= start) & (usable < stop)] for start, stop in avatar.track.runs]
    shots = [shot for shot in shots if len(shot)]
    if len(shots) > MAX_SHOTS:  # the longest ones; nothing is used of the others
        longest = sorted(shots, key=len)[-MAX_SHOTS:]
        shots = sorted(longest, key=lambda shot: int(shot[0]))
    frames: list[IntArray] = []
    pieces: list[IntArray] = []
    count = 0
    for shot in shots:
        number = int(np.clip(round(len(shot) / spacing), min(2, len(shot)), SAMPLES))
        chosen = shot[np.linspace(0, len(shot) - 1, number + 2).astype(int)[1:-1]]
        chosen = np.unique(chosen)
        groups = max(1, round(len(chosen) / PIECE))
        frames.append(chosen)
        pieces.append(count + np.arange(len(chosen)) * groups // len(chosen))
        count += groups
    return np.concatenate(frames), np.concatenate(pieces)
