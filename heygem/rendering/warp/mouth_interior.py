"""The mouth interior between two lips: the person's own, or a synthetic one."""

from dataclasses import dataclass

import cv2
import numpy as np

from heygem.core.interpolation import linear_ramp, smoothstep
from heygem.core.types import FloatArray, Image
from heygem.face import topology as topo
from heygem.rendering.warp import interior_kernels as kernels
from heygem.rendering.warp import synthetic_interior
from heygem.rendering.warp.blend import edge_margin_px
from heygem.rendering.warp.mesh_warp import bounds, sample
from heygem.rendering.warp.mouth_axes import (
    Axes,
    contours,
    from_mouth_axes,
    gap_px,
    iod_px,
    mouth_axes,
    width_px,
)
from heygem.rendering.warp.synthetic_interior import synthetic_share
from heygem.rendering.warp.teeth_anchor import SkullMap

SYNTHETIC_WIDTH_PX = 320  # resolution of a synthetic interior
MAX_DRAWN = 8  # synthetic interiors of earlier sequences that are kept
# Open by less, a picture shows a line between its lips, by more an interior [IOD].
SEAM = (0.01, 0.03)

_SKIN_POINTS = [205, 425, 50, 280, 199]  # cheeks and chin
_LIP_POINTS = [17, 84, 314, 0]


@dataclass(frozen=True)
class Layer:
    """A picture of the person's mouth, sampled over what lies below it.

    Attributes
    ----------
    x, y : float32 [h, w]
        Places in the picture.
    opacity : float32 [h, w]
    """

    x: FloatArray
    y: FloatArray
    opacity: FloatArray


@dataclass(frozen=True)
class SyntheticInterior:
    """What is drawn over a part that a picture does not show.

    Attributes
    ----------
    drawing : float32 [h, w, 3]
    layers : list of Layer
        What the picture does show, over the drawing.
    share : float
        Opacity of all this, 0..1.
    """

    drawing: FloatArray
    layers: list[Layer]
    share: float


@dataclass(frozen=True)
class InteriorLayers:
    """From where a mouth interior is drawn; what draws it needs no geometry.

    Attributes
    ----------
    rows, columns : slice
        Of the canvas.
    own : list of Layer
        From below; the lowest is opaque.
    synthetic : SyntheticInterior or None
        Over all of them.
    """

    rows: slice
    columns: slice
    own: list[Layer]
    synthetic: SyntheticInterior | None

    def draw(self, crop: FloatArray, canvas: FloatArray, method: int = cv2.INTER_CUBIC) -> None:
        """Draw from a picture float32 [h, w, 3] into the canvas float32 [H, W, 3], in place.

        `method` is OpenCV's, of sampling.
        """
        lowest, *others = self.own
        interior = sample(crop, lowest.x, lowest.y, method)
        _draw_over(interior, crop, others, method)
        if self.synthetic is not None:
            synthetic = self.synthetic.drawing.copy()
            _draw_over(synthetic, crop, self.synthetic.layers, method)
            interior += self.synthetic.share * (synthetic - interior)
        canvas[self.rows, self.columns] = interior


def _draw_over(below: FloatArray, crop: FloatArray, layers: list[Layer], method: int) -> None:
    for layer in layers:
        kernels.lay_over(below, sample(crop, layer.x, layer.y, method), layer.opacity)


