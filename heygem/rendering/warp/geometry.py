"""Where everything of one frame's mouth is drawn: meshes, triangles and masks, before any pixel.

It is the same for every way of drawing the pixels.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from heygem.core.types import BoolArray, FloatArray, Image, IntArray
from heygem.face import topology as topo
from heygem.rendering.base import Patch
from heygem.rendering.warp.blend import (
    edge_margin_px,
    interior_mask,
    lip_distance,
    lip_edges,
)
from heygem.rendering.warp.crossfade import reduced_points
from heygem.rendering.warp.mesh_warp import (
    SLIVER_PX,
    SPECK_PX,
    TRIANGLES,
    backward_map,
    bounds,
    rasterize,
    remove_specks,
)
from heygem.rendering.warp.mouth_interior import InteriorLayers, Opening

Maps = tuple[FloatArray, FloatArray]

MIN_REDUCED_PX = 8  # height and width of an opening that is drawn in wider pixels


@dataclass(frozen=True)
class Mouth:
    """The part of a frame's window in which lips and interior are drawn.

    Attributes
    ----------
    rows, columns : slice
        Of the window.
    corner : float32 [2]
        x, y of its first pixel in the frame.
    target : float32 [n, 2]
        The mesh, in pixels of this part.
    labels : int16 [h, w]
        The triangle of each pixel.
    distance : float32 [h, w]
        From the lips' outer contour, negative inside, pixels.
    ring : bool [h, w]
        Skin on which pictures are compared.
    alpha, opening : float32 [h, w]
        Opacity of the library's lips, and of the interior.
    interior : (slice, slice)
        Where the interior is drawn: the opening with its soft edge.
    margin_px : float
        Width of the lips' soft edge.
    edge_px : float
        How far beyond the inner contour the soft edge of the opening reaches.
    step : int
        Width of these pixels, in those of the frame.
    """

    rows: slice
    columns: slice
    corner: FloatArray
    target: FloatArray
    labels: IntArray
    distance: FloatArray
    ring: BoolArray
    alpha: FloatArray
    opening: FloatArray
    interior: tuple[slice, slice]
    margin_px: float
    edge_px: float
    step: int = 1

    @classmethod
    def around(
        cls,
        target: FloatArray,
        labels: IntArray,
        scale: float,
        margin_px: float,
        corner: FloatArray,
        own_share: float,
    ) -> "Mouth":
        """The mouth of a mesh in a window that begins at `corner` of the frame.

        `scale` is the inter-ocular distance in pixels, `own_share` how much of the
        interior is the person's own, 0..1.
        """
        x0, y0, x1, y1 = bounds(target[topo.LIPS_OUTER], 2.2 * margin_px, labels.shape)
        first = np.array([x0, y0], np.float32)
        target = target - first
        labels = np.ascontiguousarray(labels[y0:y1, x0:x1])
        distance = lip_distance(target, labels.shape)
        alpha, ring = lip_edges(distance, scale, margin_px, labels)
        edge_px = edge_margin_px(target)
        left, top, right, bottom = bounds(target[topo.LIPS_INNER], edge_px, labels.shape)
        return cls(
            slice(y0, y1),
            slice(x0, x1),
            corner + first,
            target,
            labels,
            distance,
            ring,
            alpha,
            interior_mask(target, labels.shape, inside=own_share),
            np.s_[top:bottom, left:right],
            margin_px,
            edge_px,
        )

    @cached_property
    def opening_pixels(self) -> Opening:
        """The pixels in which the interior may show."""
        return Opening.of(self.target, self.labels.shape, self.edge_px)

    @property
    def is_wide(self) -> bool:
        """Whether it can be `reduced`: at the border of the frame little of it may be left."""
        return all(part.stop - part.start >= MIN_REDUCED_PX for part in self.interior)

    def reduced(self, step: int) -> "Mouth":
        """The same mouth in pixels `step` times as wide, each with the values of one it covers.

        What is left over at the end of rows and columns is not in it.
        """
        if step == 1:
            return self
        height, width = (n // step for n in self.labels.shape)
        one = np.s_[step // 2 : height * step : step, step // 2 : width * step : step]
        rows, columns = self.interior
        return replace(
            self,
            corner=self.corner / step,
            target=reduced_points(self.target, step),
            labels=np.ascontiguousarray(self.labels[one]),
            distance=self.distance[one] / step,
            ring=np.ascontiguousarray(self.ring[one]),
            alpha=np.ascontiguousarray(self.alpha[one]),
            opening=np.ascontiguousarray(self.opening[one]),
            interior=(
                slice(-(-rows.start // step), rows.stop // step),
                slice(-(-columns.start // step), columns.stop // step),
            ),
            margin_px=self.margin_px / step,
            edge_px=self.edge_px / step,
            step=step,
        )


@dataclass(frozen=True)
class Texture:
    """From where in a picture of the library lips and interior are drawn.

    Attributes
    ----------
    pick : int
        The picture.
    weight : float
        Of all a frame's textures 1 together.
    map_x, map_y : float32 [h, w]
        For each pixel of the mouth, the place in the picture.
    interior : InteriorLayers
    needs_light : bool
        It is of another moment than the frame: its light is fitted to that of the frame.
    """

    pick: int
    weight: float
    map_x: FloatArray
    map_y: FloatArray
    interior: InteriorLayers
    needs_light: bool


@dataclass(frozen=True)
class FrameGeometry:
    """Where an output frame is drawn, and from where each pixel comes.

    Attributes
    ----------
    x, y : int
        The window's first pixel in the frame.
    own : float32 [n, 2]
        The mesh in the frame, in pixels of the window.
    labels : int16 [h, w]
        The triangle of each pixel of the window; -1: the frame's own pixel stays.
    map_x, map_y : float32 [h, w]
        For each pixel of the window, the place in it that is drawn there.
    covered : bool [h, w]
        Pixels that are replaced.
    mouth : Mouth
    textures : list of Texture
        Heaviest first.
    faded : Mouth
        The mouth for which all but the first of them are: `mouth`, or the same reduced.
    scale : float
        The inter-ocular distance, pixels.
    strength : float
        How far the frame's own mouth is replaced, over 0 up to 1.
    """

    x: int
    y: int
    own: FloatArray
    labels: IntArray
    map_x: FloatArray
    map_y: FloatArray
    covered: BoolArray
    mouth: Mouth
    textures: list[Texture]
    faded: Mouth
    scale: float
    strength: float

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the frame."""
        height, width = self.labels.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)

    def patch(self, pixels: Image) -> Patch:
        """The window's new pixels, uint8 [h, w, 3], as a patch."""
        return Patch(pixels, self.covered.astype(np.float32), self.x, self.y)


