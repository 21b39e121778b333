"""The visible label: text in a corner that states that the video is AI-generated.

China's labelling Measures (in force since 2025-09-01) and GB 45438-2025 §5.4 require words that
name AI and generation, at an edge or corner, at least 2 s from the start, with letters of at least
5 % of the frame's shorter side. Here the label is shown for the whole clip, or for the seconds that
the settings name, in one place, chosen once so that it avoids the face in all frames. It is
rendered once (`label_text`) into an image that is blended into each frame.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from av.video.reformatter import Colorspace

from heygem.config.label_wording import wording_problem
from heygem.config.params import LabelSettings
from heygem.core.errors import ParameterError
from heygem.core.types import FloatArray, Image
from heygem.media.colour import ycbcr_factors
from heygem.media.yuv import YuvImage
from heygem.provenance.label_text import RenderedLabel, render_label

MIN_DURATION_S = 2.0  # the label must be shown for this long
#: What a label that ends before its clip does not do; sources in `docs/compliance.md`.
SHORT_LABEL_NOTE = (
    "the visible label ends after {seconds:g} s: enough for GB 45438-2025 §5.4, but later excerpts "
    "and viewers who join later see none, which the EU AI Act, art. 50(4) and (5), and the Deep "
    "Synthesis Provisions, art. 17, ask for"
)
_EDGE_STEPS = 12  # places along an edge that are tried after the corners
_FACE_MARGIN = 0.12  # of the face's height: hair and chin, kept clear where there is room


Box = tuple[float, float, float, float]  # x0, y0, x1, y1, pixels
Window = tuple[slice, slice]  # rows, columns


class VisibleLabel:
    """A label in one place for a whole clip.

    Parameters
    ----------
    settings
        `text`, `seconds`, `corner`, `opacity`, `height`, `logo`, `font`, `visible`.
    width, height
        Size of the frames, pixels.
    keep_clear
        Boxes that the label must not cover, (x0, y0, x1, y1) in pixels: the face boxes of the
        whole clip. The requested corner, the other corners, and places along the edges are tried
        in this order. Where all of them meet a face, the place is chosen that covers the least of
        it, its lower part weighted most, and `notes` states how much that is.

    Attributes
    ----------
    box : (x0, y0, x1, y1) or None
        The only pixels `draw` changes; None where the label is switched off.
    notes : list of str
        Departures from the settings: moved, broken into lines, switched off.
    text_height_px : int
        Height of the lowest glyph of the required words.

    Raises
    ------
    ParameterError
        The label does not fit into the frame, or its font lacks a glyph.
    AssetError, InputError
        The font or the logo cannot be read.
    """

    def __init__(
        self,
        settings: LabelSettings,
        width: int,
        height: int,
        *,
        keep_clear: Sequence[Box] | FloatArray | None = None,
    ) -> None:
        self.notes: list[str] = []
        self.box: tuple[int, int, int, int] | None = None
        self.text_height_px = 0
        if not settings.visible:
            self.notes.append(
                f"visible label switched off, asked for by {settings.requester}, approved by "
                f"{settings.approver}: {settings.reason}"
            )
            return
        faces = _face_boxes(keep_clear)
        self._end_s = settings.seconds
        if settings.seconds is not None:
            self.notes.append(SHORT_LABEL_NOTE.format(seconds=settings.seconds))
        if wording_problem(settings.text):
            self.notes.append("visible label lacks 生成 or 合成, which GB 45438-2025 asks for")
        label, position = self._place(settings, width, height, faces)
        h, w = label.alpha.shape
        x, y, _ = position
        self.box = (x, y, x + w, y + h)
        self.text_height_px = label.text_height_px
        # out = (frame * frame_weight + weighted_label) >> 8 in 16 bits: at most 255 * 256 + 128.
        alpha = np.rint(label.alpha * 256).astype(np.uint16)[..., None]
        self._frame_weight = np.repeat(256 - alpha, 3, axis=2)
        self._weighted_label = label.image * alpha + np.uint16(128)
        self._label = label
        self._planes: dict[Colorspace, list[tuple[Window, FloatArray, FloatArray]]] = {}

    def _place(
        self, settings: LabelSettings, width: int, height: int, faces: FloatArray
    ) -> tuple[RenderedLabel, tuple[int, int, str]]:
        """The rendered label and its place (x, y, name); departures go into `notes`."""
        text = settings.text
        label = render_label([text], settings, width, height)
        position = _free_position(label, settings.corner, width, height, faces)
        if position is None and " / " in text:  # two short lines fit where a long one does not
            lines = [part.strip() for part in text.split(" / ")]
            label = render_label(lines, settings, width, height)
            position = _free_position(label, settings.corner, width, height, faces)
            self.notes.append("visible label broken into two lines")
        h, w = label.alpha.shape
        if w > width or h > height:
            raise ParameterError(
                "the visible label does not fit into the picture",
                seen=f"{w}x{h} in {width}x{height}: {text}",
                remedy="use a shorter label.text",
            )
        if position is None:
            position = _least_covering_position(label, settings.corner, width, height, faces)
            x, y, _ = position
            covered = _covered(np.array([x, y, x + w, y + h]), faces).max()
            self.notes.append(
                f"visible label covers part of the face box, {covered:.0%} at most: there is no "
                "free place in the picture; the label may not be smaller or left out"
            )
        elif position[2] != settings.corner:
            self.notes.append(f"visible label moved to {position[2]}, clear of the face")
        return label, position

    def draw(self, image: Image, time_s: float = 0.0) -> Image:
        """A copy of the frame with the label.

        Parameters
        ----------
        image
            uint8 [H, W, 3], RGB
        time_s
            When the frame is shown; decides where `settings.seconds` ends the label.

        Returns
        -------
        uint8 [H, W, 3]
            Equal to `image` outside `box`; `image` itself where there is no label.
        """
        if not self.is_shown(time_s):
            return image
        assert self.box is not None
        x0, y0, x1, y1 = self.box
        out = image.copy()
        region = out[y0:y1, x0:x1]
        mixed = region * self._frame_weight  # uint8 * uint16 -> uint16
        mixed += self._weighted_label
        mixed >>= 8
        out[y0:y1, x0:x1] = mixed
        return out

    def draw_in_planes(self, image: YuvImage, time_s: float = 0.0) -> None:
        """As `draw`, into a frame in the codec's planes, in place.

        Blending commutes with the conversion to YCbCr, which is linear, and with the averages that
        make chroma: the label is converted once.
        """
        if not self.is_shown(time_s):
            return
        for plane, (window, weight, weighted) in zip(
            (image.y, image.u, image.v), self.in_planes(image.matrix, image.shape), strict=True
        ):
            mixed = plane[window] * weight
            mixed += weighted
            plane[window] = mixed

    def is_shown(self, time_s: float) -> bool:
        """Whether a frame of this time carries the label."""
        return self.box is not None and (self._end_s is None or time_s <= self._end_s)

    def in_planes(
        self, matrix: Colorspace, size: tuple[int, ...]
    ) -> list[tuple[Window, FloatArray, FloatArray]]:
        """For Y, Cb and Cr: the window, the frame's weight there, and the weighted label.

        `plane[window] * weight + weighted`, cut to whole levels, is the labelled plane.
        """
        if matrix not in self._planes:
            self._planes[matrix] = self._convert(matrix, size)
        return self._planes[matrix]

    def _convert(
        self, matrix: Colorspace, size: tuple[int, ...]
    ) -> list[tuple[Window, FloatArray, FloatArray]]:
        assert self.box is not None
        x0, y0, x1, y1 = self.box
        # An even window with a pixel more on the left, which the first chroma column reads.
        left, top = max(0, x0 - 2) // 2 * 2, y0 // 2 * 2
        right, bottom = min(size[1], x1 + x1 % 2), min(size[0], y1 + y1 % 2)
        alpha = np.zeros((bottom - top, right - left), np.float32)
        colour = np.zeros((*alpha.shape, 3), np.float32)
        part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
        alpha[part], colour[part] = self._label.alpha, self._label.image
        levels = colour @ ycbcr_factors(matrix).T + np.array([16, 128, 128], np.float32)
        window = np.s_[top:bottom, left:right]
        planes: list[tuple[Window, FloatArray, FloatArray]] = [
            (window, 1 - alpha, alpha * levels[..., 0] + 0.5)
        ]
        half = np.s_[top // 2 : bottom // 2, left // 2 : right // 2]
        for channel in (1, 2):
            weighted = _chroma_average(alpha * levels[..., channel]) + 0.5
            planes.append((half, 1 - _chroma_average(alpha), weighted))
        return planes


def label_strip_px(settings: LabelSettings, width: int, content_px: int) -> int:
    """Height of a strip above the content of a page in which the label stands alone, even.

    Parameters
    ----------
    settings
    width, content_px
        Width of the page, and height of what stands below the strip, pixels.
    """
    # The label's size depends on the page's height, which depends on the strip: 15 % more.
    label = VisibleLabel(settings, width, round(content_px * 1.15)).box
    return 0 if label is None else 2 * (label[3] + min(label[1], content_px - label[3])) // 2


def _chroma_average(values: FloatArray) -> FloatArray:
    """Averages around the left column of every 2x2 pixels, where H.264 has its chroma.

    Float [2 h, 2 w] to [h, w].
    """
    rows = (values[::2] + values[1::2]) / 2
    before = np.concatenate([rows[:, :1], rows[:, 1:-1:2]], axis=1)
    return (before + 2 * rows[:, ::2] + rows[:, 1::2]) / 4


def _face_boxes(keep_clear: Sequence[Box] | FloatArray | None) -> FloatArray:
    """The finite boxes among those to keep clear : float64 [n, 4]."""
    if keep_clear is None:
        return np.zeros((0, 4))
    boxes = np.asarray(keep_clear, np.float64).reshape(-1, 4)
    return boxes[np.isfinite(boxes).all(1)]


def _covered(box: FloatArray, faces: FloatArray) -> FloatArray:
    """Share of each face box that a label's box covers : float64 [n], 0..1."""
    w = np.minimum(box[2], faces[:, 2]) - np.maximum(box[0], faces[:, 0])
    h = np.minimum(box[3], faces[:, 3]) - np.maximum(box[1], faces[:, 1])
    area = (faces[:, 2] - faces[:, 0]) * (faces[:, 3] - faces[:, 1])
    return np.maximum(w, 0) * np.maximum(h, 0) / np.maximum(area, 1)