class MouthInterior:
    """Fills the opening between the lips.

    `prepare` draws the synthetic interiors in advance; `layers` and `fill` change nothing, so that
    they may be called in any order and from several threads.
    """

    def __init__(self) -> None:
        self._synthetic: dict[float, tuple[Image, FloatArray]] = {}
        # Drawn earlier, by picture and teeth, with the picture so that its number stays its own.
        self._drawn: dict[tuple[int, float], tuple[Image, tuple[Image, FloatArray]]] = {}

    def clear(self) -> None:
        """Begin a new sequence, whose own textures give the synthetic interiors their colours."""
        self._synthetic.clear()

    def prepare(
        self,
        crop: Image,
        mesh: FloatArray,
        upper_middle: FloatArray,
        lower_middle: FloatArray,
        first_corner: FloatArray,
        last_corner: FloatArray,
        *,
        zoom: float,
    ) -> None:
        """Draw the synthetic interior that a texture needs at a target opening, if it needs one.

        The first texture that needs an interior with (or without) teeth gives it its colours.

        Parameters
        ----------
        crop : uint8 [h, w, 3], RGB
        mesh : float32 [n, 2]
            The face mesh in `crop`.
        upper_middle, lower_middle, first_corner, last_corner : float32 [2]
            Target lips, pixels.
        zoom : float
            Target scale over that of the crop.
        """
        gap = float(np.linalg.norm(lower_middle - upper_middle))
        width = float(np.linalg.norm(last_corner - first_corner))
        share, teeth = synthetic_share(mesh, gap, width, zoom)
        if share > 0 and teeth not in self._synthetic:
            self._synthetic[teeth] = self._synthesized(crop, mesh, teeth)

    def _synthesized(self, crop: Image, mesh: FloatArray, teeth: float) -> tuple[Image, FloatArray]:
        """As `_synthesize`, which takes 40 ms; a preview whose control moved asks for it again."""
        key = id(crop), teeth
        if key not in self._drawn:
            while len(self._drawn) >= MAX_DRAWN:
                del self._drawn[next(iter(self._drawn))]
            self._drawn[key] = crop, _synthesize(crop, mesh, teeth)
        return self._drawn[key][1]

    def fill(
        self,
        crop: Image,
        mesh: FloatArray,
        target: FloatArray,
        zoom: float,
        canvas: FloatArray,
        *,
        skull: SkullMap | None = None,
    ) -> None:
        """Draw the interior of a mouth into the canvas, wherever the opening may show it.

        Parameters
        ----------
        crop : uint8 [h, w, 3], RGB
            Picture of the person's mouth.
        mesh : float32 [n, 2]
            The face mesh in `crop`.
        target : float32 [n, 2]
            The mesh on the canvas.
        zoom : float
            Scale of the canvas over that of the crop.
        canvas : float32 [H, W, 3]
            The layers below.
        skull : SkullMap, optional
            Where the skull's places are in `crop`: upper teeth stay with it. Without it they move
            with the upper lip.
        """
        share = synthetic_share(mesh, gap_px(target), width_px(target), zoom)
        opening = Opening.of(target, canvas.shape, edge_margin_px(target))
        layers = self.layers(crop, mesh, opening, zoom, share=share, skull=skull)
        layers.draw(crop.astype(np.float32), canvas)

    def layers(
        self,
        crop: Image | FloatArray,
        mesh: FloatArray,
        opening: "Opening",
        zoom: float,
        *,
        share: tuple[float, float],
        skull: SkullMap | None = None,
    ) -> InteriorLayers:
        """What `fill` draws in the opening of a mouth; arguments as there.

        `share` is what `synthetic_share` says of the picture and this mouth.
        """
        upper, lower = mesh[topo.INNER_UPPER], mesh[topo.INNER_LOWER]
        own = _own_layers(upper, lower, opening, zoom, skull=skull)
        opacity, teeth = share
        synthetic = None
        if opacity > 0:
            # What the person did show stays where it is, on its lip; the rest is synthetic.
            drawing = self._place_synthetic(crop, mesh, opening, teeth)
            shows = float(linear_ramp(*SEAM, np.array(gap_px(mesh) / iod_px(mesh))))
            shown = _layers_over_synthetic(upper, lower, opening, zoom, shows) if shows else []
            synthetic = SyntheticInterior(drawing, shown, opacity)
        return InteriorLayers(opening.rows, opening.columns, own, synthetic)

    def _place_synthetic(
        self, crop: Image | FloatArray, mesh: FloatArray, opening: "Opening", teeth: float
    ) -> FloatArray:
        """The synthetic interior, tinted like this face, in the opening : float32 [h, w, 3]."""
        texture, lip_rgb = self._synthetic.get(teeth) or _synthesize(crop, mesh, teeth)
        height = opening.length * synthetic_interior.HEIGHT_OVER_WIDTH
        below_upper = np.maximum(opening.below_upper, 0) / height
        return synthetic_interior.fill(
            texture,
            np.clip(opening.u, 0, 1),
            below_upper,
            np.maximum(opening.above_lower, 0) / height,
            below_upper=below_upper,
            lip_rgb=lip_rgb,
        )


