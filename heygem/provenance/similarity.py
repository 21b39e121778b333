"""Whether two files look and sound alike, judged by their fingerprints.

Each of picture and sound is `SAME`, `DIFFERENT`, or `UNKNOWN` where neither can be said: a copy
may have been cropped or put into another picture, and an honest copy must not be called a forgery.
The limits come from `benchmarks/fingerprint.py`; docs/compliance.md has the measurements.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from heygem.core.types import FloatArray, IntArray
from heygem.provenance.fingerprint import (
    AUDIO_STEP_S,
    CELLS,
    Fingerprint,
    FrameHasher,
    hash_audio,
    layout,
)

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
_BLOCK = 64  # hashes that are aligned as one
_MAX_BLOCKS = 8
_OFFSETS_S = AUDIO_STEP_S * np.arange(4) / 4  # a copy's windows begin between the original's
_SPEEDS = np.setdiff1d(np.round(np.arange(0.79, 1.27, 0.015), 3), [1.0])
_RETIMED_S = 10.0  # length of the sound that is tried at all speeds
_SCALES = np.append(np.geomspace(0.62, 1.8, 36), 1.0)
_TURNS = (0, 1, 2, 3)  # quarters
_MIN_OVERLAP = 0.4  # of the original, in cells and in detail
_MIN_INSET = 0.25  # share of a picture that an inset covers
_EVEN_LEVELS = 4.0  # standard deviation of a row or column of a bar, grey levels
_SEARCHED = 2  # layouts of each file that are tried at all positions


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
        `SAME`, `DIFFERENT`, `UNKNOWN` or `ABSENT` (one of them has none, or too little).
    picture_error, layout_error, sound_error : float or None
        What this was decided by, 0..1; unrelated files have about 0.5 (`layout_error`: 0.25).
    """

    picture: str
    sound: str
    picture_error: float | None = None
    layout_error: float | None = None
    sound_error: float | None = None

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
        return {"picture": self.picture, "sound": self.sound, **rounded}


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
    sound, sound_error = _compare_sound(content, recorded, search)
    picture_error = _picture_error(content, recorded)
    layout_error = None
    if picture_error is None and not len(recorded.layouts):
        picture = ABSENT
    elif picture_error is not None and picture_error <= MAX_SAME_PICTURE:
        picture = SAME
    elif is_as_made and picture_error is not None:
        layout_error = _layout_error(content, recorded, scales=(1.0,), turns=(0,))
        picture = _judge_as_made(picture_error, layout_error)
    else:
        layout_error = _layout_error(content, recorded) if search else None
        picture = _judge(layout_error, MAX_SAME_LAYOUT, MIN_DIFFERENT_LAYOUT)
        if layout_error is None and picture_error is None:
            picture = ABSENT
    return Similarity(picture, sound, picture_error, layout_error, sound_error)


def _judge_as_made(picture_error: float, layout_error: float | None) -> str:
    """Whether a picture of known geometry is another: captions over a part of it do not suffice."""
    if layout_error is None:
        return DIFFERENT if picture_error >= MIN_UNLIKE_PICTURE else UNKNOWN
    if layout_error <= MAX_SAME_LAYOUT:
        return SAME
    is_unlike = picture_error >= MIN_UNLIKE_PICTURE and layout_error >= MIN_UNLIKE_LAYOUT
    return DIFFERENT if is_unlike or layout_error >= MIN_DIFFERENT_LAYOUT else UNKNOWN


def _judge(error: float | None, most: float, least: float) -> str:
    if error is None:
        return UNKNOWN
    return SAME if error <= most else DIFFERENT if error >= least else UNKNOWN


