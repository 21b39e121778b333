"""The contact sheet: the same instants of several videos, with enlarged mouths."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from heygem import media
from heygem.core.types import FloatArray, Image, PathLike
from heygem.experiments.figures import draw_outlined_text
from heygem.face import topology as topo
from heygem.face.detector import region_of
from heygem.face.tracking import Backend

CELL_PX = 220  # width of a frame and of the mouth below it
MOUTH_ASPECT = 0.62  # height over width of a mouth's picture
MOUTH_WIDTHS = 1.9  # width of a mouth's picture over that of the mouth, corner to corner
CAPTION_PX = 26
BACKGROUND, TEXT_GREY = 246, 30
LipCurve = tuple[FloatArray, FloatArray]  # times [s], aperture


@dataclass(frozen=True)
class Mouth:
    """A cropped mouth.

    Attributes
    ----------
    image : uint8 [h, w, 3], RGB
    centre : (float, float)
        Of the mouth, as shares of the frame's width and height.
    face_centre : float32 [2]
        Pixels.
    """

    image: Image
    centre: tuple[float, float]
    face_centre: FloatArray


@dataclass(frozen=True)
class Moment:
    """One instant of one video.

    Attributes
    ----------
    time_s : float
        Of the frame that is displayed then.
    image : uint8 [H, W, 3], RGB
    mouth : Mouth or None
        None without a face.
    """

    time_s: float
    image: Image
    mouth: Mouth | None


def instants(
    durations_s: Sequence[float], curves: Sequence[LipCurve | None] = (), *, count: int = 6
) -> FloatArray:
    """Times to compare: in each of `count` equal parts, where the lip curves differ most.

    Parameters
    ----------
    durations_s
        Of the videos; all are shown at all instants.
    curves
        As `Run.lip_curve`; with fewer than two, the middles of the parts.
    count

    Returns
    -------
    float64 [count], seconds, ascending
    """
    edges = np.linspace(0, min(durations_s), count + 1)
    times_s = (edges[:-1] + edges[1:]) / 2
    available = [curve for curve in curves if curve is not None]
    if len(available) < 2:
        return times_s
    for k in range(count):
        grid = np.arange(edges[k], edges[k + 1], 0.02)
        spread = np.ptp([np.interp(grid, *curve) for curve in available], axis=0)
        if spread.max(initial=0) > 1e-3:
            times_s[k] = grid[spread.argmax()]
    return times_s


def moments(video: PathLike, times_s: FloatArray, faces: Backend) -> list[Moment | None]:
    """Frames of a video at some instants, ascending; None after its end."""
    result: list[Moment | None] = []
    face_centre = None
    for time_s in times_s:
        # The frame displayed at an instant is the last one that began before.
        with media.VideoReader(video, start_s=max(0.0, float(time_s) - 0.25)) as reader:
            displayed = None
            for frame in reader:
                if displayed is not None and frame.time_s > time_s + 1e-6:
                    break
                displayed = frame
        if displayed is None:
            result.append(None)
            continue
        mouth = crop_mouth(displayed.image, faces, near=face_centre)
        face_centre = face_centre if mouth is None else mouth.face_centre
        result.append(Moment(displayed.time_s, displayed.image, mouth))
    return result


def crop_mouth(image: Image, faces: Backend, *, near: FloatArray | None = None) -> Mouth | None:
    """Crop the mouth of the largest face, or of the face nearest to `near` [2], pixels."""
    regions = faces.detect(image)
    if not regions:
        return None
    if near is None:
        region = max(regions, key=lambda r: r.size_px)
    else:
        region = min(regions, key=lambda r: np.hypot(*(r.centre - near)) / r.size_px)
    points, _ = faces.mesh(image, region)
    points, _ = faces.mesh(image, region_of(points))  # the detector's box is inaccurate
    lips = points[topo.LIPS_OUTER, :2]
    corners = points[list(topo.MOUTH_CORNERS), :2]
    eyes = points[list(topo.EYE_OUTER), :2]
    # A closed mouth is about two thirds of the inter-ocular distance wide: a lower limit, so that
    # rounded lips do not change the scale.
    mouth_width = np.hypot(*(corners[1] - corners[0]))
    width = max(mouth_width, 0.62 * np.hypot(*(eyes[1] - eyes[0]))) * MOUTH_WIDTHS
    x, y = (lips.min(0) + lips.max(0)) / 2
    size = (round(width), round(width * MOUTH_ASPECT))
    crop = np.asarray(cv2.getRectSubPix(image, size, (float(x), float(y))), np.uint8)
    return Mouth(crop, (float(x / image.shape[1]), float(y / image.shape[0])), region.centre)


def draw_sheet(rows: Sequence[Sequence[Moment | None]], captions: Sequence[str]) -> Image:
    """All moments in one image: one row per video, with the mouths below the frames.

    Returns
    -------
    uint8 [h, w, 3], RGB
    """
    parts = []
    for row, text in zip(rows, captions, strict=True):
        frames = [moment.image for moment in row if moment is not None]
        height, width = frames[0].shape[:2] if frames else (1, 1)
        frame_px = min(round(CELL_PX * height / width), round(CELL_PX * 1.25))
        cells = [_draw_cell(moment, frame_px) for moment in row]
        parts += [draw_caption(text, CELL_PX * len(cells), CAPTION_PX), np.concatenate(cells, 1)]
    return np.concatenate(parts, 0)


def _draw_cell(moment: Moment | None, frame_px: int) -> Image:
    mouth_px = round(CELL_PX * MOUTH_ASPECT)
    if moment is None:
        return np.full((frame_px + mouth_px, CELL_PX, 3), BACKGROUND, np.uint8)
    frame = fit_into(moment.image, CELL_PX, frame_px)
    draw_outlined_text(frame, f"{moment.time_s:.2f} s", (5, frame_px - 7), scale=0.42)
    mouth = np.full((mouth_px, CELL_PX, 3), BACKGROUND, np.uint8)
    if moment.mouth is not None:
        size = (CELL_PX, mouth_px)
        mouth[:] = cv2.resize(moment.mouth.image, size, interpolation=cv2.INTER_CUBIC)
    cell = np.concatenate([frame, mouth], 0)
    cell[:, -2:] = BACKGROUND
    return cell


def fit_into(image: Image, width: int, height: int, *, aspect: float | None = None) -> Image:
    """The whole image, scaled and centred in a box on the background: uint8 [height, width, 3].

    `aspect` is its displayed width over height, if its pixels are not square.
    """
    h, w = image.shape[:2]
    aspect = aspect if aspect is not None else w / h
    scaled_height = min(height, width / aspect)
    size = (min(width, max(1, round(scaled_height * aspect))), max(1, round(scaled_height)))
    method = cv2.INTER_AREA if scaled_height < h else cv2.INTER_LINEAR
    box = np.full((height, width, 3), BACKGROUND, np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    box[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=method)
    return box


def draw_caption(text: str, width: int, height: int) -> Image:
    """A line of text on the background: uint8 [height, width, 3]."""
    from matplotlib import font_manager
    from PIL import Image as PilImage
    from PIL import ImageDraw, ImageFont

    path = Path(font_manager.findfont("DejaVu Sans", fallback_to_default=True))
    font = ImageFont.truetype(str(path), round(height * 0.58))
    strip = PilImage.new("RGB", (width, height), (BACKGROUND,) * 3)
    ImageDraw.Draw(strip).text(
        (6, height / 2), printable(text), fill=(TEXT_GREY,) * 3, font=font, anchor="lm"
    )
    return np.asarray(strip).copy()


def printable(text: str) -> str:
    """The characters that the caption's font has; a run's letter (A, B ...) is always one."""
    text = "".join(c if ord(c) < 0x500 or 0x2000 <= ord(c) < 0x2E80 else " " for c in text)
    return " ".join(text.split())
