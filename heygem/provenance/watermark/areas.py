"""Search for the rectangle of a frame that shows the watermarked picture.

Copies stand between bars (black, white, blurred, with captions), in a window, or over another
picture. Two traits tell the inner picture from its surroundings: its fine contrast changes over
time, by the watermark if by nothing else; and its sides are straight lines that stay where they
are. Areas are slices of rows and columns of the frame.
"""

from collections.abc import Sequence
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from heygem.core.types import FloatArray

Area = tuple[slice, slice]  # rows, columns

_BAR_LEVEL = 40  # grey levels of black bars are lower
_LAG_S = 0.2  # after which the watermark is inverted
_PAIRS = 24  # of frames that are compared
_MIN_DISTINCT = 0.4  # share of a profile's variance that is between the interval and the rest
_CHANGE_LEVELS = 0.5  # between two frames, grey levels
_LINES = 6  # straight lines in each direction, the frame's borders apart
_EDGE_LEVELS = 2.0  # across a side, grey levels
_MIN_SHARE = 0.25  # of the frame's width and height
_SNAP = 0.06  # of the frame, from the changing part to the lines beside it
_SIZE_EXPONENT = 0.3  # of rectangles' shares of the frame: the larger are more likely
_FRAME_SUPPORT = 0.55  # of a side on the frame's border, where no line can be seen


def likely_areas(
    frames: Sequence[NDArray[np.uint8]], times_s: Sequence[float], count: int = 6
) -> list[Area]:
    """Rectangles that may show the picture, most likely first; without the whole frame.

    Parameters
    ----------
    frames
        Grey, uint8 [H, W].
    times_s
    count
        Of rectangles at most.
    """
    height, width = frames[0].shape
    mean, activity = _statistics(frames, times_s)
    columns, rows = _lines(mean, 1), _lines(mean, 0)
    candidates: list[Area] = []
    dark = area_between_bars(np.asarray(np.clip(mean, 0, 255), np.uint8))
    if dark is not None:
        candidates.append(dark)
    active = _active_area(activity)
    snapped = _snap(active, mean, rows, columns)
    # Bars are mostly on two sides alone, where a person may be all that changes between them.
    candidates += [snapped, (snapped[0], slice(0, width)), (slice(0, height), snapped[1])]
    candidates += _rectangles(mean, rows, columns, count)
    areas: list[Area] = []
    for rows_part, columns_part in candidates:
        is_small = (rows_part.stop - rows_part.start) < _MIN_SHARE * height or (
            columns_part.stop - columns_part.start
        ) < _MIN_SHARE * width
        is_repeated = any(
            _difference((rows_part, columns_part), other, (height, width)) < 0.008
            for other in [*areas, (slice(0, height), slice(0, width))]
        )
        if not is_small and not is_repeated:
            areas.append((rows_part, columns_part))
    return areas[:count]


def area_between_bars(grey: NDArray[np.uint8]) -> Area | None:
    """Rows and columns between black bars, all of them without bars; None in a dark frame."""
    spans = []
    for axis in (1, 0):
        lit = np.flatnonzero(grey.max(axis) > _BAR_LEVEL)
        if len(lit) < grey.shape[1 - axis] / 5:
            return None
        spans.append(slice(int(lit[0]), int(lit[-1]) + 1))
    return spans[0], spans[1]


def _statistics(
    frames: Sequence[NDArray[np.uint8]], times_s: Sequence[float]
) -> tuple[FloatArray, FloatArray]:
    """The mean picture, and the mean change of fine contrast over half a period: [H, W] each."""
    times = np.asarray(times_s)
    starts = np.unique(np.linspace(0, len(frames) - 1, _PAIRS).astype(int))
    mean = np.zeros(frames[0].shape, np.float32)
    change = np.zeros(frames[0].shape, np.float32)
    for start in starts:
        later = min(int(np.searchsorted(times, times[start] + _LAG_S)), len(frames) - 1)
        pair = [frames[index].astype(np.float32) for index in (start, later)]
        fine = [grey - cv2.blur(grey, (7, 7)) for grey in pair]
        mean += pair[0] / len(starts)
        change += np.abs(fine[1] - fine[0]) / len(starts)
    # Whether a place changes matters, not how much: a person is not the whole picture.
    return mean, np.minimum(change, _CHANGE_LEVELS)


