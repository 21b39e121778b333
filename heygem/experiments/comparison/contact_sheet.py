"""The same instants of several videos, mouths large: the contact sheet."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from heygem import media
from heygem.face import topology as topo
from heygem.face.detector import region_of

CELL_PX = 220  # width of a picture and of the mouth below it
MOUTH_ASPECT = 0.62  # height over width of a mouth's picture
MOUTH_WIDTHS = 1.9  # of the mouth itself, corner to corner
CAPTION_PX = 26
PAPER, INK = 246, 30


@dataclass(frozen=True)
class Moment:
    """One instant of one video.

    Attributes
    ----------
    time_s : float
        Of the frame that is shown.
    image : uint8 [H, W, 3], RGB
    mouth : Mouth or None
        None where no face is found.
    """

    time_s: float
    image: np.ndarray
    mouth: "Mouth | None"


@dataclass(frozen=True)
class Mouth:
    """A mouth, cut out.

    Attributes
    ----------
    image : uint8 [h, w, 3], RGB
    centre : (float, float)
        Of the mouth, as shares of the picture's width and height.
    face : float32 [2]
        Centre of the face, pixels.
    """

    image: np.ndarray
    centre: tuple
    face: np.ndarray


def instants(durations_s, curves=(), *, count=6) -> np.ndarray:
    """Times worth comparing: of each part of the time, where the mouths differ most.

    Parameters
    ----------
    durations_s : list of float
        Of the videos; all are shown at all instants.
    curves : list of (times_s, opening) or None
        Lip curves, as `Run.curve`; with fewer than two, the middles of the parts.
    count : int
        Equal parts.

    Returns
    -------
    float64 [count], seconds, rising
    """
    edges = np.linspace(0, min(durations_s), count + 1)
    times_s = (edges[:-1] + edges[1:]) / 2
    known = [curve for curve in curves if curve is not None]
    if len(known) < 2:
        return times_s
    for k in range(count):
        grid = np.arange(edges[k], edges[k + 1], 0.02)
        spread = np.ptp([np.interp(grid, *curve) for curve in known], axis=0)
        if spread.max(initial=0) > 1e-3:
            times_s[k] = grid[spread.argmax()]
    return times_s


def moments(video, times_s, faces) -> list[Moment | None]:
    """Frames of a video at some instants; None behind its end.

    Parameters
    ----------
    video : path
    times_s : float [n], seconds, rising
    faces : face backend
        As `heygem.avatar.make_backend` gives it.
    """
    found, expected = [], None
    for time_s in times_s:
        # The frame that is on the screen then: the last one that began before.
        with media.VideoReader(video, start_s=max(0.0, float(time_s) - 0.25)) as reader:
            shown = None
            for frame in reader:
                if shown is not None and frame.time_s > time_s + 1e-6:
                    break
                shown = frame
        if shown is None:
            found.append(None)
            continue
        mouth = mouth_of(shown.image, faces, near=expected)
        expected = expected if mouth is None else mouth.face
        found.append(Moment(shown.time_s, shown.image, mouth))
    return found


def mouth_of(image, faces, *, near=None) -> Mouth | None:
    """Cut the mouth of the largest face out (of the one that is nearest to `near`, if given)."""
    regions = faces.detect(image)
    if not regions:
        return None
    if near is None:
        region = max(regions, key=lambda r: r.size_px)
    else:
        region = min(regions, key=lambda r: np.hypot(*(r.centre - near)) / r.size_px)
    points, _ = faces.mesh(image, region)
    points, _ = faces.mesh(image, region_of(points))  # the detector's box is rough
    lips = points[topo.LIPS_OUTER, :2]
    corners = points[list(topo.MOUTH_CORNERS), :2]
    eyes = points[list(topo.EYE_OUTER), :2]
    # Two thirds of the eyes' distance is a closed mouth's width, so that one that rounds does not
    # look as if the camera came nearer.
    wide = max(np.hypot(*(corners[1] - corners[0])), 0.62 * np.hypot(*(eyes[1] - eyes[0])))
    wide *= MOUTH_WIDTHS
    x, y = (lips.min(0) + lips.max(0)) / 2
    size = (round(wide), round(wide * MOUTH_ASPECT))
    cut = cv2.getRectSubPix(image, size, (float(x), float(y)))
    return Mouth(cut, (float(x / image.shape[1]), float(y / image.shape[0])), region.centre)


def sheet(rows, captions) -> np.ndarray:
    """All moments on one picture: one row per video, its mouths below its frames.

    Parameters
    ----------
    rows : list of list of Moment or None
    captions : list of str
        Of the rows.

    Returns
    -------
    uint8 [h, w, 3], RGB
    """
    parts = []
    for moments_, text in zip(rows, captions, strict=True):
        frames = [one for one in moments_ if one is not None]
        height, width = frames[0].image.shape[:2] if frames else (1, 1)
        tall = min(round(CELL_PX * height / width), round(CELL_PX * 1.25))
        cells = [_cell(one, tall) for one in moments_]
        parts += [caption(text, CELL_PX * len(cells), CAPTION_PX), np.concatenate(cells, 1)]
    return np.concatenate(parts, 0)


def _cell(moment, tall):
    below = round(CELL_PX * MOUTH_ASPECT)
    if moment is None:
        return np.full((tall + below, CELL_PX, 3), PAPER, np.uint8)
    picture = fit(moment.image, CELL_PX, tall)
    text, place = f"{moment.time_s:.2f} s", (5, tall - 7)
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, thickness)
    mouth = np.full((below, CELL_PX, 3), PAPER, np.uint8)
    if moment.mouth is not None:
        mouth = cv2.resize(moment.mouth.image, (CELL_PX, below), interpolation=cv2.INTER_CUBIC)
    cell = np.concatenate([picture, mouth], 0)
    cell[:, -2:] = PAPER
    return cell


def fit(image, width, height, *, aspect=None) -> np.ndarray:
    """The whole picture inside a box of this size, on paper : uint8 [height, width, 3].

    `aspect` is its width over height as shown, where its pixels are not square.
    """
    h, w = image.shape[:2]
    aspect = aspect if aspect is not None else w / h
    tall = min(height, width / aspect)
    size = (min(width, max(1, round(tall * aspect))), max(1, round(tall)))
    how = cv2.INTER_AREA if tall < h else cv2.INTER_LINEAR
    out = np.full((height, width, 3), PAPER, np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    out[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=how)
    return out


def caption(text, width, height) -> np.ndarray:
    """A line of text on paper : uint8 [height, width, 3]."""
    from matplotlib import font_manager
    from PIL import Image, ImageDraw, ImageFont

    path = Path(font_manager.findfont("DejaVu Sans", fallback_to_default=True))
    font = ImageFont.truetype(str(path), round(height * 0.58))
    page = Image.new("RGB", (width, height), (PAPER,) * 3)
    ImageDraw.Draw(page).text(
        (6, height / 2), drawable(text), fill=(INK,) * 3, font=font, anchor="lm"
    )
    return np.asarray(page).copy()


def drawable(text) -> str:
    """What the font at hand has letters for; a run's letter (A, B ...) is always among them."""
    kept = "".join(c if ord(c) < 0x500 or 0x2000 <= ord(c) < 0x2E80 else " " for c in text)
    return " ".join(kept.split())
