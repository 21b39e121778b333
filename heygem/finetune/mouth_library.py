"""Appearance: mouth pictures from all of a person's footage.

Pictures are selected by farthest-point sampling in the renderer's own costs. Those of other footage
count for less, by the renderer's cost of a change of shot: they are used where the primary video,
whose light, lens and make-up match, has nothing similar. Near duplicates are never selected.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from heygem import media
from heygem.avatar.avatar import Avatar
from heygem.avatar.library import (
    LIBRARY_BYTES,
    TEXTURE_CLARITY,
    MouthLibrary,
    lip_features,
    mouth_box,
)
from heygem.core.types import FloatArray, Image, IntArray
from heygem.face import topology as topo
from heygem.face.pose import Pose, fit_pose, fit_to, to_canonical
from heygem.face.topology import LOWER
from heygem.rendering.warp.texture_selection import OTHER_SHOT, SHAPE, TURN_DEG

MAX_PICTURES = 400  # the search for a path through them grows with the square
MAX_CANDIDATES = 3000  # frames of each further video
MIN_FACE_SIZE = 0.75  # of the primary video's face; pictures of smaller faces would look blurred
MIN_SHARPNESS = 0.5  # of the primary video's pictures
TEMPLATE_FRAMES = 400
SKIN = (205, 425, 50, 280, 199, 200, 421)  # of the mesh: cheeks and chin, where no lip is
GAMMA, MAX_GAIN = 2.2, 2.5
FRAME_OFFSET = 1000  # frame numbers of other footage are negative, each video below the last


@dataclass(frozen=True)
class ExtendedLibrary:
    """A library with pictures of other footage.

    Attributes
    ----------
    library : MouthLibrary
    own, added : int
        Pictures of the primary video, and of other footage.
    by_file : dict of str to int
    """

    library: MouthLibrary
    own: int
    added: int
    by_file: dict[str, int]


@dataclass(frozen=True)
class _Candidates:
    """Frames of another video that may be used, and their poses in the shown person's frame."""

    frames: IntArray
    pose: Pose | None


