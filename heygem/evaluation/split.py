"""Division of a clip: the person is fitted on its first part and evaluated on a later one.

Rest shape, textures and the template of the mesh come from the library part alone. Of the held-out
part the renderer gets what it gets in use: the frames, whose mouths it replaces, and the head pose.
A guard of a second lies between the parts, because neighbouring frames share a syllable.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from heygem import avatar as avatars
from heygem import media
from heygem.avatar.library import MouthLibrary
from heygem.config.params import FaceSettings
from heygem.core.errors import InputError
from heygem.core.interpolation import mean_rate_hz
from heygem.core.leftovers import temporary_folder
from heygem.core.types import BoolArray, FloatArray, PathLike
from heygem.face import tracking
from heygem.face.pose import Pose, fit_pose, to_canonical
from heygem.face.topology import LOWER
from heygem.provenance import containers

POSE_SIGMA_S = 0.04  # as the avatar's own poses are smoothed
MIN_PART_S = 1.9  # fewer than about eight syllables give no estimate

Runs = list[tuple[int, int]]  # ranges [start, stop)


@dataclass(frozen=True)
class Split:
    """Seconds of a clip: library part [0, library_end_s), held-out part [start_s, end_s)."""

    library_end_s: float
    start_s: float
    end_s: float

    def library(self, times_s: FloatArray) -> BoolArray:
        """Frames of the library part, bool [T]."""
        return times_s < self.library_end_s

    def held_out(self, times_s: FloatArray) -> BoolArray:
        """Frames of the held-out part, bool [T]."""
        return (times_s >= self.start_s) & (times_s < self.end_s)


def split_clip(
    duration_s: float,
    *,
    test_fraction: float = 0.4,
    guard_s: float = 1.0,
    boundary_s: float | None = None,
    name: str = "the clip",
) -> Split:
    """Divide a clip by time: the last `test_fraction` is held out, the guard before it is unused.

    `boundary_s`, where given, is where the held-out part begins, whatever the fraction.

    Raises
    ------
    InputError
        A part would be shorter than two seconds.
    """
    start_s = duration_s * (1 - test_fraction) if boundary_s is None else boundary_s
    library_end_s = start_s - guard_s
    if min(library_end_s, duration_s - start_s) < MIN_PART_S:
        raise InputError(
            f"{name} is too short to be divided into a library part and a held-out part",
            seen=f"{duration_s:.1f} s",
            remedy=f"give a clip of {(MIN_PART_S + guard_s) / (1 - test_fraction):.0f} s or more",
        )
    return Split(library_end_s, start_s, duration_s)


@dataclass(frozen=True)
class Person:
    """A person fitted on the library part of a clip.

    Attributes
    ----------
    avatar : heygem.avatar.Avatar
        Frames and poses of the whole clip; rest shape, library and report of the library part.
    template : float32 [468, 3]
        Canonical mesh of the library part, to which all poses refer.
    split : Split
    library_avatar : heygem.avatar.Avatar
        Of the library part alone, as if the clip ended there.
    """

    avatar: avatars.Avatar
    template: FloatArray
    split: Split
    library_avatar: avatars.Avatar

    def canonical(self, points: FloatArray, runs: Runs, rate_hz: float) -> FloatArray:
        """Remove head motion from meshes: the rigid pose, and what the pose does to the mesh.

        Parameters
        ----------
        points : float32 [T, 468, 3], pixels
            Every frame has a face.
        runs : list of (start, stop)
            Uninterrupted frame ranges.
        rate_hz : float

        Returns
        -------
        float32 [T, 468, 3], IOD
        """
        pose, _ = fit_pose(
            points, runs=runs, sigma_frames=POSE_SIGMA_S * rate_hz, template=self.template
        )
        shape = to_canonical(points, pose)
        rest = self.avatar.rest
        shape[:, LOWER] += rest.neutral[LOWER] - rest.at(pose)
        return shape


def fit_person(
    path: PathLike,
    settings: FaceSettings,
    *,
    test_fraction: float = 0.4,
    guard_s: float = 1.0,
    boundary_s: float | None = None,
) -> Person:
    """Track a clip and fit the person on its library part only.

    Parameters
    ----------
    path : path of a video with audio
    settings : heygem.config.params.FaceSettings
    test_fraction, guard_s, boundary_s
        See `split_clip`.
    """
    whole = avatars.load(path, settings)
    times_s = whole.track.times_s
    rate_hz = mean_rate_hz(times_s)
    duration_s = float(times_s[-1] + 1 / rate_hz)
    split = split_clip(
        duration_s,
        test_fraction=test_fraction,
        guard_s=guard_s,
        boundary_s=boundary_s,
        name=Path(path).name,
    )
    with temporary_folder() as folder:
        library_path = _write_library_part(path, split, Path(folder))
        library_avatar = avatars.load(library_path, settings, cache=False)
    in_library = split.library(times_s) & whole.track.detected
    _, template = fit_pose(whole.track.points[in_library], sigma_frames=0)
    avatar = replace(
        whole,
        pose=_fit_poses(whole.track, template, rate_hz),
        rest=library_avatar.rest,
        library=_recrop(path, library_avatar.library),
        report=library_avatar.report,
        speech_posture=library_avatar.speech_posture,
    )
    return Person(avatar, template, split, library_avatar)


def _write_library_part(path: PathLike, split: Split, folder: Path) -> Path:
    """Write the library part to a file of its own, so that nothing later can leak into the fit."""
    out = folder / "library.mkv"
    audio = media.read_audio(path)
    audio = replace(audio, samples=audio.samples[: int(split.library_end_s * audio.rate_hz)])
    with media.VideoReader(path, end_s=split.library_end_s) as reader:
        info = reader.info.video
        assert info is not None  # the reader has opened it
        with media.VideoWriter(
            out, label=containers.recorded(path), width=info.width, height=info.height,
            rate=info.rate,
            audio=audio, lossless=True, preset="ultrafast",
        ) as writer:  # fmt: skip
            for frame in reader:
                writer.write(frame.image, frame.time_s)
    return out


def _recrop(path: PathLike, library: MouthLibrary) -> MouthLibrary:
    """Cut the library's crops from the source again, which was not re-encoded."""
    index_of = {int(frame): i for i, frame in enumerate(library.frames)}
    crops = list(library.crops)
    with media.VideoReader(path) as reader:
        for frame in reader:
            if frame.index in index_of:
                i = index_of[frame.index]
                x, y = library.corners[i]
                h, w = crops[i].shape[:2]
                crops[i] = frame.image[y : y + h, x : x + w].copy()
            if frame.index >= library.frames[-1]:
                break
    return replace(library, crops=crops)


def _fit_poses(track: tracking.Track, template: FloatArray, rate_hz: float) -> Pose:
    """Poses of every frame against one template; zero where there is no face."""
    frames = np.flatnonzero(track.detected)
    fitted, _ = fit_pose(
        track.points[frames],
        runs=compact_runs(track, track.detected),
        sigma_frames=POSE_SIGMA_S * rate_hz,
        template=template,
    )
    pose = Pose(
        np.zeros((len(track), 3, 3), np.float32),
        np.zeros(len(track), np.float32),
        np.zeros((len(track), 3), np.float32),
    )
    pose.rotation[frames], pose.scale[frames] = fitted.rotation, fitted.scale
    pose.offset[frames] = fitted.offset
    return pose


def compact_runs(track: tracking.Track, keep: BoolArray) -> Runs:
    """Uninterrupted ranges among the frames of `keep`, as indices into those frames only."""
    index = np.flatnonzero(keep)
    if not len(index):
        return []
    breaks = np.flatnonzero((np.diff(index) > 1) | track.cut[index[1:]]) + 1
    edges = [0, *breaks.tolist(), len(index)]
    return list(zip(edges[:-1], edges[1:], strict=True))
