"""Appearance: mouth pictures from all of a person's footage.

What the shown video has stays: its pictures share light, lens and make-up with the frames they go
into. Other footage adds the mouths and poses that it lacks, measured in the renderer's own costs: a
picture is taken only where it is nearer than the best there is by more than a change of shot costs,
so near-identical mouths never come in twice.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from heygem import media
from heygem.avatar import PLAIN
from heygem.avatar.library import LIBRARY_BYTES, Library, lip_features, mouth_box
from heygem.face import geometry
from heygem.face import topology as topo
from heygem.face.geometry import LOWER, Pose
from heygem.renderer.textures import OTHER_SHOT, SHAPE, TURN_DEG

MOST_PICTURES = 400  # the search for a path through them grows with the square
POOL = 3000  # frames looked at in each further video
COARSEST = 0.75  # of the shown face's size; coarser pictures would look blurred
DULLEST = 0.5  # of the shown pictures' sharpness
BEYOND = 1000  # frame numbers of other footage begin below this


@dataclass(frozen=True)
class Added:
    """How a library grew.

    library : Library
    own, added : int
        Pictures of the shown video, and of other footage.
    by_file : dict of str to int
    """

    library: Library
    own: int
    added: int
    by_file: dict


def grow(shown, others, *, tell=None):
    """Add to the library of the shown avatar what other footage has and it lacks.

    Parameters
    ----------
    shown : Avatar
    others : list of Avatar
        The same person in other videos.
    tell : callable, optional
        `tell(done, total)`, by video.

    Returns
    -------
    Added
    """
    library = shown.library
    template = _template(shown)
    have = _features(library.points, library.pose)
    left = LIBRARY_BYTES - sum(c.nbytes for c in library.crops)
    sharp = np.median([_sharpness(c) for c in library.crops])
    by_file = {}
    for number, other in enumerate(others):
        if tell is not None:
            tell(number, len(others))
        frames, pose = _candidates(shown, other, template)
        if not len(frames):
            by_file[other.path.name] = 0
            continue
        features = _features(other.track.points[frames], pose)
        each = np.mean([c.nbytes for c in library.crops])
        room = min(MOST_PICTURES - len(library.crops), int(left // each))
        chosen = _farthest(have, features, room)
        crops, points, poses, kept = _cut(other, frames[chosen], pose[chosen], shown, sharp)
        by_file[other.path.name] = len(kept)
        if not len(kept):
            continue
        chosen = chosen[kept]
        have = np.concatenate([have, features[chosen]])
        left -= sum(c.nbytes for c in crops)
        start = min(int(library.frames.min()), 0) - BEYOND
        library = Library(
            np.concatenate([library.frames, start - frames[chosen]]),
            [*library.crops, *crops],
            np.concatenate([library.corners, np.zeros((len(crops), 2), int)]),
            np.concatenate([library.points, points]),
            Pose(
                *(
                    np.concatenate([getattr(library.pose, k), getattr(poses, k)])
                    for k in ("rotation", "scale", "offset")
                )
            ),
        )
    own = len(shown.library.crops)
    return Added(library, own, len(library.crops) - own, by_file)


def _template(avatar):
    """The person's canonical mesh, as seen in the shown video."""
    found = np.flatnonzero(avatar.track.found)
    some = found[np.linspace(0, len(found) - 1, min(len(found), 400)).astype(int)]
    return geometry.fit_pose(avatar.track.points[some], sigma_frames=0)[1]


def _candidates(shown, other, template):
    """Frames of other footage that may serve, and their poses in the shown person's frame."""
    track = other.track
    clear = track.clarity / max(float(np.median(track.clarity[track.found])), 1e-6)
    large = track.face_px >= COARSEST * np.median(shown.track.face_px[shown.track.found])
    frames = np.flatnonzero(other.usable & (clear > PLAIN) & large)
    if len(frames) > POOL:
        frames = frames[np.linspace(0, len(frames) - 1, POOL).astype(int)]
    if not len(frames):
        return frames, None
    pose = geometry.fit_to(track.points[frames][:, topo.STABLE], template, sigma_frames=0)
    return frames, pose


def _features(points, pose):
    """What the renderer compares, in units of its costs : float32 [N, F]."""
    shape = geometry.to_canonical(points[:, LOWER], pose)
    turn = pose.angles_deg / TURN_DEG
    return np.concatenate([lip_features(shape) * np.sqrt(SHAPE), turn], 1).astype(np.float32)


def _farthest(have, features, room):
    """Rows that lie far from what there is and from each other, while that pays."""
    distance = np.full(len(features), np.inf, np.float32)
    for row in have:
        distance = np.minimum(distance, ((features - row) ** 2).sum(1))
    chosen = []
    while len(chosen) < room and distance.max() > OTHER_SHOT:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((features - features[chosen[-1]]) ** 2).sum(1))
    return np.array(sorted(chosen), int)


def _cut(other, frames, pose, shown, sharp):
    """Pictures at the shown video's scale, with their meshes and poses; unsharp ones left out."""
    size = float(np.median(shown.pose.scale[shown.usable]))
    at = {int(f): i for i, f in enumerate(frames)}
    crops, points, zooms, away, kept = [], [], [], [], []
    with media.VideoReader(other.path) as reader:
        for frame in reader:
            i = at.get(frame.index)
            if i is None:
                continue
            mesh = other.track.points[frame.index]
            x0, y0, x1, y1 = mouth_box(mesh, pose.scale[i], frame.image.shape)
            crop = frame.image[y0:y1, x0:x1]
            # A picture larger than the place it goes to would be sampled with gaps.
            zoom = min(1.0, size / float(pose.scale[i]))
            if zoom < 0.9:
                wide, high = round(crop.shape[1] * zoom), round(crop.shape[0] * zoom)
                crop = cv2.resize(crop, (wide, high), interpolation=cv2.INTER_AREA)
            else:
                zoom = 1.0
            if _sharpness(crop) >= DULLEST * sharp:
                kept.append(i)
                crops.append(np.ascontiguousarray(crop))
                corner = np.array([x0, y0, 0], np.float32)
                # Pixel centres lie at whole numbers, so a resized picture's are shifted.
                shift = np.array([0.5, 0.5, 0], np.float32) * (zoom - 1)
                points.append((mesh - corner) * zoom + shift)
                zooms.append(zoom)
                away.append((corner, shift))
            if frame.index >= frames[-1]:
                break
    kept = np.array(kept, int)
    if not len(kept):
        return [], None, None, kept
    zooms = np.array(zooms, np.float32)
    own = pose[kept]
    offset = np.stack(
        [(o - c) * z + s for o, z, (c, s) in zip(own.offset, zooms, away, strict=True)]
    )
    poses = replace(own, scale=own.scale * zooms, offset=offset.astype(np.float32))
    return crops, np.stack(points).astype(np.float32), poses, kept


def _sharpness(crop):
    return float(cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