@dataclass(frozen=True)
class Opening:
    """The pixels of a canvas in which the interior may show, in coordinates of the mouth.

    Attributes
    ----------
    rows, columns : slice
        Of the canvas.
    length : float
        From corner to corner, pixels.
    coordinates : float32 [4, h, w]
        From `interior_kernels.opening_coordinates`.
    """

    rows: slice
    columns: slice
    length: float
    coordinates: FloatArray

    @classmethod
    def of(cls, target: FloatArray, size: tuple[int, ...], margin_px: float) -> "Opening":
        """The opening of a mesh, float32 [n, 2], on a canvas of (height, width, ...).

        `margin_px` : how far beyond the lips' inner contour pixels belong to it
        """
        upper, lower = target[topo.INNER_UPPER], target[topo.INNER_LOWER]
        x0, y0, x1, y1 = bounds(target[topo.LIPS_INNER], margin_px, size)
        coordinates = kernels.opening_coordinates(x0, y0, x1 - x0, y1 - y0, upper, lower)
        return cls(slice(y0, y1), slice(x0, x1), mouth_axes(upper)[3], coordinates)

    @property
    def u(self) -> FloatArray:
        """Place along the mouth, 0..1 from corner to corner : float32 [h, w]."""
        return self.coordinates[0]

    @property
    def below_upper(self) -> FloatArray:
        """Distance from the upper lip, pixels across the mouth : float32 [h, w]."""
        return self.coordinates[1] - self.coordinates[2]

    @property
    def above_lower(self) -> FloatArray:
        """Distance from the lower lip, pixels across the mouth : float32 [h, w]."""
        return self.coordinates[3] - self.coordinates[1]


def _own_layers(
    upper: FloatArray,
    lower: FloatArray,
    opening: Opening,
    zoom: float,
    *,
    skull: SkullMap | None,
) -> list[Layer]:
    """A picture's interior so that its upper and lower part move with upper and lower lip.

    Parameters
    ----------
    upper, lower : float32 [11, 2]
        Inner lip contours in the picture, corner to corner.
    opening : Opening
    zoom : float
        Target scale over source scale.
    skull : SkullMap or None
        Where it is given, the upper part stays with the skull.
    """
    lips = kernels.lip_layers(opening.coordinates, upper, lower, zoom)
    layers = [Layer(*lips[:3]), Layer(*lips[3:])]
    if skull is not None:
        window = opening.columns.start, opening.rows.start
        scales = skull.scale, skull.frame_scale
        places = kernels.skull_layer(
            opening.coordinates, *window, upper, lower, skull.matrix, *scales
        )
        layers.insert(1, Layer(*places))
    return layers


def _layers_over_synthetic(
    upper: FloatArray, lower: FloatArray, opening: Opening, zoom: float, opacity: float
) -> list[Layer]:
    """What a picture shows of its interior, on its lips and not stretched; see `_own_layers`."""
    axes = mouth_axes(upper)
    top, bottom = contours(axes, upper, lower, opening.u)
    below_upper, above_lower = opening.below_upper, opening.above_lower
    rate = np.float32(1.0 / max(zoom, 1e-6))
    # In the corners a little lip shows too: a cavity that ends in points is a mask's.
    height = np.maximum(bottom - top, 1e-3)
    room = np.maximum(height * zoom, 0.6 * float((lower - upper)[3:8, 1].max()) * zoom)
    room = np.maximum(room, 1e-3)
    from_bottom = 1 - smoothstep(0.2, 0.5, above_lower / room)
    from_top = 1 - smoothstep(0.55, 0.95, below_upper / room)
    return [
        _layer(axes, opening.u, bottom - above_lower * rate, opacity * from_bottom),
        _layer(axes, opening.u, top + below_upper * rate, opacity * from_top),
    ]


def _layer(axes: Axes, u: FloatArray, v: FloatArray, opacity: FloatArray) -> Layer:
    """A layer sampled at coordinates along and across the picture's mouth."""
    return _as_layer(*from_mouth_axes(axes, u, v), opacity)


def _as_layer(x: FloatArray, y: FloatArray, opacity: FloatArray) -> Layer:
    return Layer(*(np.ascontiguousarray(values, np.float32) for values in (x, y, opacity)))


def _synthesize(
    crop: Image | FloatArray, mesh: FloatArray, teeth: float
) -> tuple[Image, FloatArray]:
    """A synthetic interior in the light of a picture, and the colour of its lips."""
    h, w = crop.shape[:2]

    def color(points: list[int]) -> FloatArray:
        at = np.rint(mesh[points]).astype(int)
        return np.median(crop[np.clip(at[:, 1], 0, h - 1), np.clip(at[:, 0], 0, w - 1)], 0)

    lip_rgb = color(_LIP_POINTS)
    texture = synthetic_interior.draw(
        SYNTHETIC_WIDTH_PX,
        round(SYNTHETIC_WIDTH_PX * synthetic_interior.HEIGHT_OVER_WIDTH),
        skin_rgb=color(_SKIN_POINTS),
        lip_rgb=lip_rgb,
        teeth=teeth,
        lip_shadow=False,  # `fill` casts it, where the lip is
    )
    return texture, lip_rgb
