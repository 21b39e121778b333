"""The library of a person's own mouth images, and the features by which two mouths are compared."""

from dataclasses import dataclass

import cv2
import numpy as np

from heygem import media
from heygem.core.types import BoolArray, FloatArray, Image, IntArray, PathLike
from heygem.face import topology as topo
from heygem.face.pose import Pose, to_canonical
from heygem.face.topology import LOWER
from heygem.face.tracking import Track

LIBRARY_BYTES = 96 << 20  # memory for mouth images, whatever the resolution
LIBRARY_FRAMES = 240
MIN_LIBRARY_FRAMES = 24
TEXTURE_CLARITY = 0.6  # of the clip's median: a frame above may serve as texture
MAX_CANDIDATES = 6000  # frames of which shapes are compared
CROP_UNITS = (0.95, 0.78)  # half width, half height of a mouth image [IOD]
CROP_SHIFT = 0.12  # of its centre below that of the lips [IOD]
TURN_DEG = 60.0  # a head turn that counts as much as 1 IOD of lip shape
GAP_WEIGHT = 2.0  # of three gaps beside forty points: a viewer notices the gap first


@dataclass(frozen=True)
class MouthLibrary:
    """Images of the person's own mouth.

    Attributes
    ----------
    frames : int [N]
        Frame each image was cut from; negative: from other footage of the person.
    crops : list of uint8 [h, w, 3], RGB
        At the resolution of the video.
    corners : int [N, 2]
        x, y of each crop's first pixel in its frame.
    points : float32 [N, 468, 3]
        The mesh of each image, in pixels of its crop.
    pose : Pose
        The head pose of each, in pixels of its crop.
    """

    frames: IntArray
    crops: list[Image]
    corners: IntArray
    points: FloatArray
    pose: Pose


def lip_features(shape: FloatArray) -> FloatArray:
    """Lip shape as a feature vector; its Euclidean distance measures how different two mouths look.

    Parameters
    ----------
    shape : float32 [T, len(LOWER), 3]
        Lower face in the canonical frame (rest shape included), in IOD.

    Returns
    -------
    float32 [T, 83]
        x, y of the outer and inner lip contour, and the aperture at three places.
    """
    row = {i: k for k, i in enumerate(LOWER)}
    contours = [row[i] for i in np.concatenate([topo.LIPS_OUTER, topo.LIPS_INNER])]
    xy = shape[:, contours, :2].reshape(len(shape), -1)
    gaps = [
        shape[:, row[lower], 1] - shape[:, row[upper], 1]
        for upper, lower in zip(
            topo.INNER_UPPER[[3, 5, 7]], topo.INNER_LOWER[[3, 5, 7]], strict=True
        )
    ]
    return np.concatenate([xy / np.sqrt(40), GAP_WEIGHT * np.stack(gaps, 1)], 1).astype(np.float32)


def build_library(
    path: PathLike, track: Track, pose: Pose, usable: BoolArray
) -> tuple[MouthLibrary, float]:
    """Cut out mouth images that cover the person's lip shapes and head poses.

    Parameters
    ----------
    path : path of the video
    track : Track
    pose : Pose
        Of every frame.
    usable : bool [T]
        Frames that images may come from.

    Returns
    -------
    (MouthLibrary, float)
        The images, and their median sharpness (variance of the Laplacian).
    """
    frames = np.flatnonzero(usable)
    scale = float(np.median(pose.scale[frames]))
    bytes_each = int(4 * CROP_UNITS[0] * CROP_UNITS[1] * scale**2 * 3)
    affordable = max(MIN_LIBRARY_FRAMES, LIBRARY_BYTES // max(bytes_each, 1))
    count = int(min(LIBRARY_FRAMES, affordable, len(frames)))
    spaced = np.linspace(0, len(frames) - 1, min(len(frames), MAX_CANDIDATES)).astype(int)
    candidates = np.unique(frames[spaced])
    shape = to_canonical(track.points[candidates[:, None], LOWER], pose[candidates])
    turns = pose.angles_deg[candidates] / TURN_DEG
    features = np.concatenate([lip_features(shape), turns], 1)
    chosen = np.sort(candidates[farthest_points(features, count)])
    crops, corners, sharpness = [], [], []
    with media.VideoReader(path, only=chosen.tolist()) as reader:
        for frame in reader:
            x0, y0, x1, y1 = mouth_box(
                track.points[frame.index], pose.scale[frame.index], frame.image.shape
            )
            crop = frame.image[y0:y1, x0:x1].copy()
            crops.append(crop)
            corners.append((x0, y0))
            grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
            sharpness.append(float(cv2.Laplacian(grey, cv2.CV_32F).var()))
            if frame.index == chosen[-1]:
                break
    corner_array = np.array(corners, int).reshape(-1, 2)
    library = _library(chosen[: len(crops)], crops, corner_array, track, pose)
    return library, float(np.median(sharpness))


def _library(
    frames: IntArray, crops: list[Image], corners: IntArray, track: Track, pose: Pose
) -> MouthLibrary:
    """A library of crops whose meshes and poses are those of their frames."""
    shift = np.concatenate([corners, np.zeros((len(corners), 1))], 1).astype(np.float32)
    frame_pose = pose[frames]
    return MouthLibrary(
        frames,
        crops,
        corners,
        track.points[frames] - shift[:, None],
        Pose(frame_pose.rotation, frame_pose.scale, frame_pose.offset - shift),
    )


def mouth_box(points: FloatArray, scale: float, size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Window around the mouth that holds everything speech moves.

    Parameters
    ----------
    points : float32 [468, 3], pixels
    scale : float
        Pixels per IOD.
    size : (height, width, ...) of the picture

    Returns
    -------
    (int, int, int, int)
        x0, y0, x1, y1, ends exclusive, inside the picture.
    """
    centre = points[topo.LIPS_OUTER, :2].mean(0) + (0, CROP_SHIFT * scale)
    half = np.array(CROP_UNITS) * scale
    x0, y0 = np.floor(np.maximum(centre - half, 0)).astype(int)
    x1 = int(min(size[1], np.ceil(centre[0] + half[0])))
    y1 = int(min(size[0], np.ceil(centre[1] + half[1])))
    return int(x0), int(y0), max(int(x0) + 1, x1), max(int(y0) + 1, y1)


def farthest_points(features: FloatArray, count: int) -> IntArray:
    """Rows that lie far from each other (farthest-point sampling), from the most typical one on.

    Parameters
    ----------
    features : float [N, D]
    count : int

    Returns
    -------
    int [min(count, N)], increasing
    """
    if count >= len(features):
        return np.arange(len(features))
    chosen = [int(np.argmin(((features - np.median(features, 0)) ** 2).sum(1)))]
    distance = ((features - features[chosen[0]]) ** 2).sum(1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((features - features[chosen[-1]]) ** 2).sum(1))
    return np.array(sorted(chosen))
