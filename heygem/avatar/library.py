"""The person's own mouth pictures, and how alike two mouths are."""

from dataclasses import dataclass

import cv2
import numpy as np

from heygem import media
from heygem.face import topology as topo
from heygem.face.pose import Pose, to_canonical
from heygem.face.topology import LOWER

LIBRARY_BYTES = 96 << 20  # memory for mouth pictures, whatever the resolution
LIBRARY_FRAMES = 240
CROP_UNITS = (0.95, 0.78)  # half width, half height of a mouth picture [eye distances]


@dataclass(frozen=True)
class Library:
    """Pictures of the person's own mouth.

    Attributes
    ----------
    frames : int [N]
        Frame each picture was cut from; below 0 it is one of other footage of the person.
    crops : list of uint8 [h, w, 3], RGB
        In source pixels.
    corners : int [N, 2]
        x, y of each crop's first pixel in its frame.
    points : float32 [N, 468, 3]
        The mesh of each picture, in pixels of its crop.
    pose : Pose
        The head pose of each, in pixels of its crop.
    """

    frames: np.ndarray
    crops: list
    corners: np.ndarray
    points: np.ndarray
    pose: Pose


def lip_features(shape):
    """Lip shape as numbers that are near when mouths look alike.

    Parameters
    ----------
    shape : float32 [T, len(LOWER), 3]
        Lower face in the canonical frame (with the rest shape in it).

    Returns
    -------
    float32 [T, 83]
        Inner and outer ring (x, y), and the opening at three places, in eye distances.
    """
    place = {i: k for k, i in enumerate(LOWER)}
    rings = [place[i] for i in np.concatenate([topo.LIPS_OUTER, topo.LIPS_INNER])]
    xy = shape[:, rings, :2].reshape(len(shape), -1)
    gaps = [
        shape[:, place[low], 1] - shape[:, place[up], 1]
        for up, low in zip(topo.INNER_UPPER[[3, 5, 7]], topo.INNER_LOWER[[3, 5, 7]], strict=True)
    ]
    # Forty points against three gaps: the gap is what a viewer sees first.
    return np.concatenate([xy / np.sqrt(40), 2.0 * np.stack(gaps, 1)], 1).astype(np.float32)


def collect(path, track, pose, usable):
    """Cut out mouth pictures that cover the person's shapes and poses.

    Parameters
    ----------
    path : path of the video
    track : heygem.face.tracking.Track
    pose : Pose
        Of every frame.
    usable : bool [T]

    Returns
    -------
    (Library, float)
        The pictures, and their median sharpness (variance of the Laplacian).
    """
    frames = np.flatnonzero(usable)
    scale = float(np.median(pose.scale[frames]))
    bytes_each = int(4 * CROP_UNITS[0] * CROP_UNITS[1] * scale**2 * 3)
    count = int(min(LIBRARY_FRAMES, max(24, LIBRARY_BYTES // max(bytes_each, 1)), len(frames)))
    pool = frames[np.linspace(0, len(frames) - 1, min(len(frames), 6000)).astype(int)]
    pool = np.unique(pool)
    shape = to_canonical(track.points[pool[:, None], LOWER], pose[pool])
    features = np.concatenate([lip_features(shape), pose.angles_deg[pool] / 60], 1)
    chosen = np.sort(pool[_spread(features, count)])
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
    chosen, corners = chosen[: len(crops)], np.array(corners, int).reshape(-1, 2)
    return library_of(chosen, crops, corners, track, pose), float(np.median(sharpness))


def library_of(frames, crops, corners, track, pose):
    """A Library of crops whose meshes and poses are those of their frames in `track`."""
    away = np.concatenate([corners, np.zeros((len(corners), 1))], 1).astype(np.float32)
    own = pose[frames]
    return Library(
        frames,
        crops,
        corners,
        track.points[frames] - away[:, None],
        Pose(own.rotation, own.scale, own.offset - away),
    )


def mouth_box(points, scale, size):
    """Window around the mouth that holds everything speech moves: x0, y0, x1, y1 in pixels."""
    middle = points[np.concatenate([topo.LIPS_OUTER]), :2].mean(0)
    middle = middle + (0, 0.12 * scale)
    half = np.array(CROP_UNITS) * scale
    x0, y0 = np.floor(np.maximum(middle - half, 0)).astype(int)
    x1 = int(min(size[1], np.ceil(middle[0] + half[0])))
    y1 = int(min(size[0], np.ceil(middle[1] + half[1])))
    return int(x0), int(y0), max(int(x0) + 1, x1), max(int(y0) + 1, y1)


def _spread(features, count):
    """Indices of `count` rows that lie far from each other (farthest-point sampling)."""
    if count >= len(features):
        return np.arange(len(features))
    chosen = [int(np.argmin(((features - np.median(features, 0)) ** 2).sum(1)))]
    distance = ((features - features[chosen[0]]) ** 2).sum(1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, ((features - features[chosen[-1]]) ** 2).sum(1))
    return np.array(sorted(chosen))
