"""The `face-alignment` package as a second tracker, behind the same interface as the mesh.

S3FD finds faces and FAN marks 68 points [Bulat and Tzimiropoulos, ICCV 2017]; a template mesh is
turned to fit them and then bent onto them with a thin-plate spline, so that everything downstream
sees 468 points as ever. Bent so onto true points of 16 real people, the lips are off by 0.006
and the whole mesh by 0.011 of the distance of the outer eye corners, on average. The
three-dimensional FAN is used because its jaw points stay on the jaw when the head turns, where the
two-dimensional one's slide along the outline.

About a second a frame on one CPU core, hundreds of times the mesh's cost, and its weights come from
their author's server.
"""

import os
import socket

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from heygem.core.errors import AssetError
from heygem.face.detector import REGION_MARGIN, Region, crop_region, place
from heygem.face.template import TEMPLATE
from heygem.face.topology import MIRROR

INPUT_PX = 256  # edge of what FAN looks at
DETECTION_EDGE_PX = 640  # S3FD takes seconds on a full picture and needs no more
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
# What tells the pose: the skull, more than the jaw and the lips, which speech moves.
_POSE_WEIGHT = np.repeat([0.5, 1.0, 0.3], [17, 31, 20])
SMOOTHING = 1e-3  # of the spline: an eighth of the points' noise is not followed

# A face box of S3FD (brows to chin) against the mesh's extent (forehead to chin), and the window
# FAN was trained with: 2.05 box edges, its centre 0.12 box heights above the box's.
BOX_OVER_FACE = 0.85
WINDOW_OVER_FACE = 2.05 * BOX_OVER_FACE
WINDOW_RISE = 0.12 * BOX_OVER_FACE


class FanNetwork:
    """S3FD and FAN, as the `face-alignment` package loads them.

    Parameters
    ----------
    device : str, optional
        A torch device; None takes the first GPU, else the CPU.

    Raises
    ------
    AssetError
        The package or its weights cannot be had.
    """

    def __init__(self, device=None):
        import torch

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        # The package waits for its server without end; a machine behind a wall would hang.
        patience = socket.getdefaulttimeout()
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
        try:
            import face_alignment

            self._package = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.TWO_HALF_D, device=device, compile=False
            )
        except Exception as error:  # no package, no network, half a file: each its own class
            folder = os.path.join(torch.hub.get_dir(), "checkpoints")
            raise AssetError(
                "face-alignment cannot load its weights",
                seen=repr(error),
                remedy=f"put s3fd-619a316812.pth and 3DFAN4-7835d9f11d.pth.tar into {folder}, "
                "or set face.backend: mediapipe",
            ) from error
        finally:
            socket.setdefaulttimeout(patience)
        self._device = device

    def boxes(self, image):
        """Faces of `image`, uint8 [H, W, 3] RGB: float [n, 5], left, top, right, bottom, score."""
        found = self._package.face_detector.detect_from_image(image)
        return np.asarray(found, np.float64).reshape(-1, 5)

    def heatmaps(self, crops):
        """Where the points are in `crops`, uint8 [n, 256, 256, 3] RGB: float32 [n, 68, 64, 64]."""
        import torch

        inputs = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
        with torch.inference_mode():
            out = self._package.face_alignment_net(inputs.to(self._device).float() / 255)
        return (out[-1] if isinstance(out, (list, tuple)) else out).float().cpu().numpy()


class AlignmentBackend:
    """Face detection and meshes from 68 points.

    Parameters
    ----------
    network : FanNetwork or alike, optional
        Anything with its `boxes` and `heatmaps`.
    """

    name = "face-alignment"

    def __init__(self, network=None):
        self._network = network or FanNetwork()
        flat = TEMPLATE[:, :2].astype(np.float64)
        # The spline is linear in what it interpolates: solved once, it is a matrix [468, 68].
        self._bend = RBFInterpolator(
            flat[POINTS_68], np.eye(68), kernel="thin_plate_spline", smoothing=SMOOTHING
        )(flat)
        self.notes = []

    def detect(self, image):
        """All faces of `image`, uint8 [H, W, 3] RGB, as Regions, surest first."""
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

    def mesh(self, image, region):
        """Mesh `float32 [468, 3]` in pixels and its score, 0..1 (mean height of the 68 peaks)."""
        up = np.array([np.sin(region.angle), -np.cos(region.angle)])
        window = Region(
            (region.centre + up * WINDOW_RISE * region.face_px).astype(np.float32),
            region.face_px * WINDOW_OVER_FACE,
            region.angle,
        )
        crop, back = crop_region(image, window, INPUT_PX)
        # Both ways round, as the package does it: the heat of the two is averaged.
        heat = self._network.heatmaps(np.stack([crop, crop[:, ::-1]]))
        heat = (heat[0] + heat[1][_MIRROR_68, :, ::-1]) / 2
        points, peaks = peaks_of(heat)
        mesh = fit_template(points * (INPUT_PX / heat.shape[-1]), self._bend)
        return place(mesh, back), float(np.clip(peaks.mean(), 0, 1))


def peaks_of(heat):
    """Peaks of heat maps, finer than a cell.

    Parameters
    ----------
    heat : float32 [n, h, w]

    Returns
    -------
    (float64 [n, 2], float32 [n])
        x, y in cells from the map's edge (the first cell's centre is 0.5), and the heights. The
        place is the centre of mass of the 5 x 5 cells round the highest: quarter cells, as the
        package rounds to, make a large face tremble by pixels.
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
    at = np.stack([x + (mass.sum(1) @ step) / total, y + (mass.sum(2) @ step) / total], 1)
    return at + 0.5, flat[np.arange(n), best]


def fit_template(points, bend):
    """The template turned and bent onto 68 points.

    Parameters
    ----------
    points : float [68, 2], pixels
    bend : float [468, 68]
        How far each of the mesh follows each of the 68.

    Returns
    -------
    float64 [468, 3]
        x, y on the points; z from the turned template, in the same pixels.
    """
    known = TEMPLATE[POINTS_68].astype(np.float64)
    weight = _POSE_WEIGHT[:, None]
    # Scaled orthographic pose: the best linear map, made a rotation and one scale.
    linear = np.linalg.lstsq(
        np.concatenate([known, np.ones((68, 1))], 1) * weight, points * weight, rcond=None
    )[0][:3].T
    u, stretch, vt = np.linalg.svd(linear, full_matrices=False)
    axes = u @ vt
    rotation = np.stack([*axes, np.cross(*axes)])
    scale = stretch.mean()
    turned = scale * TEMPLATE @ rotation.T
    shift = np.average(points - turned[POINTS_68, :2], axis=0, weights=_POSE_WEIGHT)
    turned[:, :2] += shift
    turned[:, :2] += bend @ (points - turned[POINTS_68, :2])
    return turned
