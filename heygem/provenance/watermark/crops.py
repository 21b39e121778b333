"""Search for the part of the original that a copy shows, by the watermark's pilot."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from heygem.core.types import FloatArray
from heygem.provenance.watermark.content import CELLS, content_values
from heygem.provenance.watermark.pattern import GRID, ChipLayout
from heygem.provenance.watermark.residual import SIDE

_COARSE = 2 * GRID  # samples across the original during the search
_SHARES = range(21, CELLS + 1)  # of the original that is left, in cells
_STEPS = (-0.25, 0.25)  # between cells


def likely_crops(
    secret: bytes,
    waves: NDArray[np.complex64],
    pictures: Sequence[FloatArray],
    layouts: Sequence[ChipLayout],
    per_layout: int = 4,
) -> Iterator[tuple[ChipLayout, tuple[float, float, float, float]]]:
    """The most likely crops of each layout, as (x, y, width, height) of the original.

    Parameters
    ----------
    secret
    waves
        Of the copy's blocks, complex64 [K, SIDE, SIDE].
    pictures
        Cells of the copy at the start of each block, float32 [K, n, n].
    layouts
        All with content, or all without.
    per_layout
        Crops of each.
    """
    spectra = [np.conj(fft.fft2(_template(layout))) for layout in layouts]
    places: list[list[tuple[float, ...]]] = [[] for _ in layouts]
    total = waves.sum(0)
    for down in _SHARES:
        for across in _SHARES:
            if layouts[0].has_content:
                total = _without_content(secret, waves, pictures, (across, down))
            for rows in _sizes(down):
                for columns in _sizes(across):
                    picture = _spectrum(total, columns, rows)
                    for found, spectrum in zip(places, spectra, strict=True):
                        found.append(_best_place(picture * spectrum, columns, rows))
    for layout, found in zip(layouts, places, strict=True):
        found.sort(reverse=True)
        for _, *place in found[:per_layout]:
            x, y, width, height = (value / _COARSE for value in place)
            yield layout, (x, y, width, height)


def _sizes(cells: int) -> list[int]:
    """Sizes in coarse samples that a number of cells stands for."""
    sizes = {round((cells + step) * _COARSE / CELLS) for step in _STEPS}
    return sorted(size for size in sizes if size <= _COARSE)


def _template(layout: ChipLayout) -> FloatArray:
    """The pilot's signs, float32 [_COARSE, _COARSE]."""
    signs = np.zeros(GRID * GRID, np.float32)
    signs[layout.pilot] = layout.sign[layout.pilot]
    return np.kron(signs.reshape(GRID, GRID), np.ones((2, 2), np.float32))


def _without_content(
    secret: bytes,
    waves: NDArray[np.complex64],
    pictures: Sequence[FloatArray],
    size: tuple[int, int],
) -> NDArray[np.complex64]:
    """The sum of the waves without the signs of content, if the copy has a size in cells."""
    total = np.zeros((SIDE, SIDE), np.complex64)
    for wave, picture in zip(waves, pictures, strict=True):
        cells = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        total += wave * content_values(secret, cells, (SIDE, SIDE))
    return total


def _spectrum(wave: NDArray[np.complex64], width: int, height: int) -> NDArray[np.complex64]:
    planes = np.ascontiguousarray(wave).view(np.float32).reshape(SIDE, SIDE, 2)
    small = cv2.resize(planes, (width, height), interpolation=cv2.INTER_AREA)
    return fft.fft2(np.ascontiguousarray(small).view(np.complex64)[..., 0], (_COARSE, _COARSE))


def _best_place(spectrum: NDArray[np.complex64], width: int, height: int) -> tuple[float, ...]:
    """(correlation, x, y, width, height) of the best place inside the original."""
    # Negative shifts, up to the cut margin.
    rows = -np.arange(0, _COARSE - height + 1) % _COARSE
    columns = -np.arange(0, _COARSE - width + 1) % _COARSE
    inside = np.abs(fft.ifft2(spectrum)[np.ix_(rows, columns)])
    y, x = np.unravel_index(np.argmax(inside), inside.shape)
    return float(inside[y, x]), float(x), float(y), float(width), float(height)
