"""Face detection with BlazeFace, and the square regions in which meshes are fitted.

BlazeFace full range (192 px) and short range (128 px) [Bazarevsky et al., CVPR workshops 2019],
MediaPipe's models on LiteRT, Apache-2.0, fetched at set-up (see `heygem.core.assets`).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from heygem.core.litert import LiteRTModel
from heygem.core.types import FloatArray, Image, PathLike
from heygem.face import topology as topo

DETECTION_THRESHOLD = 0.4
MAX_CANDIDATES = 200
OVERLAP_LIMIT = 0.3  # boxes that share more than this are one face
REGION_MARGIN = 1.5  # region edge over face extent, as the mesh model was trained


@dataclass(frozen=True)
class Region:
    """A square, rotated window of the image that holds one face.

    Attributes
    ----------
    centre : float32 [2], pixels
    size_px : float
        Edge length.
    angle : float
        Rotation of the line between the eyes, radians, clockwise.
    score : float
        Confidence of the detector, 0..1.
    """

    centre: FloatArray
    size_px: float
    angle: float
    score: float = 1.0

    @property
    def face_px(self) -> float:
        """Extent of the face inside the region, in pixels."""
        return self.size_px / REGION_MARGIN


def _anchor_centres(grids: list[tuple[int, int]]) -> FloatArray:
    """Anchor centres, 0..1, of grids given as (cells along an edge, anchors per cell)."""
    rows = []
    for edge, count in grids:
        centre = (np.arange(edge) + 0.5) / edge
        y, x = np.meshgrid(centre, centre, indexing="ij")
        rows.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), count, axis=0))
    return np.concatenate(rows)


class Detector:
    """BlazeFace: all faces of one image.

    Parameters
    ----------
    path : path of the `.tflite` file
    short_range : bool
        The 128 px model for faces within two metres; else the 192 px full-range model.
    """

    def __init__(self, path: PathLike, *, short_range: bool = False) -> None:
        self._model = LiteRTModel(path)
        self._input_px = 128 if short_range else 192
        self._anchors = _anchor_centres([(16, 2), (8, 6)] if short_range else [(48, 1)])

    def __call__(self, image: Image) -> list[Region]:
        """Detect faces in `image`, uint8 [H, W, 3] RGB; the best one first."""
        edge = max(image.shape[:2])
        factor = self._input_px / edge
        square, offset = _letterbox(image, self._input_px)
        outputs = self._model((square / 127.5 - 1)[None])
        boxes = next(o for o in outputs if o.shape[-1] == 16)[0]
        logits = next(o for o in outputs if o.shape[-1] == 1).reshape(-1)
        scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        regions: list[Region] = []
        for k in np.argsort(-scores)[:MAX_CANDIDATES]:
            if scores[k] < DETECTION_THRESHOLD:
                break
            box = boxes[k] / self._input_px
            centre = ((self._anchors[k] + box[:2]) * self._input_px - offset) / factor
            eyes = box[4:8].reshape(2, 2)
            angle = np.arctan2(*(eyes[1] - eyes[0])[::-1])
            size_px = float(max(box[2], box[3]) * edge * REGION_MARGIN)
            face_px = size_px / REGION_MARGIN
            distinct = all(
                np.hypot(*(centre - other.centre))
                > 0.5 * max(other.face_px, face_px) * (1 - OVERLAP_LIMIT)
                for other in regions
            )
            if distinct:
                regions.append(
                    Region(centre.astype(np.float32), size_px, float(angle), float(scores[k]))
                )
        return regions


def _letterbox(image: Image, size_px: int) -> tuple[Image, tuple[int, int]]:
    """`image` scaled into the middle of a black square, and where its corner lies there (x, y)."""
    height, width = image.shape[:2]
    factor = size_px / max(height, width)
    small = cv2.resize(
        image,
        (max(1, round(width * factor)), max(1, round(height * factor))),
        interpolation=cv2.INTER_AREA,
    )
    square = np.zeros((size_px, size_px, 3), np.uint8)
    top, left = (size_px - small.shape[0]) // 2, (size_px - small.shape[1]) // 2
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    return square, (left, top)


def crop_region(image: Image, region: Region, size_px: int) -> tuple[Image, FloatArray]:
    """Cut a region out upright.

    Returns
    -------
    (uint8 [size_px, size_px, 3], float64 [2, 3])
        The crop, and the affine map from pixels of the crop to pixels of the image.
    """
    to_crop = cv2.getRotationMatrix2D((0, 0), np.degrees(region.angle), size_px / region.size_px)
    # The model's 0..192 are the crop's edges, so its middle lies between two pixel centres.
    to_crop[:, 2] = (size_px - 1) / 2 - to_crop[:, :2] @ region.centre.astype(np.float64)
    # A bilinear warp that shrinks by more than two aliases: cut out larger, then average down.
    factor = max(1, int(region.size_px / size_px))
    edge = size_px * factor
    to_large = to_crop * factor
    to_large[:, 2] += (factor - 1) / 2
    large = cv2.warpAffine(image, to_large, (edge, edge), flags=cv2.INTER_LINEAR)
    crop = cv2.resize(large, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return crop, cv2.invertAffineTransform(to_crop)


def crop_to_image(points: FloatArray, to_image: FloatArray) -> FloatArray:
    """Map points of a crop into its image.

    Parameters
    ----------
    points : float [n, 3]
        x, y from the crop's edge (0 is the edge of the first pixel), and depth in crop pixels.
    to_image : float [2, 3]
        From `crop_region`.

    Returns
    -------
    float32 [n, 3]
        x, y in image pixels, with pixel centres at integers; depth scaled likewise.
    """
    scale = np.sqrt(abs(np.linalg.det(to_image[:, :2])))
    xy = (points[:, :2] - 0.5) @ to_image[:, :2].T + to_image[:, 2]
    return np.concatenate([xy, points[:, 2:3] * scale], 1).astype(np.float32)


def region_of(points: FloatArray) -> Region:
    """The region in which the next mesh is fitted, from a mesh `float32 [468, 3]` in pixels."""
    eyes = points[list(topo.EYE_OUTER), :2]
    dx, dy = eyes[1] - eyes[0]
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return Region(
        (low + high) / 2, float((high - low).max() * REGION_MARGIN), float(np.arctan2(dy, dx))
    )