def extend(
    primary: Avatar,
    others: Sequence[Avatar],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> ExtendedLibrary:
    """Add pictures of other footage to the library of the primary avatar.

    Parameters
    ----------
    primary : Avatar
        The avatar whose video results show.
    others : sequence of Avatar
        The same person in other videos.
    progress : callable, optional
        `progress(done, total)`, by video.
    """
    library = primary.library
    template = _template(primary)
    sharpness = float(np.median([_sharpness(c) for c in library.crops]))
    candidates = [_candidates(primary, other, template) for other in others]
    own_rows, rows_by_video = _select(library, others, candidates)
    parts = [_subset(library, own_rows)]
    by_file = {}
    for k, (other, candidate, rows) in enumerate(
        zip(others, candidates, rows_by_video, strict=True)
    ):
        if progress is not None:
            progress(k, len(others))
        crops = _crop_pictures(other, candidate, rows, primary, sharpness) if len(rows) else None
        by_file[other.path.name] = 0 if crops is None else len(crops.crops)
        if crops is not None:
            start = min(int(parts[-1].frames.min()), 0) - FRAME_OFFSET
            parts.append(replace(crops, frames=start - crops.frames))
    library = _concatenate(parts)
    return ExtendedLibrary(library, len(own_rows), len(library.crops) - len(own_rows), by_file)


def _select(
    library: MouthLibrary, others: Sequence[Avatar], candidates: Sequence[_Candidates]
) -> tuple[IntArray, list[IntArray]]:
    """Rows to be used: of the library, and of each further video's candidates."""
    own = _features(library.points, library.pose)
    pool, owner, rows = [own], [np.full(len(own), -1)], [np.arange(len(own))]
    for k, (other, candidate) in enumerate(zip(others, candidates, strict=True)):
        if candidate.pose is not None:
            pool.append(_features(other.track.points[candidate.frames], candidate.pose))
            owner.append(np.full(len(candidate.frames), k))
            rows.append(np.arange(len(candidate.frames)))
    all_owners, all_rows = np.concatenate(owner), np.concatenate(rows)
    picture_bytes = max(1, int(np.mean([c.nbytes for c in library.crops])))
    count = min(MAX_PICTURES, max(len(own), LIBRARY_BYTES // picture_bytes))
    penalty = np.where(all_owners < 0, 0.0, OTHER_SHOT)
    chosen = farthest_points(np.concatenate(pool), penalty, count)
    by_owner = [np.sort(all_rows[chosen[all_owners[chosen] == k]]) for k in range(-1, len(others))]
    return by_owner[0], by_owner[1:]


def farthest_points(features: FloatArray, penalty: FloatArray, count: int) -> IntArray:
    """Select rows far from each other.

    Parameters
    ----------
    features : float [N, F]
    penalty : float [N]
        Subtracted from each row's squared distance to the selected ones; rows that are not farther
        than it are not selected. The first row selected is one of the smallest penalty.
    count : int
        At most.

    Returns
    -------
    int [n]
        In the order of selection.
    """
    chosen = [int(np.argmin(penalty))]
    distance = ((features - features[chosen[0]]) ** 2).sum(1)
    while len(chosen) < count:
        gain = distance - penalty
        gain[chosen] = -np.inf
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        distance = np.minimum(distance, ((features - features[best]) ** 2).sum(1))
    return np.array(chosen)


def _subset(library: MouthLibrary, rows: IntArray) -> MouthLibrary:
    return MouthLibrary(
        library.frames[rows],
        [library.crops[i] for i in rows],
        library.corners[rows],
        library.points[rows],
        library.pose[rows],
    )


def _concatenate(parts: Sequence[MouthLibrary]) -> MouthLibrary:
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


def _template(avatar: Avatar) -> FloatArray:
    """The person's canonical mesh in the primary video."""
    tracked = np.flatnonzero(avatar.track.detected)
    count = min(len(tracked), TEMPLATE_FRAMES)
    sample = tracked[np.linspace(0, len(tracked) - 1, count).astype(int)]
    return fit_pose(avatar.track.points[sample], sigma_frames=0)[1]


def _candidates(primary: Avatar, other: Avatar, template: FloatArray) -> _Candidates:
    """Frames whose face is usable, clear and large enough."""
    track = other.track
    clarity = track.clarity / max(float(np.median(track.clarity[track.detected])), 1e-6)
    is_large = track.face_px >= MIN_FACE_SIZE * np.median(
        primary.track.face_px[primary.track.detected]
    )
    frames = np.flatnonzero(other.usable & (clarity > TEXTURE_CLARITY) & is_large)
    if len(frames) > MAX_CANDIDATES:
        frames = frames[np.linspace(0, len(frames) - 1, MAX_CANDIDATES).astype(int)]
    if not len(frames):
        return _Candidates(frames, None)
    stable = track.points[frames][:, topo.STABLE]
    return _Candidates(frames, fit_to(stable, template, sigma_frames=0))


def _features(points: FloatArray, pose: Pose) -> FloatArray:
    """What the renderer compares, in units of its costs : float32 [N, F]."""
    shape = to_canonical(points[:, LOWER], pose)
    turn = pose.angles_deg / TURN_DEG
    return np.concatenate([lip_features(shape) * np.sqrt(SHAPE), turn], 1).astype(np.float32)


def _crop_pictures(
    other: Avatar, candidates: _Candidates, rows: IntArray, primary: Avatar, sharpness: float
) -> MouthLibrary | None:
    """Pictures of other footage at the primary video's scale and white balance.

    Parameters
    ----------
    other : Avatar
    candidates : _Candidates
    rows : int [n]
        Those of them that are to be used.
    primary : Avatar
    sharpness : float
        Of the primary avatar's pictures; blurred ones are left out.

    Returns
    -------
    MouthLibrary or None
        None where every picture is blurred.
    """
    frames, pose = candidates.frames, candidates.pose
    assert pose is not None
    size = float(np.median(primary.pose.scale[primary.usable]))
    row_of_frame = {int(frames[i]): i for i in rows}
    balance = white_balance(other.library, primary.library)
    crops, points, scales, offsets, used = [], [], [], [], []
    with media.VideoReader(other.path, only=row_of_frame) as reader:
        for frame in reader:
            i = row_of_frame[frame.index]
            mesh, scale = other.track.points[frame.index], float(pose.scale[i])
            x0, y0, x1, y1 = mouth_box(mesh, scale, frame.image.shape)
            crop = cv2.LUT(frame.image[y0:y1, x0:x1], balance)
            # A picture larger than the place it is drawn at would be sampled with gaps.
            zoom = size / scale if size < 0.9 * scale else 1.0
            if zoom < 1:
                width, height = round(crop.shape[1] * zoom), round(crop.shape[0] * zoom)
                crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
            if _sharpness(crop) >= MIN_SHARPNESS * sharpness:
                corner = np.array([x0, y0, 0], np.float32)
                # Pixel centres lie at whole numbers, so a resized picture's are shifted.
                shift = np.array([0.5, 0.5, 0], np.float32) * (zoom - 1)
                used.append(i)
                crops.append(np.ascontiguousarray(crop))
                points.append((mesh - corner) * zoom + shift)
                scales.append(scale * zoom)
                offsets.append((pose.offset[i] - corner) * zoom + shift)
            if frame.index >= frames[rows[-1]]:
                break
    if not used:
        return None
    return MouthLibrary(
        frames[used],
        crops,
        np.zeros((len(used), 2), int),
        np.stack(points).astype(np.float32),
        Pose(
            pose.rotation[used],
            np.array(scales, np.float32),
            np.stack(offsets).astype(np.float32),
        ),
    )


def white_balance(own: MouthLibrary, target: MouthLibrary) -> Image:
    """Table that gives pictures the white balance and exposure of others : uint8 [256, 1, 3].

    Von Kries: a gain for each channel, in linear light, from the same person's skin in both. The
    renderer matches pictures to their surroundings, but that cannot correct teeth under another
    lamp.
    """
    gain = np.clip(_skin(target) / np.maximum(_skin(own), 1e-3), 1 / MAX_GAIN, MAX_GAIN)
    linear = (np.arange(256) / 255)[:, None] ** GAMMA * gain
    return np.rint(255 * np.clip(linear, 0, 1) ** (1 / GAMMA)).astype(np.uint8)[:, None]


def _skin(library: MouthLibrary) -> FloatArray:
    """Median colour of the skin in linear light : float [3]."""
    colours = []
    for crop, mesh in zip(library.crops, library.points, strict=True):
        at = np.rint(mesh[list(SKIN), :2]).astype(int)
        inside = (at >= 0).all(1) & (at < (crop.shape[1], crop.shape[0])).all(1)
        colours.append(crop[at[inside, 1], at[inside, 0]])
    return np.median((np.concatenate(colours) / 255) ** GAMMA, 0)


def _sharpness(crop: Image) -> float:
    """Variance of the Laplacian of the grey picture."""
    return float(cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
