"""Pictures and figures of one result: contact sheet and lip curve."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from heygem import media
from heygem.core.errors import InputError
from heygem.core.types import Image, PathLike
from heygem.lips.trajectory import Trajectory
from heygem.media.stills import Still, reduced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THUMB_PX = 240  # longer side of a thumbnail
COLUMNS, ROWS = 6, 3  # of a contact sheet
#: What `lip_curve` loads: a third of a second of imports.
MODULES = ("matplotlib.figure", "matplotlib.backends.backend_agg")


def contact_sheet(
    video: PathLike, stills: Sequence[Still] = (), *, columns: int = COLUMNS, rows: int = ROWS
) -> Image:
    """Thumbnails at equal intervals over a video.

    Parameters
    ----------
    video : path
    stills : sequence of Still
        Frames in the middles of `columns * rows` equal parts of the video, where they were kept
        when it was made; otherwise it is decoded for each.
    columns, rows : int

    Returns
    -------
    uint8 [h, w, 3], RGB
        Row by row in time; the time is written on each.
    """
    count = columns * rows
    thumbs: list[Image | None]
    if len(stills) == count:
        thumbs = [_thumbnail(still.image, still.time_s) for still in stills]
    else:
        # The middles of equal parts: the first and the last frame are often black.
        times_s = (np.arange(count) + 0.5) / count * media.probe(video).duration_s
        thumbs = [thumbnail(video, float(time_s)) for time_s in times_s]
    shape = next((thumb.shape for thumb in thumbs if thumb is not None), (THUMB_PX, THUMB_PX, 3))
    blank = np.full(shape, 32, np.uint8)
    cells = [blank if thumb is None else thumb for thumb in thumbs]
    lines = [np.concatenate(cells[i : i + columns], 1) for i in range(0, count, columns)]
    return np.concatenate(lines, 0)


def thumbnail(video: PathLike, time_s: float) -> Image | None:
    """The frame at a time, reduced, with its time written on it; None after the end.

    Returns
    -------
    uint8 [h, w, 3], RGB
    """
    with media.VideoReader(video, start_s=time_s) as reader:
        frame = next(iter(reader), None)
    return None if frame is None else _thumbnail(frame.image, frame.time_s)


def _thumbnail(image: Image, time_s: float) -> Image:
    small = reduced(image, THUMB_PX)
    draw_outlined_text(small, f"{time_s:.1f} s", (4, small.shape[0] - 6), scale=0.4)
    return small


def middle_frame(video: PathLike, stills: Sequence[Still] = (), *, longest_px: int) -> Image:
    """The frame in the middle of a video, its longer side of this length or less.

    Of `stills` of the video, where there are any, the middle one.

    Returns
    -------
    uint8 [h, w, 3], RGB

    Raises
    ------
    InputError
        The video has no frame.
    """
    if stills:
        image = stills[len(stills) // 2].image
        return reduced(image, min(longest_px, max(image.shape[:2])))
    middle_s = media.probe(video).duration_s / 2
    for start_s in (middle_s, 0.0):  # a still picture has no middle
        with media.VideoReader(video, start_s=start_s) as reader:
            frame = next(iter(reader), None)
        if frame is not None:
            return reduced(frame.image, min(longest_px, max(frame.image.shape[:2])))
    raise InputError("the video has no frame", seen=video)


def draw_outlined_text(image: Image, text: str, origin: tuple[int, int], *, scale: float) -> None:
    """Draw white text with a black outline into an image; `origin` is its lower left, pixels."""
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, thickness)


def lip_curve(trajectory: Trajectory) -> "Figure":
    """Lip aperture and mouth width over time.

    The figure is independent of pyplot's global state, so that any thread may draw it.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(trajectory.times_s, trajectory.aperture(), lw=1, label="aperture")
    axes.plot(trajectory.times_s, trajectory.width(), lw=1, alpha=0.7, label="width")
    axes.axhline(0, color="0.7", lw=0.5)
    axes.set_xlabel("time [s]")
    axes.set_ylabel("from rest [IOD]")
    axes.set_xlim(0, max(trajectory.duration_s, 1e-3))
    axes.legend(loc="upper right", ncols=2, frameon=False)
    return figure


def save_curve(trajectory: Trajectory, path: PathLike) -> Path:
    """Write the values of `lip_curve` as CSV: time [s], aperture (`opening`) and width [IOD]."""
    columns = [trajectory.times_s, trajectory.aperture(), trajectory.width()]
    np.savetxt(
        path,
        np.stack(columns, -1),
        fmt=["%.2f", "%.4f", "%.4f"],
        delimiter=",",
        header="time_s,opening,width",  # part of the stored format
        comments="",
    )
    return Path(path)


def save_image(image: Image, path: PathLike) -> Path:
    """Write an image as PNG or JPEG, by the suffix."""
    from PIL import Image as PilImage

    PilImage.fromarray(image).save(path)
    return Path(path)