def warp_maps(target: FloatArray, source: FloatArray, labels: IntArray, step: int = 1) -> Maps:
    """The place in a picture for each pixel of a window : two float32 [h, w].

    Parameters
    ----------
    target, source : float32 [n, 2]
        The mesh with its rim, in the window and in the picture.
    labels : int16 [h, w]
        From `covering_triangles`.
    step : int
        Window and picture are in pixels this many times as wide as the frame's.
    """
    map_x, map_y = backward_map(target, source, TRIANGLES, labels, SLIVER_PX / step)
    speck_px = SPECK_PX // step | 1  # a median has a middle
    box = bounds(target[topo.LIPS_OUTER], speck_px, labels.shape)
    remove_specks(map_x, map_y, box, speck_px)
    return map_x, map_y


def covering_triangles(
    target: FloatArray, size: tuple[int, int], margin_px: float
) -> tuple[IntArray, BoolArray]:
    """The triangle of each pixel of a window, int16 [h, w], and which pixels are replaced.

    The border of a hole between open lips is replaced as well: in it the opening's edge may be
    soft, and the frame's own mouth, which may be open and dark there, must not show.

    `target` float32 [n, 2] is the mesh with its rim, `margin_px` the width of the lips' soft edge.
    """
    labels = rasterize(target, TRIANGLES, size)
    _grow_labels(labels, target, margin_px)
    return labels, labels >= 0


def _grow_labels(labels: IntArray, target: FloatArray, margin_px: float) -> None:
    """Extend triangle labels around the lips, in place, as far as the opening's edge is soft.

    Lips that open leave a hole in the mesh, and a fold leaves gaps: some of their border shows, so
    it is drawn with the nearest triangle.
    """
    x0, y0, x1, y1 = bounds(target[topo.LIPS_OUTER], margin_px, labels.shape)
    near = labels[y0:y1, x0:x1]
    steps = int(edge_margin_px(target))
    grown = cv2.dilate(near, np.ones((3, 3), np.uint8), iterations=steps)
    np.copyto(near, grown, where=near < 0)