def _positions(
    label: RenderedLabel, corner: str, width: int, height: int
) -> Iterator[tuple[int, int, str]]:
    """Places of the label as (x, y, name): the requested corner, the others, then the edges."""
    h, w = label.alpha.shape
    margin = max(round(0.025 * min(width, height)), 1)
    xs = {"left": margin, "right": max(width - w - margin, 0)}
    ys = {"top": margin, "bottom": max(height - h - margin, 0)}
    vertical, side = corner.split("-")
    verticals = (vertical, "bottom" if vertical == "top" else "top")
    sides = (side, "right" if side == "left" else "left")
    for v in verticals:
        for s in sides:
            yield xs[s], ys[v], f"{v}-{s}"
    along = np.arange(1, _EDGE_STEPS) / _EDGE_STEPS
    for v in verticals:
        for share in along:
            yield round(margin + share * (xs["right"] - margin)), ys[v], f"the {v} edge"
    for s in sides:
        for share in along:
            yield xs[s], round(margin + share * (ys["bottom"] - margin)), f"the {s} edge"


def _free_position(
    label: RenderedLabel, corner: str, width: int, height: int, faces: FloatArray
) -> tuple[int, int, str] | None:
    """The first place that no face meets, if possible with a margin; None if none is free."""
    h, w = label.alpha.shape
    if w > width or h > height:
        return None
    margin = _FACE_MARGIN * (faces[:, 3] - faces[:, 1])[:, None] * [-1, -1, 1, 1]
    for obstacles in (faces + margin, faces):
        for x, y, name in _positions(label, corner, width, height):
            if not _covered(np.array([x, y, x + w, y + h]), obstacles).any():
                return x, y, name
    return None


def _least_covering_position(
    label: RenderedLabel, corner: str, width: int, height: int, faces: FloatArray
) -> tuple[int, int, str]:
    """The place that covers least of the faces; the half with the mouth counts three times."""
    h, w = label.alpha.shape
    lower = faces.copy()
    lower[:, 1] = faces[:, [1, 3]].mean(1)

    def cost(position: tuple[int, int, str]) -> float:
        x, y, _ = position
        box = np.array([x, y, x + w, y + h])
        return float(_covered(box, faces).mean() + _covered(box, lower).mean())

    return min(_positions(label, corner, width, height), key=cost)