def _active_area(activity: FloatArray) -> Area:
    """The rectangle that changes most unlike its surroundings."""
    height, width = activity.shape
    area = [slice(0, height), slice(0, width)]
    for axis in (0, 1, 0, 1):  # each again within the rectangle so far
        across = area[1 - axis]
        part = activity[:, across] if axis == 0 else activity[across, :]
        area[axis] = _active_interval(part.mean(1 - axis))
    return area[0], area[1]


def _active_interval(profile: FloatArray) -> slice:
    """The interval that differs most from the rest, by the variance between both; else all."""
    count = len(profile)
    sums = np.concatenate([[0.0], np.cumsum(profile, dtype=np.float64)])
    start, stop = np.meshgrid(np.arange(count), np.arange(1, count + 1), indexing="ij")
    inside = np.maximum(stop - start, 1)
    outside = np.maximum(count - inside, 1)
    step = (sums[stop] - sums[start]) / inside - (sums[-1] - sums[stop] + sums[start]) / outside
    between = inside * (count - inside) * step * np.abs(step)
    between[(stop - start) < _MIN_SHARE * count] = 0
    best = int(np.argmax(between))
    first, last = divmod(best, count)
    if between.flat[best] < _MIN_DISTINCT * count**2 * np.var(profile):
        return slice(0, count)
    return slice(first, last + 1)


def _lines(mean: FloatArray, axis: int) -> list[int]:
    """Positions of the longest straight lines: columns for axis 1, rows for axis 0."""
    steps = np.abs(np.diff(mean, axis=axis)) > _EDGE_LEVELS
    support = steps.mean(1 - axis)
    size = mean.shape[axis]
    lines: list[int] = []
    for position in np.argsort(-support):
        if all(abs(position + 1 - other) > 2 for other in lines) and 4 < position < size - 4:
            lines.append(int(position) + 1)
        if len(lines) == _LINES:
            break
    return sorted([0, *lines, size])


def _snap(area: Area, mean: FloatArray, rows: list[int], columns: list[int]) -> Area:
    """The area with each side on the line beside it, where there is one."""
    spans = []
    for axis, (part, lines) in enumerate(zip(area, (rows, columns), strict=True)):
        reach = _SNAP * mean.shape[axis]
        ends = []
        for end in (part.start, part.stop):
            nearest = min(lines, key=lambda line: abs(line - end))
            ends.append(nearest if abs(nearest - end) <= reach else end)
        spans.append(slice(*ends) if ends[1] > ends[0] else part)
    return spans[0], spans[1]


def _rectangles(mean: FloatArray, rows: list[int], columns: list[int], count: int) -> list[Area]:
    """The rectangles of lines whose sides are lines along their whole length."""
    height, width = mean.shape
    across = np.abs(np.diff(mean, axis=1)) > _EDGE_LEVELS
    down = np.abs(np.diff(mean, axis=0)) > _EDGE_LEVELS
    scored = []
    for top, bottom in combinations(rows, 2):
        for left, right in combinations(columns, 2):
            if (bottom - top) < _MIN_SHARE * height or (right - left) < _MIN_SHARE * width:
                continue
            sides = [
                across[top:bottom, x - 1].mean() if 0 < x < width else _FRAME_SUPPORT
                for x in (left, right)
            ] + [
                down[y - 1, left:right].mean() if 0 < y < height else _FRAME_SUPPORT
                for y in (top, bottom)
            ]
            size = (bottom - top) * (right - left) / (height * width)
            score = (min(sides) + sum(sides) / 4) * size**_SIZE_EXPONENT
            scored.append((score, top, bottom, left, right))
    scored.sort(reverse=True)
    return [(slice(t, b), slice(x, y)) for _, t, b, x, y in scored[:count]]


def _difference(area: Area, other: Area, shape: tuple[int, int]) -> float:
    """The greatest distance of two sides, as a share of the frame."""
    return max(
        abs(end - other_end) / size
        for part, other_part, size in zip(area, other, shape, strict=True)
        for end, other_end in ((part.start, other_part.start), (part.stop, other_part.stop))
    )
