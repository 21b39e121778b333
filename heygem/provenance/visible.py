"""The visible label: text in a corner that states that the video is AI-generated.

China's labelling Measures (in force since 2025-09-01) and GB 45438-2025 §5.4 require words that
name AI and generation, at an edge or corner, at least 2 s from the start, with letters of at least
5 % of the frame's shorter side. Here the label is shown for the whole clip in one place, chosen
once so that it avoids all face boxes. It is rendered once into an image that is blended into each
frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from heygem.config.params import LabelSettings
from heygem.core.errors import AssetError, InputError, ParameterError
from heygem.core.types import FloatArray, Image, PathLike

AI_WORDS = ("人工智能", "AI")
GENERATED_WORDS = ("生成", "合成")
MIN_HEIGHT = 0.05  # of the shorter side: GB 45438-2025 §5.4, known from quotations
MIN_DURATION_S = 2.0  # the label must be shown for this long
_FONT = "NotoSansCJKsc-Bold-subset.otf"
_NONCHARACTER = "\U0010fffe"  # no font maps it, so it renders as the missing glyph


Box = tuple[float, float, float, float]  # x0, y0, x1, y1, pixels


@dataclass(frozen=True)
class RenderedLabel:
    """The label's pixels: `image uint8 [h, w, 3]`, RGB, and `alpha float32 [h, w]`, 0..1."""

    image: Image
    alpha: FloatArray
    text_height_px: int  # of the lowest glyph among the required words


def states_ai_generated(text: str) -> bool:
    """Whether a text names AI and generation in the words of GB 45438-2025 §5.4."""
    return any(w in text for w in AI_WORDS) and any(w in text for w in GENERATED_WORDS)


