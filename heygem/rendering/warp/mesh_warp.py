"""Piecewise-affine warp of a picture by the face mesh, with a fixed rim."""

from math import ceil, floor

import cv2
import numpy as np

from heygem.core.types import FloatArray, Image, IntArray
from heygem.face import topology as topo
from heygem.face.topology import LOWER
from heygem.rendering.warp import kernels
from heygem.rendering.warp.triangle_kernel import fill_triangles

CORNER_BITS = 4  # fractional, of a triangle's corners
SLIVER_PX = 1.5  # triangles lower than this only shift
BAND_ROWS = 32  # sampled at once, from the first to the last covered column
RIM = 0.42  # how far beyond the jaw the warp fades out [IOD]
SPECK_PX = 5  # what is much narrower than this among the lips' triangles is not drawn


def mesh_topology() -> IntArray:
    """Triangles that can move, over the 468 points and a fixed rim around the jaw : int32 [K, 3].

    Rim point 468 + k stands outside jaw point k of `topo.JAW`.
    """
    moving = set(LOWER.tolist())
    inside = [t for t in topo.TRIANGLES.tolist() if moving & set(t)]
    jaw = topo.JAW.tolist()
    strip = []
    for k in range(len(jaw) - 1):
        if not moving & {jaw[k], jaw[k + 1]}:
            continue
        strip.append([jaw[k], jaw[k + 1], topo.POINTS + k])
        strip.append([jaw[k + 1], topo.POINTS + k + 1, topo.POINTS + k])
    return np.array(inside + strip, np.int32)


TRIANGLES = mesh_topology()
MOVING = np.unique(TRIANGLES)  # points of these triangles


def with_rim(points: FloatArray, scale: float) -> FloatArray:
    """Add the rim to a mesh : float32 [468, 2] to [468 + len(JAW), 2].

    `scale` is the inter-ocular distance in pixels.
    """
    x, y = (points[topo.JAW] - points[topo.LIPS_OUTER].mean(0)).T
    reach = RIM * scale / np.maximum(np.hypot(x, y), 1e-6)
    rim = points[topo.JAW] + np.stack([x * reach, y * reach], -1)
    return np.concatenate([points, rim]).astype(np.float32)


def sample(
    image: Image | FloatArray,
    map_x: FloatArray,
    map_y: FloatArray,
    method: int = cv2.INTER_CUBIC,
) -> FloatArray:
    """Sample a picture at given places, bicubically unless another of OpenCV's methods is given.

    Parameters
    ----------
    image : uint8 or float32 [H, W, 3], 0..255
        Beyond its border its last pixels continue. OpenCV samples 32-bit floats in two thirds of
        the time of bytes: give these where a picture is sampled more than once.
    map_x, map_y : float32 [h, w]

    Returns
    -------
    float32 [h, w, 3]
        Whole levels 0..255, those that OpenCV finds in bytes.
    """
    image = np.asarray(image, np.float32)
    levels = cv2.remap(image, map_x, map_y, method, borderMode=cv2.BORDER_REPLICATE)
    kernels.round_levels(levels.reshape(-1))
    return levels


def sample_covered(image: Image, map_x: FloatArray, map_y: FloatArray, labels: IntArray) -> Image:
    """A window with its covered pixels sampled; the others are the image's own, uint8 [h, w, 3].

    Parameters
    ----------
    image : uint8 [h, w, 3]
        The window itself, which the maps refer to.
    map_x, map_y : float32 [h, w]
    labels : int [h, w]
        -1 where the map is the identity.
    """
    source = image.astype(np.float32)
    levels = source.copy()
    for top in range(0, len(labels), BAND_ROWS):
        band = slice(top, top + BAND_ROWS)
        columns = np.flatnonzero((labels[band] >= 0).any(0))
        if len(columns):
            part = band, slice(columns[0], columns[-1] + 1)
            maps = map_x[part], map_y[part]
            border = cv2.BORDER_REPLICATE
            cv2.remap(source, *maps, cv2.INTER_CUBIC, dst=levels[part], borderMode=border)
    pixels = np.empty(image.shape, np.uint8)
    kernels.store_levels(levels.reshape(-1), pixels.reshape(-1))
    return pixels


def bounds(
    points: FloatArray, margin_px: float, size: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Whole-pixel box around points, inside a picture of (height, width): x0, y0, x1, y1."""
    left, top, right, bottom = kernels.extent(points.reshape(-1, 2))
    x0, y0 = max(0, floor(left - margin_px)), max(0, floor(top - margin_px))
    x1, y1 = ceil(right + margin_px) + 1, ceil(bottom + margin_px) + 1
    return x0, y0, max(x0 + 1, min(size[1], x1)), max(y0 + 1, min(size[0], y1))


def rasterize(points: FloatArray, triangles: IntArray, size: tuple[int, int]) -> IntArray:
    """Index of the triangle that covers each pixel, -1 for none : int16 [h, w]."""
    labels = np.full(size, -1, np.int16)
    corners = np.rint(points[triangles] * 2**CORNER_BITS).astype(np.int32)
    fill_triangles(labels, corners, CORNER_BITS)
    return labels


def backward_map(
    target: FloatArray,
    source: FloatArray,
    triangles: IntArray,
    labels: IntArray,
    sliver_px: float = SLIVER_PX,
) -> tuple[FloatArray, FloatArray]:
    """Piecewise-affine map from target pixels to source places : two float32 [h, w].

    Parameters
    ----------
    target, source : float32 [n, 2]
        Corresponding points, pixels.
    triangles : int [K, 3]
    labels : int [h, w]
        Triangle of each target pixel, from `rasterize`; -1 maps to itself.
    sliver_px : float
        Triangles lower than this only shift.
    """
    table = kernels.affine_table(
        *(np.ascontiguousarray(points, np.float32) for points in (target, source)),
        np.ascontiguousarray(triangles, np.int32),
        sliver_px,
    )
    map_x, map_y = np.empty(labels.shape, np.float32), np.empty(labels.shape, np.float32)
    kernels.affine_map(labels, table, map_x, map_y)
    return map_x, map_y


def remove_specks(
    map_x: FloatArray,
    map_y: FloatArray,
    box: tuple[int, int, int, int],
    speck_px: int = SPECK_PX,
) -> None:
    """Give pixels that are fetched from elsewhere than those around them their place, in place.

    In the corners of a mouth triangles fold and are thinner than a pixel: what a pixel gets from
    them is a dot from another part of the lips. The median of the displacements around a pixel
    removes it, and changes nothing within a triangle.

    Parameters
    ----------
    map_x, map_y : float32 [h, w]
        From `backward_map`.
    box : (int, int, int, int)
        x0, y0, x1, y1 of the pixels that change.
    speck_px : int
        What is much narrower goes; odd.
    """
    x0, y0, x1, y1 = box
    across = np.arange(x0, x1, dtype=np.float32)[None, :]
    down = np.arange(y0, y1, dtype=np.float32)[:, None]
    for places, own in ((map_x, across), (map_y, down)):
        part = places[y0:y1, x0:x1]
        part[:] = cv2.medianBlur(part - own, speck_px) + own
