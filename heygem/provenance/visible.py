"""The label people see: text in a corner saying that the picture is AI-made.

China's labelling Measures (in force since 2025-09-01) and GB 45438-2025 §5.4 ask for words that
name AI and generation, at an edge or corner, at least 2 s from the start, no lower than 5 % of the
picture's shorter side. Here the label stands for the whole clip and in one place: where it goes is
decided once, from all boxes it must keep clear of, and it is rendered once into a patch that is
then blended into each frame.
"""

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from heygem.core.errors import AssetError, InputError, ParameterError

AI_WORDS = ("人工智能", "AI")
MADE_WORDS = ("生成", "合成")
MIN_HEIGHT = 0.05  # of the shorter side: GB 45438-2025 §5.4, read in quotations
SHORTEST_S = 2.0  # the label has to be seen for this long
_FONT = "NotoSansCJKsc-Bold-subset.otf"
_ABSENT = "\U0010fffe"  # a noncharacter: no font maps it, so it renders as "missing"


@dataclass(frozen=True)
class Layout:
    """The label as pixels: `image uint8 [h, w, 3]`, `alpha float32 [h, w]` in 0..1."""

    image: np.ndarray
    alpha: np.ndarray
    text_height_px: int  # of the lowest glyph among the words that make it a label


def says_ai_made(text):
    """Whether a text names AI and generation, as GB 45438-2025 §5.4 words it."""
    return any(w in text for w in AI_WORDS) and any(w in text for w in MADE_WORDS)


class VisibleLabel:
    """A label that stands in one place for a whole clip.

    Parameters
    ----------
    settings : heygem.config.params.LabelSettings
        `text`, `corner`, `opacity`, `height`, `logo`, `font`, `visible`.
    width, height : int
        Size of the frames, pixels.
    keep_clear : sequence of (x0, y0, x1, y1) or one such box, optional
        What the label must not cover, pixels: the face boxes of the whole clip. Their union
        decides.

    Attributes
    ----------
    box : (x0, y0, x1, y1) or None
        The only pixels `draw` changes; None where the label is switched off.
    notes : list of str
        What was decided against the wish: moved, broken into lines, switched off.
    text_height_px : int
        Height of the lowest glyph of the words that make the label.
    """

    def __init__(self, settings, width, height, *, keep_clear=None):
        self.notes = []
        self.box = None
        self.text_height_px = 0
        if not settings.visible:
            self.notes.append(
                f"visible label switched off, asked for by {settings.requester}: {settings.reason}"
            )
            return
        boxes = _boxes(keep_clear)
        text = settings.text
        if not says_ai_made(text):
            self.notes.append("visible label lacks 生成 or 合成, which GB 45438-2025 asks for")
        lines = [text]
        layout = _render(lines, settings, width, height)
        spot = _place(layout, settings.corner, width, height, boxes)
        if spot is None and " / " in text:  # two short lines fit where a long one does not
            lines = [part.strip() for part in text.split(" / ")]
            layout = _render(lines, settings, width, height)
            spot = _place(layout, settings.corner, width, height, boxes)
            self.notes.append("visible label broken into two lines")
        if layout.image.shape[1] > width or layout.image.shape[0] > height:
            raise ParameterError(
                "the visible label does not fit into the picture",
                seen=f"{layout.image.shape[1]}x{layout.image.shape[0]} in {width}x{height}: {text}",
                remedy="use a shorter label.text",
            )
        if spot is None:
            spot = _least_covering(layout, width, height, boxes)
            self.notes.append("visible label covers part of the face box: no free place in frame")
        elif spot[2] != settings.corner:
            self.notes.append(f"visible label moved to {spot[2]}, clear of the face")
        x, y = spot[0], spot[1]
        h, w = layout.alpha.shape
        self.box = (x, y, x + w, y + h)
        self.text_height_px = layout.text_height_px
        # out = (frame * keep + add) >> 8 in 16 bits: at most 255 * 256 + 128.
        alpha = np.rint(layout.alpha * 256).astype(np.uint16)[..., None]
        self._keep = np.repeat(256 - alpha, 3, axis=2)
        self._add = layout.image * alpha + np.uint16(128)

    def draw(self, image):
        """A copy of the frame with the label on it.

        Parameters
        ----------
        image : uint8 [H, W, 3], RGB

        Returns
        -------
        uint8 [H, W, 3]
            Equal to `image` outside `box`; `image` itself where the label is switched off.
        """
        if self.box is None:
            return image
        x0, y0, x1, y1 = self.box
        out = image.copy()
        region = out[y0:y1, x0:x1]
        mixed = region * self._keep  # uint8 * uint16 -> uint16
        mixed += self._add
        mixed >>= 8
        out[y0:y1, x0:x1] = mixed
        return out


def template(text, height_px):
    """What a label's letters look like, for finding them: white with dark edges on mid-grey.

    Parameters
    ----------
    text : str
        One line.
    height_px : float
        Of the lowest glyph among the words that make it a label.

    Returns
    -------
    float32 [h, w], 0..255, or None where the text is too small to be told apart
    """
    font = _font(None, 100)
    size = round(100 * height_px / max(_words_height_px(font, text), 1))
    if size < 9:
        return None
    font = _font(None, size)
    stroke = max(round(size / 24), 1)
    box = font.getbbox(text, stroke_width=stroke)
    image = Image.new("L", (box[2] - box[0], box[3] - box[1]), 60)
    ImageDraw.Draw(image).text(
        (-box[0], -box[1]), text, font=font, fill=255, stroke_width=stroke, stroke_fill=0
    )
    return np.asarray(image, np.float32)


