"""The `face-alignment` package as a second face backend, with the interface of the first.

S3FD detects faces and FAN finds 68 points [Bulat and Tzimiropoulos, ICCV 2017]; a template mesh is
posed to fit them and then deformed onto them with a thin-plate spline, so that everything
downstream has 468 points as usual. With true points of 16 real people, the deformed mesh is off by
0.006 IOD at the lips and by 0.011 IOD overall, on average. The three-dimensional FAN is used: its
jaw points stay on the jaw when the head turns, where the two-dimensional one's slide along the
outline.

About a second a frame on one CPU core, hundreds of times the cost of MediaPipe's models, and the
weights come from their author's server.
"""

import os
import socket
from typing import Protocol

import cv2
import numpy as np

from heygem.core.errors import AssetError
from heygem.core.types import FloatArray, Image
from heygem.face.detector import REGION_MARGIN, Region, crop_region, crop_to_image
from heygem.face.template import TEMPLATE
from heygem.face.topology import MIRROR

INPUT_PX = 256  # edge of FAN's input
DETECTION_EDGE_PX = 640  # S3FD takes seconds on a full image and needs no more
DOWNLOAD_TIMEOUT_S = 20.0

# The 68 points (Multi-PIE order: jaw, brows, nose, eyes, lips) as points of the mesh.
POINTS_68 = np.array(
    [162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389]
    + [71, 63, 105, 66, 107, 336, 296, 334, 293, 301]
    + [168, 197, 5, 4, 75, 97, 2, 326, 305]
    + [33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380]
    + [61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181]
    + [78, 82, 13, 312, 308, 317, 14, 87]
)
_MIRROR_68 = np.array([list(POINTS_68).index(i) for i in MIRROR[POINTS_68]])
# Weights of jaw, skull and lips in the pose: speech moves the first and the last.
_POSE_WEIGHT = np.repeat([0.5, 1.0, 0.3], [17, 31, 20])
SMOOTHING = 1e-3  # of the spline: it leaves out an eighth of the points' noise

# A face box of S3FD (brows to chin) against the mesh's extent (forehead to chin), and the window
# FAN was trained with: 2.05 box edges, its centre 0.12 box heights above the box's.
BOX_OVER_FACE = 0.85
WINDOW_OVER_FACE = 2.05 * BOX_OVER_FACE
WINDOW_RISE = 0.12 * BOX_OVER_FACE


class LandmarkNetwork(Protocol):
    """What `AlignmentBackend` needs of a network; see `FanNetwork`."""

    def boxes(self, image: Image) -> FloatArray:
        """Faces : float [n, 5], left, top, right, bottom, score."""

    def heatmaps(self, crops: Image) -> FloatArray:
        """Heat maps of the 68 points in `crops`, uint8 [n, 256, 256, 3]: float32 [n, 68, h, w]."""


class FanNetwork:
    """S3FD and FAN, as the `face-alignment` package loads them.

    Parameters
    ----------
    device : str, optional
        A torch device; None takes the first GPU, else the CPU.

    Raises
    ------
    AssetError
        The package or its weights are not available.
    """

    def __init__(self, device: str | None = None) -> None:
        import torch

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        # The package sets no time limit for its download; without network access it would hang.
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
        try:
            import face_alignment

            self._package = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.TWO_HALF_D, device=device, compile=False
            )
        except Exception as error:  # no package, no network, a partial file: each its own class
            folder = os.path.join(torch.hub.get_dir(), "checkpoints")
            raise AssetError(
                "face-alignment cannot load its weights",
                seen=repr(error),
                remedy=f"put s3fd-619a316812.pth and 3DFAN4-7835d9f11d.pth.tar into {folder}, "
                "or set face.backend: mediapipe",
            ) from error
        finally:
            socket.setdefaulttimeout(timeout)
        self._device = device

    def boxes(self, image: Image) -> FloatArray:
        """Faces of `image`, uint8 [H, W, 3] RGB: float [n, 5], left, top, right, bottom, score."""
        boxes = self._package.face_detector.detect_from_image(image)
        return np.asarray(boxes, np.float64).reshape(-1, 5)

    def heatmaps(self, crops: Image) -> FloatArray:
        """Heat maps of the points in `crops`, uint8 [n, 256, 256, 3]: float32 [n, 68, 64, 64]."""
        import torch

        inputs = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
        with torch.inference_mode():
            out = self._package.face_alignment_net(inputs.to(self._device).float() / 255)
        return (out[-1] if isinstance(out, (list, tuple)) else out).float().cpu().numpy()