def bit_error_rate(
    a: IntArray, b: IntArray, *, min_hashes: int, max_blocks: int = _MAX_BLOCKS
) -> float | None:
    """Share of differing bits of two hash sequences, 0..1.

    The shorter one is divided into blocks, each of which is compared at its best position in
    the longer one; the result is the median block's. Hashes of black pictures and of silence (0) do
    not count.

    Parameters
    ----------
    a, b
        uint64 [n] or uint32 [n]
    min_hashes
        Fewer cannot be compared.
    max_blocks
        Fewer are faster.

    Returns
    -------
    float or None
        None if they cannot be compared.
    """
    if len(a) > len(b):
        a, b = b, a
    if np.count_nonzero(a) < min_hashes or np.count_nonzero(b) < min_hashes:
        return None
    count = max(1, min(max_blocks, len(a) // _BLOCK))
    size = min(len(a), _BLOCK)
    errors = []
    for start in np.linspace(0, len(a) - size, count).astype(int):
        block = a[start : start + size]
        counted = block != 0
        if np.count_nonzero(counted) < min_hashes:
            continue
        views = np.lib.stride_tricks.sliding_window_view(b, size)[:, counted]
        errors.append(float(np.bitwise_count(views ^ block[counted]).mean(1).min()))
    return float(np.median(errors)) / (8 * a.dtype.itemsize) if errors else None


def _compare_sound(
    content: ExaminedContent, recorded: Fingerprint, search: bool
) -> tuple[str, float | None]:
    max_blocks = _MAX_BLOCKS if search else 1
    errors = [
        bit_error_rate(hashes, recorded.audio, min_hashes=MIN_SOUND_HASHES, max_blocks=max_blocks)
        for hashes in content.shifted_audio
    ]
    error = min((each for each in errors if each is not None), default=None)
    if error is None:
        return ABSENT, None
    if error <= MAX_SAME_SOUND or not search:
        return _judge(error, MAX_SAME_SOUND, MIN_DIFFERENT_SOUND), error
    retimed = [
        bit_error_rate(hashes, recorded.audio, min_hashes=_MIN_RETIMED_HASHES)
        for hashes in content.retimed_audio
    ]
    best = min((each for each in retimed if each is not None), default=1.0)
    if best <= MAX_SAME_RETIMED_SOUND:
        return SAME, best
    return _judge(error, MAX_SAME_SOUND, MIN_DIFFERENT_SOUND), error


def _picture_error(content: ExaminedContent, recorded: Fingerprint) -> float | None:
    errors = [
        bit_error_rate(hashes, recorded.video, min_hashes=MIN_PICTURE_HASHES)
        for hashes in (content.fingerprint.video, content.mirrored)
    ]
    return min((each for each in errors if each is not None), default=None)


def _layout_error(
    content: ExaminedContent,
    recorded: Fingerprint,
    *,
    scales: Sequence[float] | FloatArray = _SCALES,
    turns: Sequence[int] = _TURNS,
) -> float | None:
    """Half of 1 - correlation at the best crop, inset, mirroring and turn by quarters, 0..1."""
    if not len(recorded.layouts) or not content.thumbnails or not recorded.width:
        return None
    originals = [_Padded(each) for each in _most_detailed(recorded.layouts)]
    aspect = content.fingerprint.width / content.fingerprint.height
    recorded_aspect = recorded.width / recorded.height
    best = -1.0
    for thumbnail in _most_detailed(np.array(content.thumbnails)):
        for area in _areas(thumbnail.astype(np.uint8)):
            # Both shares of the square thumbnail: this changes the aspect of what is left.
            area_aspect = aspect * area.shape[1] / area.shape[0]
            for turn in turns:
                turned = np.rot90(area, turn)
                shape = area_aspect if turn % 2 == 0 else 1 / area_aspect
                for part in _parts(turned, shape / recorded_aspect, scales):
                    best = max(best, *(each.correlation(part) for each in originals))
    return (1 - best) / 2


def _areas(thumbnail: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The whole picture, and what lies between even borders, if there are any."""
    inside = []
    for axis in (1, 0):
        uneven = np.flatnonzero(thumbnail.std(axis) > _EVEN_LEVELS)
        if len(uneven) < _MIN_INSET * len(thumbnail):
            return [thumbnail]
        inside.append(slice(uneven[0] + 1, uneven[-1]))  # without the mixed row at the edge
    area = thumbnail[inside[0], inside[1]]
    is_whole = min(area.shape) >= len(thumbnail) - 2
    return [thumbnail] if is_whole else [thumbnail, area]


def _parts(
    picture: NDArray[np.uint8], stretch: float, scales: Sequence[float] | FloatArray
) -> Iterator[FloatArray]:
    """Layouts of a picture and its mirror image at several scales.

    `stretch` is its aspect over the original's; at scale 1 it just covers the original.
    """
    across, down = max(stretch, 1.0), max(1 / stretch, 1.0)
    for mirrored in (picture, picture[:, ::-1]):
        contiguous = np.ascontiguousarray(mirrored)
        for scale in scales:
            cells = round(CELLS * scale * across), round(CELLS * scale * down)
            if min(cells) >= CELLS // 3 and max(cells) <= 4 * CELLS:
                yield layout(contiguous, *cells)


def _most_detailed(pictures: IntArray) -> list[IntArray]:
    """The `_SEARCHED` pictures with most contrast, of evenly chosen ones: not black ones."""
    chosen = pictures[np.unique(np.linspace(0, len(pictures) - 1, 8).astype(int))]
    contrast = chosen.reshape(len(chosen), -1).astype(np.float32).std(1)
    return [chosen[i] for i in np.argsort(-contrast)[:_SEARCHED]]


class _Padded:
    """A layout of the original with room around it, in which a part is searched for."""

    def __init__(self, original: IntArray) -> None:
        self._values = original.astype(np.float32)
        self._energy = float(np.sum(self._values**2))

    def correlation(self, part: FloatArray) -> float:
        """The correlation with a part at its best position; -1 where nothing overlaps enough."""
        height, width = part.shape
        pad = (height // 2 + 1,) * 2 + (width // 2 + 1,) * 2
        values = cv2.copyMakeBorder(self._values, *pad, cv2.BORDER_CONSTANT)
        inside = cv2.copyMakeBorder(np.ones_like(self._values), *pad, cv2.BORDER_CONSTANT)
        part = part.astype(np.float32)
        ones = np.ones_like(part)
        product = cv2.matchTemplate(values, part, cv2.TM_CCORR)
        original = cv2.matchTemplate(values * values, ones, cv2.TM_CCORR)
        copy = cv2.matchTemplate(inside, part * part, cv2.TM_CCORR)
        overlap = cv2.matchTemplate(inside, ones, cv2.TM_CCORR)
        enough = (
            (overlap >= _MIN_OVERLAP * CELLS**2)
            & (overlap >= _MIN_INSET * width * height)
            & (original >= _MIN_OVERLAP * self._energy)
        )
        norm = np.sqrt(np.maximum(original * copy, 1e-3))
        return float(np.where(enough, product / norm, -1).max())
