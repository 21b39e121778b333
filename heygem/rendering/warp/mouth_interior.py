"""The mouth interior between two lips: the person's own, or a synthetic one."""

from dataclasses import dataclass

import numpy as np

from heygem.core.types import FloatArray, Image
from heygem.face import topology as topo
from heygem.rendering.warp import synthetic_interior
from heygem.rendering.warp.mesh_warp import Sampler, bounds
from heygem.rendering.warp.mouth_axes import Axes, contours, mouth_axes, to_mouth_axes
from heygem.rendering.warp.teeth_anchor import SkullMap

SYNTHETIC_WIDTH_PX = 320  # resolution of a synthetic interior
TEETH_SHOW = 0.05  # of the mouth's width: a picture open by this much shows the teeth there are
# Of a picture's teeth, those count that its lips leave free.
UNDER_LIP = 0.008  # above this, its last row under the lip is drawn on: the lip hid the rest [IOD]
HIDDEN = (0.030, 0.070)  # hidden height from which, until which, teeth go with the lip [IOD]
MIDDLE = (0.25, 0.75)  # of the mouth's width, where it is measured
OVER_LIP = 0.008  # distance from the lower lip over which it fades [IOD]
FROM_CORNER = 0.04  # likewise along the mouth, of its width
# A picture's lower teeth, deeper in its opening than they would be drawn, are no upper teeth.
LOWER_ROW = (0.55, 0.75)  # depth in the picture's opening from which, until which
TOO_HIGH = (0.10, 0.25)  # by how much deeper than in the frame's
SLIT = (0.006, 0.020)  # in an opening lower than this, the interior moves with the lips [IOD]

_SKIN_POINTS = [205, 425, 50, 280, 199]  # cheeks and chin
_LIP_POINTS = [17, 84, 314, 0]


class MouthInterior:
    """Fills the opening between the lips.

    `prepare` draws the synthetic interiors in advance; `fill` changes nothing, so that it may be
    called in any order and from several threads.

    Parameters
    ----------
    sample : Sampler
    """

    def __init__(self, sample: Sampler) -> None:
        self._sample = sample
        self._synthetic: dict[float, tuple[Image, FloatArray]] = {}

    def clear(self) -> None:
        """Forget the synthetic interiors of an earlier sequence."""
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
        share, teeth = _synthetic_share(mesh, gap, width, zoom)
        if share > 0 and teeth not in self._synthetic:
            self._synthetic[teeth] = _synthesize(crop, mesh, teeth)

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
        opening = _Opening.of(target, canvas.shape)
        upper, lower = mesh[topo.INNER_UPPER], mesh[topo.INNER_LOWER]
        interior = self._anchor_to_lips(crop, upper, lower, opening, zoom, skull=skull)
        gap = float(np.linalg.norm(target[topo.LIP_MIDDLE[1]] - target[topo.LIP_MIDDLE[0]]))
        corners = target[topo.MOUTH_CORNERS[1]] - target[topo.MOUTH_CORNERS[0]]
        share, teeth = _synthetic_share(mesh, gap, float(np.linalg.norm(corners)), zoom)
        if share > 0:
            # What the person did show stays where it is, on its lip; the rest is synthetic.
            synthetic = self._place_synthetic(crop, mesh, opening, teeth)
            synthetic = self._anchor_to_lips(crop, upper, lower, opening, zoom, synthetic)
            interior += share * (synthetic - interior)
        canvas[opening.rows, opening.columns] = interior

    def _place_synthetic(
        self, crop: Image, mesh: FloatArray, opening: "_Opening", teeth: float
    ) -> FloatArray:
        """The synthetic interior, tinted like this face, in the opening : float32 [h, w, 3]."""
        texture, lip_rgb = self._synthetic.get(teeth) or _synthesize(crop, mesh, teeth)
        height = opening.axes[3] * synthetic_interior.HEIGHT_OVER_WIDTH
        below_upper = np.maximum(opening.v - opening.top, 0) / height
        return synthetic_interior.fill(
            texture,
            np.clip(opening.u, 0, 1),
            below_upper,
            np.maximum(opening.bottom - opening.v, 0) / height,
            below_upper=below_upper,
            lip_rgb=lip_rgb,
        )

    def _anchor_to_lips(
        self,
        picture: Image,
        upper: FloatArray,
        lower: FloatArray,
        opening: "_Opening",
        zoom: float,
        between: FloatArray | None = None,
        *,
        skull: SkullMap | None = None,
    ) -> FloatArray:
        """Sample an interior so that its upper and lower part move with upper and lower lip.

        Parameters
        ----------
        picture : uint8 [h, w, 3], RGB
        upper, lower : float32 [11, 2]
            Inner lip contours in `picture`, corner to corner.
        opening : _Opening
        zoom : float
            Target scale over source scale.
        between : float32 [H, W, 3], optional
            Fills what the picture does not show; nothing is then stretched.
        skull : SkullMap, optional
            Without `between`: where it is given, the upper part stays with the skull.

        Returns
        -------
        float32 [H, W, 3]
        """
        axes = mouth_axes(upper)
        top, bottom = contours(axes, upper, lower, opening.u)
        height = np.maximum(bottom - top, 1e-3)
        below_upper, above_lower = opening.v - opening.top, opening.bottom - opening.v
        rate = np.full(1, 1.0 / max(zoom, 1e-6), np.float32)
        if between is None:
            rate = np.minimum(rate, height / opening.height)
        from_top = self._sample_at(picture, axes, opening.u, top + below_upper * rate)
        from_bottom = self._sample_at(picture, axes, opening.u, bottom - above_lower * rate)
        if between is None:
            if skull is not None:
                self._hold_to_skull(from_top, picture, upper, lower, opening, skull)
            depth = np.clip(below_upper / opening.height, 0, 1)
            from_top += (from_bottom - from_top) * _soft(0.4, 0.75, depth)
            return from_top
        # In the corners a little lip shows too: a cavity that ends in points is a mask's.
        room = np.maximum(height * zoom, 0.6 * float((lower - upper)[3:8, 1].max()) * zoom)
        room = np.maximum(room, 1e-3)
        for sample, share in (
            (from_bottom, 1 - _soft(0.2, 0.5, above_lower / room)),
            (from_top, 1 - _soft(0.55, 0.95, below_upper / room)),
        ):
            between = between + (sample - between) * share
        return between

    def _hold_to_skull(
        self,
        interior: FloatArray,
        picture: Image,
        upper: FloatArray,
        lower: FloatArray,
        opening: "_Opening",
        skull: SkullMap,
    ) -> None:
        """Draw what the picture shows at the skull's places over an interior [h, w, 3], in place.

        Where the picture's upper lip hid a little of the teeth, their last row is drawn on, or they
        would be seen twice: with the lip, and below it with the skull. Where it hid much, and
        towards the lower lip, the corners, and in a mere slit, the interior stays as it is.
        """
        x, y = skull.places(opening.rows, opening.columns)
        axes = mouth_axes(upper)
        u, v = to_mouth_axes(axes, np.stack([x, y], -1))
        top, bottom = contours(axes, upper, lower, u)
        height = np.maximum(bottom - top, 1e-3)
        raised = np.maximum(np.minimum(UNDER_LIP * skull.scale, 0.3 * height) - (v - top), 0)
        middle = (opening.u > MIDDLE[0]) & (opening.u < MIDDLE[1]) & (opening.v > opening.top)
        hidden = float(raised[middle].max(initial=0)) / skull.scale
        v = v + raised
        share = (1 - _ramp(HIDDEN, np.array(hidden, np.float32))) * np.clip(
            (bottom - v) / (OVER_LIP * skull.scale), 0, 1
        )
        share *= np.clip(np.minimum(u, 1 - u) / FROM_CORNER, 0, 1)
        depth, drawn_depth = (v - top) / height, (opening.v - opening.top) / opening.height
        share *= 1 - _ramp(LOWER_ROW, depth) * _ramp(TOO_HIGH, depth - drawn_depth)
        share *= _ramp(SLIT, (opening.bottom - opening.top) / skull.frame_scale)
        along, down = axes[2]
        sample = self._sample(
            picture,
            np.ascontiguousarray(x + raised * along, np.float32),
            np.ascontiguousarray(y + raised * down, np.float32),
        )
        interior += (sample - interior) * share[..., None]

    def _sample_at(self, picture: Image, axes: Axes, u: FloatArray, v: FloatArray) -> FloatArray:
        origin, along, across, length = axes
        place = origin + (u * length)[..., None] * along + v[..., None] * across
        return self._sample(
            picture,
            np.ascontiguousarray(place[..., 0], np.float32),
            np.ascontiguousarray(place[..., 1], np.float32),
        ).astype(np.float32)


