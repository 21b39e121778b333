"""Appearance: mouth pictures from all of a person's footage.

Pictures are taken one by one, each the one farthest from those there are, in the renderer's own
costs (farthest-point sampling). One of other footage counts for less by what a change of shot
costs: it comes in where the shown video, whose light, lens and make-up fit, has nothing near, and
near-identical mouths never come in twice.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from heygem import media
from heygem.avatar.avatar import TEXTURE_CLARITY
from heygem.avatar.library import LIBRARY_BYTES, MouthLibrary, lip_features, mouth_box
from heygem.face import topology as topo
from heygem.face.pose import Pose, fit_pose, fit_to, to_canonical
from heygem.face.topology import LOWER
from heygem.rendering.warp.texture_selection import OTHER_SHOT, SHAPE, TURN_DEG

MOST_PICTURES = 400  # the search for a path through them grows with the square
POOL = 3000  # frames looked at in each further video
COARSEST = 0.75  # of the shown face's size; coarser pictures would look blurred
DULLEST = 0.5  # of the shown pictures' sharpness
SKIN = (205, 425, 50, 280, 199, 200, 421)  # of the mesh: cheeks and chin, where no lip is
GAMMA, MOST_GAIN = 2.2, 2.5
BEYOND = 1000  # frame numbers of other footage begin below this


@dataclass(frozen=True)
class Added:
    """How a library grew.

    library : MouthLibrary
    own, added : int
        Pictures of the shown video, and of other footage.
    by_file : dict of str to int
    """

    library: MouthLibrary
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
    sharp = np.median([_sharpness(c) for c in library.crops])
    have = _features(library.points, library.pose)
    pool, owner, rows = [have], [np.full(len(have), -1)], [np.arange(len(have))]
    found = []
    for k, other in enumerate(others):
        frames, pose = _candidates(shown, other, template)
        found.append((frames, pose))
        if len(frames):
            pool.append(_features(other.track.points[frames], pose))
            owner.append(np.full(len(frames), k))
            rows.append(np.arange(len(frames)))
    owner, rows = np.concatenate(owner), np.concatenate(rows)
    each = max(1, int(np.mean([c.nbytes for c in library.crops])))
    room = min(MOST_PICTURES, max(len(have), LIBRARY_BYTES // each))
    chosen = _farthest(np.concatenate(pool), np.where(owner < 0, 0.0, OTHER_SHOT), room)
    kept = np.sort(rows[chosen[owner[chosen] < 0]])
    parts = [_some(library, kept)]
    by_file = {}
    for k, other in enumerate(others):
        if tell is not None:
            tell(k, len(others))
        frames, pose = found[k]
        mine = np.sort(rows[chosen[owner[chosen] == k]])
        cut = _cut(other, frames, pose, mine, shown, sharp) if len(mine) else None
        by_file[other.path.name] = 0 if cut is None else len(cut.crops)
        if cut is not None:
            start = min(int(parts[-1].frames.min()), 0) - BEYOND
            parts.append(replace(cut, frames=start - cut.frames))
    library = _joined(parts)
    return Added(library, len(kept), len(library.crops) - len(kept), by_file)


def _some(library, which):
    return MouthLibrary(
        library.frames[which],
        [library.crops[i] for i in which],
        library.corners[which],
        library.points[which],
        library.pose[which],
    )


def _joined(parts):
    pose = (
        np.concatenate([getattr(p.pose, key) for p in parts])
        for key in ("rotation", "scale", "offset")
    )
    return MouthLibrary(
        np.concatenate([p.frames for p in parts]),
        [crop for p in parts for crop in p.crops],
        np.concatenate([p.corners for p in parts]),
        np.concatenate([p.points for p in parts]),
        Pose(*pose),
    )


def _template(avatar):
    """The person's canonical mesh, as seen in the shown video."""
    found = np.flatnonzero(avatar.track.detected)
    some = found[np.linspace(0, len(found) - 1, min(len(found), 400)).astype(int)]
    return fit_pose(avatar.track.points[some], sigma_frames=0)[1]


def _candidates(shown, other, template):
    """Frames of other footage that may serve, and their poses in the shown person's frame."""
    track = other.track
    clear = track.clarity / max(float(np.median(track.clarity[track.detected])), 1e-6)
    large = track.face_px >= COARSEST * np.median(shown.track.face_px[shown.track.detected])
    frames = np.flatnonzero(other.usable & (clear > TEXTURE_CLARITY) & large)
    if len(frames) > POOL:
        frames = frames[np.linspace(0, len(frames) - 1, POOL).astype(int)]
    if not len(frames):
        return frames, None
    pose = fit_to(track.points[frames][:, topo.STABLE], template, sigma_frames=0)
    return frames, pose


