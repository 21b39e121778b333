"""The honest split: a person is learnt from the first part of a clip and judged on a later one.

Rest shape, textures and the mesh's template come from the library part alone. Of the held-out
part the renderer is given what it is given in use: the frames, whose mouths it replaces, and
where the head is. A second of guard lies between, because neighbouring frames share a syllable.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from heygem import avatar as avatars
from heygem import media
from heygem.core.errors import InputError
from heygem.face.pose import Pose, fit_pose, to_canonical
from heygem.face.topology import LOWER

POSE_SIGMA_S = 0.04  # as the avatar's own poses are smoothed
MIN_PART_S = 1.9  # less than about eight syllables says nothing


@dataclass(frozen=True)
class Split:
    """Seconds of the clip: learnt from [0, library_end_s), judged on [start_s, end_s)."""

    library_end_s: float
    start_s: float
    end_s: float

    def library(self, times_s):
        """Frames that may be learnt from, bool [T]."""
        return times_s < self.library_end_s

    def held_out(self, times_s):
        """Frames that are judged, bool [T]."""
        return (times_s >= self.start_s) & (times_s < self.end_s)


def split_clip(duration_s, *, share=0.4, guard_s=1.0, boundary_s=None, name="the clip"):
    """Cut a clip by time: the last `share` is held out, the guard before it belongs to nobody.

    `boundary_s`, where it is given, is where the held-out part begins, whatever the share.

    Raises
    ------
    InputError
        A part would be shorter than two seconds.
    """
    start_s = duration_s * (1 - share) if boundary_s is None else boundary_s
    library_end_s = start_s - guard_s
    if min(library_end_s, duration_s - start_s) < MIN_PART_S:
        raise InputError(
            f"{name} is too short to learn from one part and judge on another",
            seen=f"{duration_s:.1f} s",
            remedy=f"give a clip of {(MIN_PART_S + guard_s) / (1 - share):.0f} s or more",
        )
    return Split(library_end_s, start_s, duration_s)


@dataclass(frozen=True)
class Person:
    """What an evaluation works with.

    Attributes
    ----------
    avatar : heygem.avatar.Avatar
        Frames and poses of the whole clip; rest shape, library and report of its first part.
    template : float32 [468, 3]
        Canonical mesh of the first part, to which all poses refer.
    split : Split
    first : heygem.avatar.Avatar
        Of the first part alone, as if there were no more.
    """

    avatar: avatars.Avatar
    template: np.ndarray
    split: Split
    first: avatars.Avatar

    def canonical(self, points, runs, rate_hz):
        """Free meshes of head motion: turned upright, and unbent of what pose does to the mesh.

        Parameters
        ----------
        points : float32 [T, 468, 3], pixels; every frame with a face
        runs : list of (start, stop)
            Uninterrupted frame ranges.

        Returns
        -------
        float32 [T, 468, 3], eye-corner distances
        """
        pose, _ = fit_pose(
            points, runs=runs, sigma_frames=POSE_SIGMA_S * rate_hz, template=self.template
        )
        shape = to_canonical(points, pose)
        rest = self.avatar.rest
        shape[:, LOWER] += rest.neutral[LOWER] - rest.at(pose)
        return shape


def learn(path, settings, *, share=0.4, guard_s=1.0, boundary_s=None, progress=None):
    """Track a clip and learn the person from its first part only.

    Parameters
    ----------
    path : path of a video with sound
    settings : heygem.config.params.FaceSettings
    share, guard_s, boundary_s
        See `split_clip`.

    Returns
    -------
    Person
    """
    whole = avatars.load(path, settings, progress=progress)
    times_s = whole.track.times_s
    rate_hz = (len(times_s) - 1) / max(times_s[-1] - times_s[0], 1e-6)
    duration_s = float(times_s[-1] + 1 / rate_hz)
    split = split_clip(
        duration_s, share=share, guard_s=guard_s, boundary_s=boundary_s, name=Path(path).name
    )
    with tempfile.TemporaryDirectory(prefix="heygem-evaluate-") as folder:
        first = avatars.load(_cut(path, split, Path(folder)), settings, cache=False)
    keep = split.library(times_s) & whole.track.found
    _, template = fit_pose(whole.track.points[keep], sigma_frames=0)
    pose = _poses(whole.track, template, rate_hz)
    person = replace(
        whole,
        pose=pose,
        rest=first.rest,
        library=_recrop(path, first.library),
        report=first.report,
    )
    return Person(person, template, split, first)


def _cut(path, split, folder):
    """The library part as a file of its own, so that nothing later can be seen by accident."""
    out = folder / "library.mkv"
    sound = media.read_audio(path)
    sound = replace(sound, samples=sound.samples[: int(split.library_end_s * sound.rate_hz)])
    with media.VideoReader(path, end_s=split.library_end_s) as reader:
        info = reader.info.video
        size = {"width": info.width, "height": info.height, "rate": info.rate}
        with media.VideoWriter(
            out, **size, audio=sound, lossless=True, preset="ultrafast"
        ) as writer:
            for frame in reader:
                writer.write(frame.image, frame.time_s)
    return out


def _recrop(path, library):
    """The library's pictures once more from the source, which no cut has re-encoded."""
    wanted = {int(f): i for i, f in enumerate(library.frames)}
    crops = list(library.crops)
    with media.VideoReader(path) as reader:
        for frame in reader:
            if frame.index in wanted:
                i = wanted[frame.index]
                x, y = library.corners[i]
                h, w = crops[i].shape[:2]
                crops[i] = frame.image[y : y + h, x : x + w].copy()
            if frame.index >= library.frames[-1]:
                break
    return replace(library, crops=crops)


def _poses(track, template, rate_hz):
    """Poses of every frame against one template; zero where there is no face."""
    found = np.flatnonzero(track.found)
    fitted, _ = fit_pose(
        track.points[found],
        runs=compact_runs(track, track.found),
        sigma_frames=POSE_SIGMA_S * rate_hz,
        template=template,
    )
    pose = Pose(
        np.zeros((len(track), 3, 3), np.float32),
        np.zeros(len(track), np.float32),
        np.zeros((len(track), 3), np.float32),
    )
    pose.rotation[found], pose.scale[found] = fitted.rotation, fitted.scale
    pose.offset[found] = fitted.offset
    return pose


def compact_runs(track, keep):
    """Uninterrupted ranges among the kept frames only, counted in kept frames."""
    index = np.flatnonzero(keep)
    if not len(index):
        return []
    breaks = np.flatnonzero((np.diff(index) > 1) | track.cut[index[1:]]) + 1
    edges = [0, *breaks.tolist(), len(index)]
    return list(zip(edges[:-1], edges[1:], strict=True))