@dataclass(frozen=True)
class _Opening:
    """The pixels of a canvas in which the interior may show, in coordinates of the mouth.

    Attributes
    ----------
    rows, columns : slice
        Of the canvas.
    axes : Axes
    u, v : float32 [h, w]
        Along the mouth, 0..1 from corner to corner, and across it, pixels.
    top, bottom : float32 [h, w]
        The inner lips at that `u`, pixels across.
    height : float32 [h, w]
        Between them, positive.
    """

    rows: slice
    columns: slice
    axes: Axes
    u: FloatArray
    v: FloatArray
    top: FloatArray
    bottom: FloatArray
    height: FloatArray

    @classmethod
    def of(cls, target: FloatArray, size: tuple[int, ...]) -> "_Opening":
        """The opening of a mesh, float32 [n, 2], on a canvas of (height, width, ...)."""
        upper, lower = target[topo.INNER_UPPER], target[topo.INNER_LOWER]
        x0, y0, x1, y1 = bounds(np.concatenate([upper, lower]), 3, size)
        yy, xx = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        axes = mouth_axes(upper)
        u, v = to_mouth_axes(axes, np.stack([xx, yy], -1))
        top, bottom = contours(axes, upper, lower, u)
        height = np.maximum(bottom - top, 1e-3)
        return cls(slice(y0, y1), slice(x0, x1), axes, u, v, top, bottom, height)


def _synthetic_share(
    mesh: FloatArray, gap_px: float, width_px: float, zoom: float
) -> tuple[float, float]:
    """How much of the interior has to be synthetic, 0..1, and whether with teeth, 0 or 1.

    A seam cannot be stretched into an opening: from twice its height the synthetic one takes over.
    """
    upper, lower = mesh[topo.LIP_MIDDLE[0]], mesh[topo.LIP_MIDDLE[1]]
    source_gap_px = float(np.linalg.norm(lower - upper)) * zoom
    share = float(np.clip((gap_px - 1.6 * source_gap_px) / max(1.2 * source_gap_px, 2.0), 0, 1))
    return share, 0.0 if source_gap_px > TEETH_SHOW * width_px else 1.0


def _synthesize(crop: Image, mesh: FloatArray, teeth: float) -> tuple[Image, FloatArray]:
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


def _ramp(between: tuple[float, float], x: FloatArray) -> FloatArray:
    """0 up to the first of two values, 1 from the second on."""
    return np.clip((x - between[0]) / (between[1] - between[0]), 0, 1)


def _soft(low: float, high: float, x: FloatArray) -> FloatArray:
    """Smooth step from 0 at `low` to 1 at `high`, for mixing colours : float32 [..., 1]."""
    return synthetic_interior.smoothstep(low, high, x)[..., None]