class VisibleLabel:
    """A label in one place for a whole clip.

    Parameters
    ----------
    settings
        `text`, `corner`, `opacity`, `height`, `logo`, `font`, `visible`.
    width, height
        Size of the frames, pixels.
    keep_clear
        Boxes that the label must not cover, (x0, y0, x1, y1) in pixels: the face boxes of the
        whole clip. Their bounding box is avoided.

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
                f"visible label switched off, asked for by {settings.requester}: {settings.reason}"
            )
            return
        face = _bounding_box(keep_clear)
        text = settings.text
        if not states_ai_generated(text):
            self.notes.append("visible label lacks 生成 or 合成, which GB 45438-2025 asks for")
        label = _render([text], settings, width, height)
        position = _free_position(label, settings.corner, width, height, face)
        if position is None and " / " in text:  # two short lines fit where a long one does not
            lines = [part.strip() for part in text.split(" / ")]
            label = _render(lines, settings, width, height)
            position = _free_position(label, settings.corner, width, height, face)
            self.notes.append("visible label broken into two lines")
        h, w = label.alpha.shape
        if w > width or h > height:
            raise ParameterError(
                "the visible label does not fit into the picture",
                seen=f"{w}x{h} in {width}x{height}: {text}",
                remedy="use a shorter label.text",
            )
        if position is None:
            position = _least_covering_position(label, width, height, face)
            self.notes.append("visible label covers part of the face box: no free place in frame")
        elif position[2] != settings.corner:
            self.notes.append(f"visible label moved to {position[2]}, clear of the face")
        x, y, _ = position
        self.box = (x, y, x + w, y + h)
        self.text_height_px = label.text_height_px
        # out = (frame * frame_weight + weighted_label) >> 8 in 16 bits: at most 255 * 256 + 128.
        alpha = np.rint(label.alpha * 256).astype(np.uint16)[..., None]
        self._frame_weight = np.repeat(256 - alpha, 3, axis=2)
        self._weighted_label = label.image * alpha + np.uint16(128)

    def draw(self, image: Image) -> Image:
        """A copy of the frame with the label.

        Parameters
        ----------
        image
            uint8 [H, W, 3], RGB

        Returns
        -------
        uint8 [H, W, 3]
            Equal to `image` outside `box`; `image` itself if the label is switched off.
        """
        if self.box is None:
            return image
        x0, y0, x1, y1 = self.box
        out = image.copy()
        region = out[y0:y1, x0:x1]
        mixed = region * self._frame_weight  # uint8 * uint16 -> uint16
        mixed += self._weighted_label
        mixed >>= 8
        out[y0:y1, x0:x1] = mixed
        return out


def render_template(text: str, height_px: float) -> FloatArray | None:
    """The letters of a label for template matching: white with dark edges on grey.

    Parameters
    ----------
    text
        One line.
    height_px
        Of the lowest glyph among the required words.

    Returns
    -------
    float32 [h, w], 0..255, or None if the text is too small to be recognised
    """
    font = _load_font(None, 100)
    size = round(100 * height_px / max(_words_height_px(font, text), 1))
    if size < 9:
        return None
    font = _load_font(None, size)
    stroke = max(round(size / 24), 1)
    box = _text_box(font, text, stroke)
    image = PilImage.new("L", (box[2] - box[0], box[3] - box[1]), 60)
    ImageDraw.Draw(image).text(
        (-box[0], -box[1]), text, font=font, fill=255, stroke_width=stroke, stroke_fill=0
    )
    return np.asarray(image, np.float32)


def _bounding_box(keep_clear: Sequence[Box] | FloatArray | None) -> Box | None:
    if keep_clear is None:
        return None
    boxes = np.asarray(keep_clear, np.float64).reshape(-1, 4)
    boxes = boxes[np.isfinite(boxes).all(1)]
    if len(boxes) == 0:
        return None
    x0, y0 = boxes[:, :2].min(0)
    x1, y1 = boxes[:, 2:].max(0)
    return x0, y0, x1, y1


def _load_font(font_path: PathLike | None, size_px: int) -> ImageFont.FreeTypeFont:
    if font_path is None:
        with as_file(files("heygem.provenance") / "fonts" / _FONT) as path:
            return _open_font(path, size_px)
    return _open_font(Path(font_path), size_px)


def _open_font(path: Path, size_px: int) -> ImageFont.FreeTypeFont:
    try:
        # Basic layout: the same glyph boxes with and without the optional shaping library.
        return ImageFont.truetype(str(path), size_px, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise AssetError(
            "the label's font cannot be opened",
            seen=path,
            remedy="set label.font to a readable TrueType or OpenType file, or leave it empty",
        ) from error


def _check_glyphs(font: ImageFont.FreeTypeFont, text: str) -> None:
    missing_glyph = _glyph(font, _NONCHARACTER)
    missing = [c for c in text if not c.isspace() and _glyph(font, c) == missing_glyph]
    if missing:
        raise ParameterError(
            "the label's font has no glyph for part of the text",
            seen="".join(dict.fromkeys(missing)),
            remedy="set label.font to a font that has it",
        )


def _glyph(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character, mode="L")
    return mask.size, bytes(mask)


def _text_box(
    font: ImageFont.FreeTypeFont, text: str, stroke_px: int = 0
) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = font.getbbox(text, stroke_width=stroke_px)
    return int(x0), int(y0), int(x1), int(y1)


def _words_height_px(font: ImageFont.FreeTypeFont, text: str) -> int:
    """Height of the lowest glyph among the required words, pixels."""
    characters = {c for word in (*AI_WORDS, *GENERATED_WORDS) if word in text for c in word}
    boxes = [_text_box(font, c) for c in characters or "A"]
    return min(box[3] - box[1] for box in boxes)


def _render(lines: list[str], settings: LabelSettings, width: int, height: int) -> RenderedLabel:
    """Text and logo on a dark plate, which makes them legible on any background."""
    required_px = int(np.ceil(max(settings.height, MIN_HEIGHT) * min(width, height)))
    # The font size is that of the em; capitals and ideographs are lower: increase it until they
    # are high enough.
    size = required_px
    font = _load_font(settings.font, size)
    _check_glyphs(font, "".join(lines))
    while _words_height_px(font, "".join(lines)) < required_px:
        size += 1
        font = _load_font(settings.font, size)
    pad = max(round(size * 0.22), 2)
    stroke = max(round(size / 24), 1)
    boxes = [_text_box(font, line, stroke) for line in lines]
    gap = round(size * 0.25)
    logo = _load_logo(settings.logo, size * len(lines))
    left = pad + (logo.width + pad if logo is not None else 0)
    w = left + max(b[2] - b[0] for b in boxes) + pad
    h = pad * 2 + sum(b[3] - b[1] for b in boxes) + gap * (len(lines) - 1)
    plate = PilImage.new("RGBA", (w, h), (0, 0, 0, 0))
    draw = ImageDraw.Draw(plate)
    draw.rounded_rectangle((0, 0, w - 1, h - 1), radius=pad, fill=(0, 0, 0, 120))
    ink = PilImage.new("RGBA", (w, h), (0, 0, 0, 0))
    draw = ImageDraw.Draw(ink)
    y = pad
    for line, box in zip(lines, boxes, strict=True):
        draw.text(
            (left - box[0], y - box[1]),
            line,
            font=font,
            fill=(255, 255, 255, 255),
            stroke_width=stroke,
            stroke_fill=(0, 0, 0, 255),
        )
        y += box[3] - box[1] + gap
    if logo is not None:
        ink.alpha_composite(logo, (pad, (h - logo.height) // 2))
    plate.alpha_composite(ink)
    pixels = np.asarray(plate)
    alpha = pixels[..., 3].astype(np.float32) / 255 * settings.opacity
    text_height_px = _words_height_px(font, "".join(lines))
    return RenderedLabel(pixels[..., :3].copy(), alpha, text_height_px)


def _load_logo(path: PathLike | None, height_px: int) -> PilImage.Image | None:
    if path is None:
        return None
    try:
        with PilImage.open(path) as opened:
            logo = opened.convert("RGBA")
    except OSError as error:
        raise InputError(
            "the label's logo cannot be read", seen=path, remedy="give a PNG or JPEG picture"
        ) from error
    scale = height_px / logo.height
    return logo.resize((max(round(logo.width * scale), 1), max(round(height_px), 1)))


def _overlap(box: Box, other: Box | None) -> float:
    """Area of `box` inside `other`, pixels squared."""
    if other is None:
        return 0.0
    w = min(box[2], other[2]) - max(box[0], other[0])
    h = min(box[3], other[3]) - max(box[1], other[1])
    return max(w, 0) * max(h, 0)


def _positions(label: RenderedLabel, width: int, height: int) -> dict[str, tuple[int, int]]:
    """Possible positions of the label: (x, y) by name, such as `top-left`."""
    h, w = label.alpha.shape
    margin = max(round(0.025 * min(width, height)), 1)
    xs = {"left": margin, "center": (width - w) // 2, "right": width - w - margin}
    ys = {"top": margin, "bottom": height - h - margin}
    return {f"{v}-{s}": (max(xs[s], 0), max(ys[v], 0)) for v in ys for s in xs}


def _free_position(
    label: RenderedLabel, corner: str, width: int, height: int, face: Box | None
) -> tuple[int, int, str] | None:
    """The requested corner or the nearest free one, as (x, y, name); None if none is free."""
    h, w = label.alpha.shape
    if w > width or h > height:
        return None
    positions = _positions(label, width, height)
    vertical, side = corner.split("-")
    other_side = {"left": "right", "right": "left", "center": "right"}[side]
    other_vertical = {"top": "bottom", "bottom": "top"}[vertical]
    order = [corner]
    order += [f"{v}-{s}" for v in (vertical, other_vertical) for s in (side, other_side)]
    order += [f"{vertical}-center", f"{other_vertical}-center"]
    for name in order:
        x, y = positions[name]
        if _overlap((x, y, x + w, y + h), face) == 0:
            return x, y, name
    return None


def _least_covering_position(
    label: RenderedLabel, width: int, height: int, face: Box | None
) -> tuple[int, int, str]:
    """The position that covers least of the face, as (x, y, name)."""
    h, w = label.alpha.shape
    positions = _positions(label, width, height)
    name = min(
        positions,
        key=lambda n: _overlap((*positions[n], positions[n][0] + w, positions[n][1] + h), face),
    )
    return (*positions[name], name)