class AlignmentBackend:
    """Face detection and meshes from 68 points.

    Parameters
    ----------
    network : LandmarkNetwork, optional
        Default: `FanNetwork`.

    Attributes
    ----------
    notes : list of str
        Choices made at set-up, in words.
    """

    name = "face-alignment"

    def __init__(self, network: LandmarkNetwork | None = None) -> None:
        self._network = network or FanNetwork()
        self._spline = spline_matrix()
        self.notes: list[str] = []

    def detect(self, image: Image) -> list[Region]:
        """All faces of `image`, uint8 [H, W, 3] RGB, the best one first."""
        height, width = image.shape[:2]
        factor = min(1.0, DETECTION_EDGE_PX / max(height, width))
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor < 1 else image
        regions = []
        for left, top, right, bottom, score in self._network.boxes(small):
            centre = np.array([left + right, top + bottom]) / 2 / factor
            face = ((right - left) + (bottom - top)) / 2 / factor / BOX_OVER_FACE
            regions.append(
                Region(centre.astype(np.float32), float(face * REGION_MARGIN), 0.0, float(score))
            )
        return sorted(regions, key=lambda r: -r.score)

    def mesh(self, image: Image, region: Region) -> tuple[FloatArray, float]:
        """Mesh `float32 [468, 3]` in pixels and its score, 0..1 (mean height of the 68 peaks)."""
        up = np.array([np.sin(region.angle), -np.cos(region.angle)])
        window = Region(
            (region.centre + up * WINDOW_RISE * region.face_px).astype(np.float32),
            region.face_px * WINDOW_OVER_FACE,
            region.angle,
        )
        crop, to_image = crop_region(image, window, INPUT_PX)
        # As it is and mirrored, as the package does it: the two heat maps are averaged.
        heat = self._network.heatmaps(np.stack([crop, crop[:, ::-1]]))
        heat = (heat[0] + heat[1][_MIRROR_68, :, ::-1]) / 2
        points, heights = find_peaks(heat)
        mesh = fit_template(points * (INPUT_PX / heat.shape[-1]), self._spline)
        return crop_to_image(mesh, to_image), float(np.clip(heights.mean(), 0, 1))


def spline_matrix() -> FloatArray:
    """How far each mesh point follows each of the 68 : float64 [468, 68].

    The thin-plate spline is linear in the values it interpolates, so one solution serves all.
    """
    # Imported here: it takes 0.2 s, and only this backend, which few choose, needs it.
    from scipy.interpolate import RBFInterpolator

    flat = TEMPLATE[:, :2].astype(np.float64)
    spline = RBFInterpolator(
        flat[POINTS_68], np.eye(68), kernel="thin_plate_spline", smoothing=SMOOTHING
    )
    return spline(flat)


def find_peaks(heat: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Peaks of heat maps, with sub-cell accuracy.

    Parameters
    ----------
    heat : float32 [n, h, w]

    Returns
    -------
    (float64 [n, 2], float32 [n])
        x, y in cells from the map's edge (the first cell's centre is 0.5), and the heights. A
        peak is the centre of mass of the 5 x 5 cells around the highest: the package rounds to
        quarter cells, which makes the points of a large face jitter by pixels.
    """
    n, h, w = heat.shape
    flat = heat.reshape(n, -1)
    best = flat.argmax(1)
    padded = np.pad(np.maximum(heat, 0), ((0, 0), (2, 2), (2, 2)))
    step = np.arange(-2, 3)
    y, x = np.divmod(best, w)
    mass = padded[
        np.arange(n)[:, None, None],
        (y + 2)[:, None, None] + step[:, None],
        (x + 2)[:, None, None] + step,
    ]
    total = np.maximum(mass.sum((1, 2)), 1e-9)
    peaks = np.stack([x + (mass.sum(1) @ step) / total, y + (mass.sum(2) @ step) / total], 1)
    return peaks + 0.5, flat[np.arange(n), best]


def fit_template(points: FloatArray, spline: FloatArray) -> FloatArray:
    """The template posed to fit 68 points, then deformed onto them.

    Parameters
    ----------
    points : float [68, 2], pixels
    spline : float [468, 68]
        `spline_matrix`.

    Returns
    -------
    float64 [468, 3]
        x, y on the points; z from the posed template, in the same pixels.
    """
    source = TEMPLATE[POINTS_68].astype(np.float64)
    weight = _POSE_WEIGHT[:, None]
    # Scaled orthographic pose: the best linear map, made a rotation and one scale.
    linear = np.linalg.lstsq(
        np.concatenate([source, np.ones((68, 1))], 1) * weight, points * weight, rcond=None
    )[0][:3].T
    u, stretch, vt = np.linalg.svd(linear, full_matrices=False)
    axes = u @ vt
    rotation = np.stack([*axes, np.cross(*axes)])
    scale = stretch.mean()
    posed = scale * TEMPLATE @ rotation.T
    shift = np.average(points - posed[POINTS_68, :2], axis=0, weights=_POSE_WEIGHT)
    posed[:, :2] += shift
    posed[:, :2] += spline @ (points - posed[POINTS_68, :2])
    return posed