def _features(points, pose):
    """What the renderer compares, in units of its costs : float32 [N, F]."""
    shape = to_canonical(points[:, LOWER], pose)
    turn = pose.angles_deg / TURN_DEG
    return np.concatenate([lip_features(shape) * np.sqrt(SHAPE), turn], 1).astype(np.float32)


def _farthest(features, less, room):
    """Rows that lie far from each other, each counted for less by `less`, while that pays."""
    chosen = [int(np.argmin(less))]
    distance = ((features - features[chosen[0]]) ** 2).sum(1)
    while len(chosen) < room:
        gain = distance - less
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        distance = np.minimum(distance, ((features - features[best]) ** 2).sum(1))
    return np.array(chosen)


def _cut(other, frames, pose, mine, shown, sharp):
    """Pictures of other footage at the shown video's scale; unsharp ones are left out.

    Parameters
    ----------
    other : Avatar
    frames : int [N], candidates, and their `pose`
    mine : int [n]
        Those of them that are wanted.
    shown : Avatar
    sharp : float
        The shown pictures' sharpness.

    Returns
    -------
    MouthLibrary or None
        None where every one is unsharp.
    """
    size = float(np.median(shown.pose.scale[shown.usable]))
    at = {int(frames[i]): i for i in mine}
    balance = _balance(other.library, shown.library)
    crops, points, scales, offsets, kept = [], [], [], [], []
    with media.VideoReader(other.path, only=at) as reader:
        for frame in reader:
            i = at[frame.index]
            mesh, scale = other.track.points[frame.index], float(pose.scale[i])
            x0, y0, x1, y1 = mouth_box(mesh, scale, frame.image.shape)
            crop = cv2.LUT(frame.image[y0:y1, x0:x1], balance)
            # A picture larger than the place it goes to would be sampled with gaps.
            zoom = size / scale if size < 0.9 * scale else 1.0
            if zoom < 1:
                wide, high = round(crop.shape[1] * zoom), round(crop.shape[0] * zoom)
                crop = cv2.resize(crop, (wide, high), interpolation=cv2.INTER_AREA)
            if _sharpness(crop) >= DULLEST * sharp:
                corner = np.array([x0, y0, 0], np.float32)
                # Pixel centres lie at whole numbers, so a resized picture's are shifted.
                shift = np.array([0.5, 0.5, 0], np.float32) * (zoom - 1)
                kept.append(i)
                crops.append(np.ascontiguousarray(crop))
                points.append((mesh - corner) * zoom + shift)
                scales.append(scale * zoom)
                offsets.append((pose.offset[i] - corner) * zoom + shift)
            if frame.index >= frames[mine[-1]]:
                break
    if not kept:
        return None
    return MouthLibrary(
        frames[kept],
        crops,
        np.zeros((len(kept), 2), int),
        np.stack(points).astype(np.float32),
        Pose(
            pose.rotation[kept],
            np.array(scales, np.float32),
            np.stack(offsets).astype(np.float32),
        ),
    )


def _balance(own, wanted):
    """Table that gives pictures the white balance and light of others : uint8 [256, 3].

    Von Kries: a gain for each channel, in linear light, by the same person's skin in both. What is
    drawn is matched to its surroundings later, but that cannot mend teeth under another lamp.
    """
    gain = np.clip(_skin(wanted) / np.maximum(_skin(own), 1e-3), 1 / MOST_GAIN, MOST_GAIN)
    light = (np.arange(256) / 255)[:, None] ** GAMMA * gain
    return np.rint(255 * np.clip(light, 0, 1) ** (1 / GAMMA)).astype(np.uint8)[:, None]


def _skin(library):
    """Usual colour of the skin in linear light : float [3]."""
    colours = []
    for crop, mesh in zip(library.crops, library.points, strict=True):
        at = np.rint(mesh[list(SKIN), :2]).astype(int)
        inside = (at >= 0).all(1) & (at < (crop.shape[1], crop.shape[0])).all(1)
        colours.append(crop[at[inside, 1], at[inside, 0]])
    return np.median((np.concatenate(colours) / 255) ** GAMMA, 0)


def _sharpness(crop):
    return float(cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
