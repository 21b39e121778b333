"""A synthetic mouth interior, for people whose video never shows one.

A portrait with closed lips has no teeth and no cavity to copy. A viewer expects little there, and
that dark: the shadow under the upper lip, the tips of the upper teeth, a warm cavity, some tongue,
a hint of lower teeth. `draw` makes that once per person, in the light of the person's own skin and
lips; `fill` then shows as much of it as fits between two lips, with the upper teeth anchored to the
upper lip and the tongue to the lower one, so that nothing is squeezed when lips close.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from heygem.core.errors import ParameterError
from heygem.core.interpolation import smoothstep
from heygem.core.types import FloatArray, Image
from heygem.rendering.warp.mouth_axes import gap_px

TEETH_SHOW = 0.05  # of the mouth's width: a picture open by this much shows the teeth there are
HEIGHT_OVER_WIDTH = 0.52  # a full speech opening; draw at about this shape


def _array(values: Sequence[float]) -> FloatArray:
    """In single precision, in which the drawing takes half of the time."""
    return np.array(values, np.float32)


# What skin in even, bright light measures; the picture's own skin over it is the light's colour.
_REFERENCE_SKIN = _array([205.0, 165.0, 145.0])
_ENAMEL = _array([222.0, 204.0, 184.0])  # in that same light
_MUCOSA = _array([176.0, 92.0, 88.0])

# Right half of the upper row: where each tooth ends, as a share of half the mouth's width. The
# row is an arch seen from the front, so the teeth get narrower to the side.
_UPPER_ENDS = _array([0.0, 0.185, 0.335, 0.465, 0.575, 0.665, 0.735, 0.785])
_UPPER_TIPS = _array([0.215, 0.198, 0.205, 0.185, 0.170, 0.155, 0.140])  # share of the height
_LOWER_ENDS = _array([0.0, 0.115, 0.235, 0.355, 0.46, 0.55, 0.63])


def _over(below: FloatArray, colour: FloatArray, opacity: FloatArray) -> FloatArray:
    """Blend `colour` over `below`, float [H, W, 3], with opacity float [H, W]."""
    return below + (colour - below) * opacity[..., None]


def _under_lip(depth: FloatArray) -> FloatArray:
    """Share of light that reaches a place this far below the upper lip (in heights)."""
    return smoothstep(0.04, 0.19, depth)


def _dark(lip: FloatArray) -> FloatArray:
    """The darkest colour in a mouth, from the colour of its lips."""
    return np.asarray(lip, np.float32) * _array([0.18, 0.08, 0.075])


def _tooth_row(
    across: FloatArray, depth: FloatArray, ends: FloatArray, tips: FloatArray, softness: float
) -> tuple[FloatArray, FloatArray]:
    """Opacity and shading of a row of teeth that begins at depth 0, both float [H, W]."""
    side = np.abs(across)
    tooth = np.clip(np.searchsorted(ends, side, side="right") - 1, 0, len(ends) - 2)
    width = ends[tooth + 1] - ends[tooth]
    place = (side - ends[tooth]) / width  # 0..1 within a tooth
    centred = np.abs(2 * place - 1)
    # Rounded tips: a tooth is longest in its middle and its outer corner rounder than the inner.
    tip = tips[tooth] * (1 - 0.10 * centred**4 - 0.05 * place**3)
    opacity = 1 - smoothstep(tip - softness, tip + softness, depth)
    opacity *= 1 - smoothstep(ends[-1] - 0.10, ends[-1], side)
    # Separations are shadows, not lines, and open towards the tips.
    gap = smoothstep(0.80, 1.0, centred)
    shading = 1 - gap * (0.16 + 0.16 * np.clip(depth / tip, 0, 1))
    shading *= 1 - 0.06 * centred**2
    return opacity, shading


def synthetic_share(
    mesh: FloatArray, target_gap_px: float, target_width_px: float, zoom: float
) -> tuple[float, float]:
    """How much of a drawn interior has to be synthetic, 0..1, and whether with teeth, 0 or 1.

    A seam cannot be stretched into an opening: from twice its height the synthetic one takes over.

    Parameters
    ----------
    mesh : float32 [n, 2]
        In the picture that is drawn from.
    target_gap_px, target_width_px : float
        Of the mouth that is drawn.
    zoom : float
        Its scale over that of the picture.
    """
    source_gap_px = gap_px(mesh) * zoom
    missing_px = target_gap_px - 1.6 * source_gap_px
    share = float(np.clip(missing_px / max(1.2 * source_gap_px, 2.0), 0, 1))
    return share, 0.0 if source_gap_px > TEETH_SHOW * target_width_px else 1.0


def draw(
    width_px: int,
    height_px: int,
    *,
    skin_rgb: Sequence[float] | FloatArray,
    lip_rgb: Sequence[float] | FloatArray,
    blur_px: float = 0.0,
    teeth: float = 1.0,
    tongue: float = 1.0,
    lip_shadow: bool = True,
) -> Image:
    """Draw the interior of an open mouth.

    Parameters
    ----------
    width_px, height_px : int
        From inner corner to inner corner, and from upper to lower inner lip at a full speech
        opening; `HEIGHT_OVER_WIDTH` is the natural proportion.
    skin_rgb, lip_rgb : 3 numbers, 0..255
        The person's skin beside the mouth and lips, as the picture shows them: they say how
        bright the light is and of which colour.
    blur_px : float, >= 0
        Sharpness of the picture as the sigma of a Gaussian, in pixels of the drawing.
    teeth : float, 0..1
        How much of the teeth shows: 0 none, 1 as in clear speech.
    tongue : float, 0..1
        How high the tongue lies: 0 hidden, 1 as in a relaxed open vowel.
    lip_shadow : bool
        Whether the upper lip's shadow is part of the drawing. Without, `fill` throws it from
        where the lip really is.

    Returns
    -------
    uint8 [height_px, width_px, 3]
        RGB. With its shadow, the first few percent below the upper lip are dark, so that slightly
        open lips show a dark line and not a white one.

    Raises
    ------
    ParameterError
        A size below 2 pixels, or a share outside its range.
    """
    for name, value, low, high in (
        ("width_px", width_px, 2, 16384),
        ("height_px", height_px, 2, 16384),
        ("blur_px", blur_px, 0, 1000),
        ("teeth", teeth, 0, 1),
        ("tongue", tongue, 0, 1),
    ):
        if not low <= value <= high:
            raise ParameterError(
                f"mouth interior: {name} out of range", seen=value, remedy=f"give {low}..{high}"
            )
    skin = np.clip(np.asarray(skin_rgb, np.float32), 1, 255)
    lip = np.clip(np.asarray(lip_rgb, np.float32), 1, 255)
    # How far skin is from the reference is partly the light and partly the skin itself: taken for
    # light alone, dark skin would get grey teeth. Hence the root, and half the tint.
    ratio = (skin / _REFERENCE_SKIN) ** 0.7
    level = ratio @ _array([0.3, 0.59, 0.11])
    light = np.clip(0.5 * ratio + 0.5 * level, 0.02, 1.15)

    # Draw large and shrink: soft edges at every size, and the same picture at all of them.
    factor = max(1, int(np.ceil(384 / width_px)))
    width, height = int(width_px) * factor, int(height_px) * factor
    x = (np.arange(width) + 0.5) / width * 2 - 1  # -1..1, corner to corner
    y = (np.arange(height) + 0.5) / height  # 0..1, lip to lip
    across, down = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    edge = np.clip(1 - across**2, 0, 1)  # 1 in the middle, 0 in the corners

    # The cavity: nearly black at the back, warmer where cheeks and floor catch light.
    flesh = (0.5 * _MUCOSA * light + 0.5 * lip) * _array([1.0, 0.80, 0.78])
    wall = 0.20 + 0.12 * smoothstep(0.40, 1.0, down) + 0.06 * smoothstep(0.3, 0.8, across**2)
    picture = flesh * wall[..., None]

    if tongue > 0:
        picture = _add_tongue(picture, flesh, across, down, edge, tongue)
    if teeth > 0:
        picture = _add_teeth(picture, _ENAMEL * light, across, down, edge, teeth)

    # Darkness in the corners, some from the lower lip, most under the upper lip. It ends in the
    # colour of blood, not in black: that is what a photograph shows between lips.
    lit = 0.25 + 0.75 * smoothstep(0.0, 0.45, edge)
    lit *= 1 - 0.45 * smoothstep(0.95, 1.0, down)
    if lip_shadow:
        lit *= _under_lip(down)
    dark = _dark(lip)
    picture = dark + (picture - dark) * lit[..., None]

    picture = cv2.resize(picture, (int(width_px), int(height_px)), interpolation=cv2.INTER_AREA)
    if blur_px > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), float(blur_px), borderType=cv2.BORDER_REPLICATE)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def _add_tongue(
    picture: FloatArray,
    flesh: FloatArray,
    across: FloatArray,
    down: FloatArray,
    edge: FloatArray,
    tongue: float,
) -> FloatArray:
    """Draw the tongue on the cavity; arguments as in `draw`."""
    top = 0.98 - 0.42 * tongue
    profile = top + 0.16 * np.abs(across / 0.66) ** 3 + 0.015 * np.exp(-((across / 0.07) ** 2))
    body = smoothstep(profile - 0.08, profile + 0.10, down)
    body *= 1 - smoothstep(0.52, 0.82, np.abs(across))
    height_on_tongue = np.clip((down - profile) / 0.45, 0, 1)
    shade = 0.24 + 0.34 * smoothstep(0.0, 0.55, height_on_tongue)
    shade *= 1 - 0.10 * np.exp(-((across / 0.08) ** 2))  # the groove along its middle
    shade *= 0.65 + 0.35 * edge
    tongue_flesh = flesh * _array([1.05, 1.08, 1.10])
    return _over(picture, tongue_flesh * shade[..., None], body)


def _add_teeth(
    picture: FloatArray,
    enamel: FloatArray,
    across: FloatArray,
    down: FloatArray,
    edge: FloatArray,
    teeth: float,
) -> FloatArray:
    """Draw both rows of teeth on the cavity, `enamel` being their colour in this light."""
    # Lower row: only its tips, in the shade, standing on the lower lip.
    arch = 0.09 * (across / 0.6) ** 2
    tips = np.full(len(_LOWER_ENDS) - 1, 0.125, np.float32) * teeth
    opacity, shading = _tooth_row(across, 1 - down + arch, _LOWER_ENDS, tips, 0.016)
    colour = enamel * (0.36 * shading * (0.25 + 0.75 * edge))[..., None]
    picture = _over(picture, colour, 0.55 * opacity)

    # Upper row: lit from the front, falling into shadow along the arch and under the lip.
    tips = _UPPER_TIPS * teeth
    opacity, shading = _tooth_row(across, down, _UPPER_ENDS, tips, 0.012)
    fall = 0.20 + 0.80 * np.clip(1 - (np.abs(across) / 0.80) ** 1.9, 0, 1)
    bulge = 0.88 + 0.12 * np.sin(np.pi * np.clip(down / 0.22, 0, 1))
    colour = enamel * (shading * fall * bulge)[..., None]
    # The upper row casts a shadow on the cavity.
    cast = np.exp(-np.clip(down - 0.19 * teeth, 0, 1) / 0.10)
    picture = picture * (1 - 0.25 * cast)[..., None]
    return _over(picture, colour, opacity)


def fill(
    texture: Image,
    across: FloatArray,
    depth: FloatArray,
    above_lower: FloatArray,
    *,
    below_upper: FloatArray | None = None,
    lip_rgb: Sequence[float] | FloatArray | None = None,
) -> FloatArray:
    """Look up the interior's pixels at places between two lips.

    The upper part stays with the skull (or the upper lip) and the lower part lies on the lower
    lip, both at their own scale; lips that close cover the picture instead of squeezing it.

    Parameters
    ----------
    texture : uint8 [H, W, 3]
        As `draw` makes it.
    across : float [...]
        0 at the inner mouth corner on the picture's left, 1 at the other.
    depth : float [...]
        How far below the texture's top, in heights of the texture. Measured from the upper lip
        it anchors the teeth to the lip; from where the lip is at rest, to the skull.
    above_lower : float [...]
        Distance to the inner lower lip, in the same unit, >= 0.
    below_upper, lip_rgb : float [...] and 3 numbers, optional
        Distance to the inner upper lip and the lips' colour, for the lip's shadow on a texture
        drawn without one.

    Returns
    -------
    float32 [..., 3]
        RGB, 0..255.
    """
    across, depth, lower = np.broadcast_arrays(across, depth, above_lower)
    shape = across.shape
    source = texture.astype(np.float32)
    if across.ndim > 1 and across.shape[-1] > 1:
        # Looked at from afar, a large drawing is shrunk first: fine lines between teeth would
        # flicker from frame to frame.
        step = float(np.median(np.abs(np.diff(across, axis=-1)))) * texture.shape[1]
        if step > 1.25:
            size = [max(2, round(n / step)) for n in (texture.shape[1], texture.shape[0])]
            source = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
    height, width = source.shape[:2]
    # cv2.remap wants two dimensions.
    x = np.atleast_2d(across * width - 0.5).astype(np.float32)

    def look_up(below_top: FloatArray) -> FloatArray:
        y = np.atleast_2d(np.clip(below_top, 0, 1) * height - 0.5).astype(np.float32)
        pixels = cv2.remap(source, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return pixels.reshape(*shape, 3)

    # Upper teeth win the room there is; the rest belongs to the tongue and what is below it.
    mix = smoothstep(0.24, 0.36, depth)[..., None]
    color = look_up(depth) * (1 - mix) + look_up(np.maximum(1 - lower, depth)) * mix
    # Close to the lower lip it is dim whatever part of the picture is there.
    lit = 0.65 + 0.35 * smoothstep(0.0, 0.05, lower)
    dark: FloatArray = np.zeros(3, np.float32)
    if below_upper is not None and lip_rgb is not None:
        lit = lit * _under_lip(below_upper)
        dark = _dark(np.asarray(lip_rgb, float))
    out = (dark + (color - dark) * lit[..., None]).astype(np.float32)
    if out.ndim == 3:  # no lens and no codec draws as sharp a line as this did
        out = cv2.GaussianBlur(out, (0, 0), max(0.7, 0.008 * out.shape[1]))
    return out
