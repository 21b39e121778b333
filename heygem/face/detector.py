"""Face detection and the 468-point mesh with MediaPipe's models on LiteRT.

Models: BlazeFace full range (192 px) and short range (128 px) [Bazarevsky et al., 2019], and the
face mesh (192 px) [Kartynnik et al., 2019], Apache-2.0, fetched at set-up (see `heygem.core.assets`).
About one millisecond a mesh on one CPU core."""

from dataclasses import dataclass

import cv2
import numpy as np

from heygem.face import topology as topo
from heygem.face.litert import Model

DETECTION_THRESHOLD = 0.4
OVERLAP_LIMIT = 0.3  # boxes that share more than this are one face
REGION_MARGIN = 1.5  # region edge over face extent, as the mesh model was trained


@dataclass(frozen=True)
class Region:
    """A square, turned window of the picture that holds one face.

    Attributes
    ----------
    centre : float32 [2], pixels
    size_px : float
        Edge length.
    angle : float
        Turn of the eye line, radians, clockwise.
    score : float
        0..1, how sure the detector is.
    """

    centre: np.ndarray
    size_px: float
    angle: float
    score: float = 1.0

    @property
    def face_px(self):
        """Extent of the face inside the region, in pixels."""
        return self.size_px / REGION_MARGIN


def _anchors(size_px, cells):
    """Anchor centres, 0..1: `cells` is a list of (grid edge, anchors per cell)."""
    rows = []
    for edge, count in cells:
        centre = (np.arange(edge) + 0.5) / edge
        y, x = np.meshgrid(centre, centre, indexing="ij")
        rows.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), count, axis=0))
    return np.concatenate(rows)


class Detector:
    """BlazeFace: all faces of one picture.

    Parameters
    ----------
    path : path of the `.tflite` file
    short_range : bool
        The 128 px model for faces within two metres; else the 192 px full-range model.
    """

    def __init__(self, path, *, short_range=False):
        self._model = Model(path)
        self._size = 128 if short_range else 192
        cells = [(16, 2), (8, 6)] if short_range else [(48, 1)]
        self._anchors = _anchors(self._size, cells)

    def __call__(self, image):
        """Find faces in `image`, uint8 [H, W, 3] RGB; returns a list of Region, surest first."""
        h, w = image.shape[:2]
        edge = max(h, w)
        factor = self._size / edge
        small = cv2.resize(
            image,
            (max(1, round(w * factor)), max(1, round(h * factor))),
            interpolation=cv2.INTER_AREA,
        )
        square = np.zeros((self._size, self._size, 3), np.uint8)
        top, left = (self._size - small.shape[0]) // 2, (self._size - small.shape[1]) // 2
        square[top : top + small.shape[0], left : left + small.shape[1]] = small
        outputs = self._model(square / 127.5 - 1)
        values = next(o for o in outputs if o.shape[-1] == 16)[0]
        logits = next(o for o in outputs if o.shape[-1] == 1).reshape(-1)
        scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        found = []
        for k in np.argsort(-scores)[:200]:
            if scores[k] < DETECTION_THRESHOLD:
                break
            box = values[k] / self._size
            centre = ((self._anchors[k] + box[:2]) * self._size - (left, top)) / factor
            eyes = box[4:8].reshape(2, 2)
            turn = np.arctan2(*(eyes[1] - eyes[0])[::-1])
            size = float(max(box[2], box[3]) * edge * REGION_MARGIN)
            if all(
                np.hypot(*(centre - f.centre))
                > 0.5 * max(f.face_px, size / REGION_MARGIN) * (1 - OVERLAP_LIMIT)
                for f in found
            ):
                found.append(Region(centre.astype(np.float32), size, float(turn), float(scores[k])))
        return found


def crop_region(image, region, size_px):
    """Cut a region out upright.

    Returns
    -------
    (uint8 [size_px, size_px, 3], float64 [2, 3])
        The crop, and the affine map from crop to picture pixels.
    """
    turn = cv2.getRotationMatrix2D((0, 0), np.degrees(region.angle), size_px / region.size_px)
    # The model's 0..192 are the crop's edges, so its middle lies between two pixel centres.
    turn[:, 2] = (size_px - 1) / 2 - turn[:, :2] @ region.centre.astype(np.float64)
    # A bilinear warp that shrinks by more than two aliases: cut out larger, then average down.
    factor = max(1, int(region.size_px / size_px))
    edge = size_px * factor
    larger = turn * factor
    larger[:, 2] += (factor - 1) / 2
    large = cv2.warpAffine(image, larger, (edge, edge), flags=cv2.INTER_LINEAR)
    crop = cv2.resize(large, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return crop, cv2.invertAffineTransform(turn)


def place(raw, back):
    """Bring model points `float [n, 3]` into the picture with `back [2, 3]`; depth scales along."""
    scale = np.sqrt(abs(np.linalg.det(back[:, :2])))
    xy = (raw[:, :2] - 0.5) @ back[:, :2].T + back[:, 2]
    return np.concatenate([xy, raw[:, 2:3] * scale], 1).astype(np.float32)


def region_of(points):
    """The region a mesh asks for in the next frame; `points` float32 [468, 3] in pixels."""
    eyes = points[list(topo.EYE_OUTER), :2]
    d = eyes[1] - eyes[0]
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    return Region(
        (low + high) / 2, float((high - low).max() * REGION_MARGIN), float(np.arctan2(d[1], d[0]))
    )
