"""Whether two files look and sound alike, judged by their fingerprints.

Each of picture and sound is `SAME`, `DIFFERENT`, or `UNKNOWN` where neither can be said: a copy
may have been cropped or put into another picture, and an honest copy must not be called a forgery.
The limits come from `benchmarks/fingerprint.py`; docs/compliance.md has the measurements.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heygem.core.types import FloatArray, IntArray
from heygem.provenance.fingerprint import (
    AUDIO_STEP_S,
    VIDEO_STEP_S,
    Fingerprint,
    FrameHasher,
    hash_audio,
)
from heygem.provenance.layout_search import find_layout

SAME, DIFFERENT, UNKNOWN, ABSENT = "same", "different", "unknown", "absent"

# Share of differing bits: copies as they were made have up to 0.16, a banner over a third of the
# picture up to 0.37, unrelated videos 0.20 or more and 0.48 in the median.
MAX_SAME_PICTURE = 0.18
MIN_UNLIKE_PICTURE = 0.38  # cropped copies exceed it too: only beside another difference
# Half of 1 - correlation, at the best of all crops, insets and turns.
MAX_SAME_LAYOUT = 0.10
MIN_DIFFERENT_LAYOUT = 0.30
MIN_UNLIKE_LAYOUT = 0.17  # at the original's own geometry
MIN_UNLIKE_PART = 0.20  # after a search; copies have at most 0.12, other films 0.18 or more
MAX_SAME_SOUND = 0.35  # Haitsma and Kalker's threshold
MAX_SAME_RETIMED_SOUND = 0.32  # at the best of many speeds
MIN_DIFFERENT_SOUND = 0.42
MIN_PICTURE_HASHES = 4  # 2 s
MIN_SOUND_HASHES = 16  # 1.7 s
_MIN_RETIMED_HASHES = 32
MAX_LENGTHENING = 1.35  # of a copy that is played at 0.8 of its speed, with a margin
_PART_PICTURE = (4, 0.30)  # hashes (2 s), and the error from which they do not fit
_PART_SOUND = (16, MIN_DIFFERENT_SOUND)  # 1.5 s
_BLOCK = 64  # hashes that are aligned as one
_MAX_BLOCKS = 100  # ten minutes of sound; in a longer one, as many parts of it
_OFFSETS_S = AUDIO_STEP_S * np.arange(4) / 4  # a copy's windows begin between the original's
_SPEEDS = np.setdiff1d(np.round(np.arange(0.79, 1.27, 0.015), 3), [1.0])
_RETIMED_S = 10.0  # length of the sound that is tried at all speeds


@dataclass(frozen=True)
class ExaminedContent:
    """Picture and sound of the file at hand, as far as comparisons need them.

    Attributes
    ----------
    fingerprint : Fingerprint
    mirrored : uint64 [n]
        Hashes of the mirrored frames.
    thumbnails : list of uint8 [THUMBNAIL_PX, THUMBNAIL_PX]
    samples : float32 [n]
        Mono sound.
    rate_hz : int
    """

    fingerprint: Fingerprint
    mirrored: NDArray[np.uint64]
    thumbnails: list[NDArray[np.uint8]]
    samples: FloatArray
    rate_hz: int

    @classmethod
    def of(cls, hasher: FrameHasher, samples: FloatArray, rate_hz: int) -> "ExaminedContent":
        """Take over what was collected while the file was read."""
        fingerprint = hasher.fingerprint(hash_audio(samples, rate_hz))
        return cls(fingerprint, hasher.mirrored_hashes, hasher.thumbnails, samples, rate_hz)

    @cached_property
    def shifted_audio(self) -> list[NDArray[np.uint32]]:
        """Audio hashes with windows that begin at each of `_OFFSETS_S`."""
        return [hash_audio(self.samples, self.rate_hz, start_s=start) for start in _OFFSETS_S]

    @cached_property
    def retimed_audio(self) -> list[NDArray[np.uint32]]:
        """Audio hashes of an excerpt at all speeds, with and without change of pitch."""
        length = int(_RETIMED_S * self.rate_hz)
        start = max(0, (len(self.samples) - length) // 2)
        excerpt = self.samples[start : start + length]
        return [
            hashes
            for speed in _SPEEDS
            for start_s in _OFFSETS_S[::2]
            for hashes in (
                hash_audio(excerpt, round(self.rate_hz / speed), start_s=start_s),
                hash_audio(excerpt, self.rate_hz, start_s=start_s, tempo=speed),
            )
        ]


@dataclass(frozen=True)
class Similarity:
    """How alike a file and a recorded result are.

    Attributes
    ----------
    picture, sound : str
        `SAME`, `DIFFERENT`, `UNKNOWN` (also of too little), or `ABSENT` (one of them has none).
    picture_error, layout_error, sound_error : float or None
        What this was decided by, 0..1; unrelated files have about 0.5 (`layout_error`: 0.25).
    picture_misfit, sound_misfit : float
        Share of parts of `SAME` ones that do not fit, 0..1.
    seconds, recorded_seconds : float
        Durations of the file and of the result, to half a second.
    """

    picture: str
    sound: str
    picture_error: float | None = None
    layout_error: float | None = None
    sound_error: float | None = None
    picture_misfit: float = 0.0
    sound_misfit: float = 0.0
    seconds: float = 0.0
    recorded_seconds: float = 0.0

    @property
    def is_extended(self) -> bool:
        """Whether the file is so much longer than the result that most of it is something else."""
        return self.seconds > MAX_LENGTHENING * self.recorded_seconds + 2

    @property
    def is_same(self) -> bool:
        """Both are the same."""
        return self.picture == self.sound == SAME

    @property
    def is_same_as_made(self) -> bool:
        """The picture is the same without any change of its geometry."""
        return self.picture_error is not None and self.picture_error <= MAX_SAME_PICTURE

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        errors = {
            "picture_error": self.picture_error,
            "layout_error": self.layout_error,
            "sound_error": self.sound_error,
        }
        rounded = {name: round(value, 3) for name, value in errors.items() if value is not None}
        return {
            "picture": self.picture,
            "sound": self.sound,
            **rounded,
            "seconds": self.seconds,
            "recorded_seconds": self.recorded_seconds,
        }


def compare(
    content: ExaminedContent,
    recorded: Fingerprint,
    *,
    search: bool = True,
    is_as_made: bool = False,
) -> Similarity:
    """Compare a file with the fingerprint of a recorded result.

    Parameters
    ----------
    content, recorded
    search
        Also search for crops, insets, turns and other speeds, which takes about a second.
    is_as_made
        The geometry is known to be the original's, or its mirror image, from the watermark: then
        a picture that does not match is `DIFFERENT` without a search.
    """
    own = content.fingerprint
    sound, sound_alignment = _compare_sound(content, recorded, search)
    picture_alignment = _align_pictures(content, recorded)
    picture_error = picture_alignment.error if picture_alignment is not None else None
    layout_error = None
    if not (len(own.video) and len(recorded.video)):
        picture = ABSENT
    elif picture_error is not None and picture_error <= MAX_SAME_PICTURE:
        picture = SAME
    elif is_as_made and picture_error is not None:
        layout_error = find_layout(content.thumbnails, own, recorded, is_as_made=True)
        picture = _judge_as_made(picture_error, layout_error)
    else:
        layout_error = find_layout(content.thumbnails, own, recorded) if search else None
        picture = _judge(layout_error, MAX_SAME_LAYOUT, MIN_DIFFERENT_LAYOUT)
    return Similarity(
        picture,
        sound,
        picture_error,
        layout_error,
        sound_alignment.error if sound_alignment is not None else None,
        picture_misfit=picture_alignment.misfit
        if picture_alignment is not None and layout_error is None
        else 0.0,
        sound_misfit=sound_alignment.misfit if sound_alignment is not None else 0.0,
        seconds=_duration_s(own),
        recorded_seconds=_duration_s(recorded),
    )


def _duration_s(fingerprint: Fingerprint) -> float:
    video_s = len(fingerprint.video) * VIDEO_STEP_S
    return video_s or len(fingerprint.audio) * AUDIO_STEP_S


def _judge_as_made(picture_error: float, layout_error: float | None) -> str:
    """Whether a picture of known geometry is another: captions over a part of it do not suffice."""
    if layout_error is None:
        return DIFFERENT if picture_error >= MIN_UNLIKE_PICTURE else UNKNOWN
    if layout_error <= MAX_SAME_LAYOUT:
        return SAME
    is_unlike = picture_error >= MIN_UNLIKE_PICTURE and layout_error >= MIN_UNLIKE_LAYOUT
    return DIFFERENT if is_unlike else UNKNOWN


def _judge(error: float | None, most: float, least: float) -> str:
    if error is None:
        return UNKNOWN
    return SAME if error <= most else DIFFERENT if error >= least else UNKNOWN


@dataclass(frozen=True)
class Alignment:
    """Two hash sequences at their best alignment.

    `error` is the share of differing bits, 0..1; `misfit` the share of its parts that do not fit.
    """

    error: float
    misfit: float


def align(
    a: IntArray, b: IntArray, *, min_hashes: int, max_blocks: int = _MAX_BLOCKS
) -> Alignment | None:
    """Compare two hash sequences.

    The shorter one is divided into blocks, each of which is compared at its best position in
    the longer one; the error is the median block's. Hashes of black pictures and of silence (0) do
    not count.

    Parameters
    ----------
    a, b
        uint64 [n], of pictures, or uint32 [n], of sound.
    min_hashes
        Fewer cannot be compared.
    max_blocks
        Fewer are faster.

    Returns
    -------
    Alignment or None
        None if they cannot be compared.
    """
    if len(a) > len(b):
        a, b = b, a
    if np.count_nonzero(a) < min_hashes or np.count_nonzero(b) < min_hashes:
        return None
    bits = 8 * a.dtype.itemsize
    part, limit = _PART_PICTURE if bits == 64 else _PART_SOUND
    count = min(max_blocks, -(-len(a) // _BLOCK))
    size = min(len(a), _BLOCK)
    errors, misfits = [], []
    for start in np.linspace(0, len(a) - size, count).astype(int):
        block = a[start : start + size]
        counted = block != 0
        if np.count_nonzero(counted) < min_hashes:
            continue
        views = np.lib.stride_tricks.sliding_window_view(b, size)[:, counted]
        differing = np.bitwise_count(views ^ block[counted])
        best = differing[differing.mean(1).argmin()] / bits
        errors.append(float(best.mean()))
        parts = best[: len(best) // part * part].reshape(-1, part).mean(1)
        misfits += (parts >= limit).tolist()
    if not errors:
        return None
    return Alignment(float(np.median(errors)), float(np.mean(misfits)) if misfits else 0.0)


def _best(alignments: Iterable[Alignment | None]) -> Alignment | None:
    found = [each for each in alignments if each is not None]
    return min(found, key=lambda each: each.error, default=None)


def _compare_sound(
    content: ExaminedContent, recorded: Fingerprint, search: bool
) -> tuple[str, Alignment | None]:
    if not (content.fingerprint.audio.any() and recorded.audio.any()):
        return ABSENT, None
    best = _best(
        align(
            hashes,
            recorded.audio,
            min_hashes=MIN_SOUND_HASHES,
            max_blocks=_MAX_BLOCKS if search else 1,
        )
        for hashes in content.shifted_audio
    )
    if best is None:
        return UNKNOWN, None
    if best.error > MAX_SAME_SOUND and search:
        retimed = _best(
            align(hashes, recorded.audio, min_hashes=_MIN_RETIMED_HASHES)
            for hashes in content.retimed_audio
        )
        if retimed is not None and retimed.error <= MAX_SAME_RETIMED_SOUND:
            return SAME, retimed
    return _judge(best.error, MAX_SAME_SOUND, MIN_DIFFERENT_SOUND), best


def _align_pictures(content: ExaminedContent, recorded: Fingerprint) -> Alignment | None:
    return _best(
        align(hashes, recorded.video, min_hashes=MIN_PICTURE_HASHES)
        for hashes in (content.fingerprint.video, content.mirrored)
    )