def _boxes(keep_clear):
    if keep_clear is None:
        return []
    boxes = np.asarray(keep_clear, np.float64).reshape(-1, 4)
    boxes = boxes[np.isfinite(boxes).all(1)]
    if len(boxes) == 0:
        return []
    return [(*boxes[:, :2].min(0), *boxes[:, 2:].max(0))]


def _font(font_path, size_px):
    if font_path is None:
        with as_file(files("heygem.provenance") / "fonts" / _FONT) as path:
            return _open_font(path, size_px)
    return _open_font(Path(font_path), size_px)


def _open_font(path, size_px):
    try:
        # Plain layout: the same glyph boxes wherever the optional shaping library is missing.
        return ImageFont.truetype(str(path), size_px, layout_engine=ImageFont.Layout.BASIC)
    except OSError as e:
        raise AssetError(
            "the label's font cannot be opened",
            seen=path,
            remedy="set label.font to a readable TrueType or OpenType file, or leave it empty",
        ) from e


def _check_glyphs(font, text):
    missing_shape = _shape(font, _ABSENT)
    lost = [c for c in text if not c.isspace() and _shape(font, c) == missing_shape]
    if lost:
        raise ParameterError(
            "the label's font has no glyph for part of the text",
            seen="".join(dict.fromkeys(lost)),
            remedy="set label.font to a font that has it",
        )


def _shape(font, character):
    mask = font.getmask(character, mode="L")
    return mask.size, bytes(mask)


def _words_height_px(font, text):
    """Height of the lowest glyph among the words that make the text a label, pixels."""
    characters = {c for word in (*AI_WORDS, *MADE_WORDS) if word in text for c in word}
    boxes = [font.getbbox(c) for c in characters or "A"]
    return min(box[3] - box[1] for box in boxes)


def _render(lines, settings, width, height):
    short = min(width, height)
    needed = int(np.ceil(max(settings.height, MIN_HEIGHT) * short))
    # Font size counts the em; capitals and ideographs are lower than that, so grow until they fit.
    size = needed
    font = _font(settings.font, size)
    _check_glyphs(font, "".join(lines))
    while _words_height_px(font, "".join(lines)) < needed:
        size += 1
        font = _font(settings.font, size)
    pad = max(round(size * 0.22), 2)
    stroke = max(round(size / 24), 1)
    boxes = [font.getbbox(line, stroke_width=stroke) for line in lines]
    gap = round(size * 0.25)
    logo = _logo(settings.logo, size * len(lines))
    left = pad + (logo.width + pad if logo is not None else 0)
    w = left + max(b[2] - b[0] for b in boxes) + pad
    h = pad * 2 + sum(b[3] - b[1] for b in boxes) + gap * (len(lines) - 1)
    # Drawn on a dark plate, so that it can be read on any ground.
    plate = Image.new("RGBA", (w, h), (0, 0, 0, 0))
    draw = ImageDraw.Draw(plate)
    draw.rounded_rectangle((0, 0, w - 1, h - 1), radius=pad, fill=(0, 0, 0, 120))
    ink = Image.new("RGBA", (w, h), (0, 0, 0, 0))
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
    words = _words_height_px(font, "".join(lines))
    return Layout(pixels[..., :3].copy(), alpha, words)


def _logo(path, height_px):
    if path is None:
        return None
    try:
        with Image.open(path) as opened:
            logo = opened.convert("RGBA")
    except OSError as e:
        raise InputError(
            "the label's logo cannot be read", seen=path, remedy="give a PNG or JPEG picture"
        ) from e
    scale = height_px / logo.height
    return logo.resize((max(round(logo.width * scale), 1), max(round(height_px), 1)))


def _overlap(box, boxes):
    """Area of `box` inside `boxes`, pixels squared."""
    area = 0.0
    for other in boxes:
        w = min(box[2], other[2]) - max(box[0], other[0])
        h = min(box[3], other[3]) - max(box[1], other[1])
        area += max(w, 0) * max(h, 0)
    return area


def _spots(layout, width, height):
    """Where the label can stand: name -> (x, y)."""
    h, w = layout.alpha.shape
    margin = max(round(0.025 * min(width, height)), 1)
    xs = {"left": margin, "center": (width - w) // 2, "right": width - w - margin}
    ys = {"top": margin, "bottom": height - h - margin}
    return {f"{v}-{s}": (max(xs[s], 0), max(ys[v], 0)) for v in ys for s in xs}


def _place(layout, corner, width, height, boxes):
    """The wished corner or the nearest free one, as (x, y, name); None where none is free."""
    h, w = layout.alpha.shape
    if w > width or h > height:
        return None
    spots = _spots(layout, width, height)
    vertical, side = corner.split("-")
    other_side = {"left": "right", "right": "left", "center": "right"}[side]
    other_vertical = {"top": "bottom", "bottom": "top"}[vertical]
    order = [corner]
    order += [f"{v}-{s}" for v in (vertical, other_vertical) for s in (side, other_side)]
    order += [f"{vertical}-center", f"{other_vertical}-center"]
    for name in order:
        x, y = spots[name]
        if _overlap((x, y, x + w, y + h), boxes) == 0:
            return x, y, name
    return None


def _least_covering(layout, width, height, boxes):
    h, w = layout.alpha.shape
    spots = _spots(layout, width, height)
    name = min(
        spots,
        key=lambda n: _overlap((*spots[n], spots[n][0] + w, spots[n][1] + h), boxes),
    )
    return (*spots[name], name)
