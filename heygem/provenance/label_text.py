"""The pixels of the visible label: its words, in one line or two, with a logo, on a dark ground."""

import re
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image as PilImage
from PIL import ImageDraw, ImageFont

from heygem.config.params import LabelSettings
from heygem.core.errors import AssetError, InputError, ParameterError
from heygem.core.files import require_regular_file
from heygem.core.types import FloatArray, Image, PathLike

MIN_HEIGHT = 0.05  # of the shorter side: GB 45438-2025 §5.4, known from quotations
_REQUIRED_WORDS = re.compile(r"人工智能|(?<![a-z0-9])ai(?![a-z0-9])|生成|合成", re.IGNORECASE)
_FONT = "NotoSansCJKsc-Bold-subset.otf"
_NONCHARACTER = "\U0010fffe"  # no font maps it, so it renders as the missing glyph


@dataclass(frozen=True)
class RenderedLabel:
    """The label's pixels: `image uint8 [h, w, 3]`, RGB, and `alpha float32 [h, w]`, 0..1."""

    image: Image
    alpha: FloatArray
    text_height_px: int  # of the lowest glyph among the required words


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


def _load_font(font_path: PathLike | None, size_px: int) -> ImageFont.FreeTypeFont:
    if font_path is None:
        with as_file(files("heygem.provenance") / "fonts" / _FONT) as path:
            return _open_font(path, size_px)
    return _open_font(Path(font_path), size_px)


def _open_font(path: Path, size_px: int) -> ImageFont.FreeTypeFont:
    try:
        require_regular_file(path)
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
    """Height of the lowest glyph of the required words, pixels."""
    characters = {c for match in _REQUIRED_WORDS.finditer(text) for c in match[0]}
    boxes = [_text_box(font, c) for c in characters or "A"]
    return min(box[3] - box[1] for box in boxes)


def render_label(
    lines: list[str], settings: LabelSettings, width: int, height: int
) -> RenderedLabel:
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
        require_regular_file(path)
        with PilImage.open(path) as opened:
            logo = opened.convert("RGBA")
    except (OSError, SyntaxError, ValueError, PilImage.DecompressionBombError) as error:
        raise InputError(
            "the label's logo cannot be read", seen=path, remedy="give a PNG or JPEG picture"
        ) from error
    scale = height_px / logo.height
    return logo.resize((max(round(logo.width * scale), 1), max(round(height_px), 1)))
