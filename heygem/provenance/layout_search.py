"""Search for a copy's picture in the recorded layouts of a result.

A copy may show a part of the original, or the original as a part of another picture, mirrored or
turned. The layout of the copy's picture is computed at many scales, and correlated with the
original's at all positions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from heygem.core.types import FloatArray, IntArray
from heygem.provenance.fingerprint import CELLS, Fingerprint, layout

_SCALES = (*np.geomspace(0.62, 1.8, 36).tolist(), 1.0)
_TURNS = (0, 1, 2, 3)  # quarters
_MIN_OVERLAP = 0.4  # of the original, in cells and in detail
_MIN_INSET = 0.25  # share of a picture that an inset covers
_EVEN_LEVELS = 4.0  # standard deviation of a row or column of a bar, grey levels
_CHECKED = 8  # pictures of the copy that must fit at the geometry of the best
_SEARCHED = 2  # layouts of each file that are tried at all positions


def find_layout(
    thumbnails: Sequence[NDArray[np.uint8]],
    copy: Fingerprint,
    recorded: Fingerprint,
    *,
    is_as_made: bool = False,
) -> float | None:
    """How far a copy is from any crop, inset, mirroring or turn by quarters of a result.

    Parameters
    ----------
    thumbnails
        Of the copy, uint8 [THUMBNAIL_PX, THUMBNAIL_PX].
    copy, recorded
        Fingerprints of the copy, for its size, and of the result.
    is_as_made
        Only mirroring is possible.

    Returns
    -------
    float or None
        Half of 1 - correlation, 0..1; None if there is nothing to compare.
    """
    scales, turns = ((1.0,), (0,)) if is_as_made else (_SCALES, _TURNS)
    if not len(recorded.layouts) or not len(thumbnails) or not recorded.width:
        return None
    aspects = (
        copy.width / copy.height,
        recorded.width / recorded.height,
    )
    originals = [_Padded(each) for each in _most_detailed(recorded.layouts)]
    best, geometry = -1.0, None
    for thumbnail in _most_detailed(np.array(thumbnails)):
        for candidate in _geometries(scales, turns):
            score = _fit(candidate.part(thumbnail.astype(np.uint8), *aspects), originals)
            if score is not None and score > best:
                best, geometry = score, candidate
    if geometry is None:
        return None
    # The other pictures have to fit at this geometry too, each with any picture of the original.
    originals = [_Padded(each) for each in recorded.layouts]
    chosen = np.unique(np.linspace(0, len(thumbnails) - 1, _CHECKED).astype(int))
    fits = [_fit(geometry.part(thumbnails[i], *aspects), originals) for i in chosen]
    return (1 - float(np.median([each for each in fits if each is not None] or [best]))) / 2


@dataclass(frozen=True)
class _Geometry:
    """How a copy may show the original: at a scale, mirrored, turned, between even borders.

    At scale 1 the copy just covers the original.
    """

    scale: float
    is_mirrored: bool
    turns: int  # quarters
    is_bordered: bool

    def part(
        self, thumbnail: NDArray[np.uint8], aspect: float, recorded_aspect: float
    ) -> FloatArray | None:
        """The layout of a copy's picture in cells of the original; None where there is none."""
        if self.is_bordered:
            area = _inside_borders(thumbnail)
            if area is None:
                return None
            # A part of the square thumbnail: its aspect is that of the shares it takes up.
            aspect, thumbnail = aspect * area.shape[1] / area.shape[0], area
        stretch = (aspect if self.turns % 2 == 0 else 1 / aspect) / recorded_aspect
        across, down = max(stretch, 1.0), max(1 / stretch, 1.0)
        cells = round(CELLS * self.scale * across), round(CELLS * self.scale * down)
        if min(cells) < CELLS // 3 or max(cells) > 4 * CELLS:
            return None
        turned = np.rot90(thumbnail, self.turns)
        shown = turned[:, ::-1] if self.is_mirrored else turned
        return layout(np.ascontiguousarray(shown), *cells)


def _geometries(scales: Sequence[float] | FloatArray, turns: Sequence[int]) -> Iterator[_Geometry]:
    for is_bordered in (False, True):
        for turn in turns:
            for is_mirrored in (False, True):
                for scale in scales:
                    yield _Geometry(float(scale), is_mirrored, turn, is_bordered)


def _inside_borders(thumbnail: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """What lies between even borders; None without any."""
    inside = []
    for axis in (1, 0):
        uneven = np.flatnonzero(thumbnail.std(axis) > _EVEN_LEVELS)
        if len(uneven) < _MIN_INSET * len(thumbnail):
            return None
        inside.append(slice(uneven[0] + 1, uneven[-1]))  # without the mixed row at the edge
    area = thumbnail[inside[0], inside[1]]
    return None if min(area.shape) >= len(thumbnail) - 2 else area


def _fit(part: FloatArray | None, originals: Sequence["_Padded"]) -> float | None:
    """The best correlation of a part with any of the originals."""
    return None if part is None else max(each.correlation(part) for each in originals)


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
