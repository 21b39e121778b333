"""Making an avatar from a person's video, once.

Everything that does not depend on the new audio is computed here and cached on disk by the content
of the file: the face in every frame, the head pose, the rest shape of the mouth, a library of mouth
images that covers the person's lip shapes and poses, and a report on the quality of the material.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from heygem import media
from heygem.avatar import cache as disk_cache
from heygem.avatar.avatar import Avatar
from heygem.avatar.expression import slow_expression
from heygem.avatar.library import TEXTURE_CLARITY, build_library
from heygem.avatar.neutral_mouth import close_rest
from heygem.avatar.reasons import UNUSABLE, Reason, describe
from heygem.avatar.report import quality_report, speaking_frames
from heygem.config.params import FaceSettings
from heygem.core import assets, files
from heygem.core.errors import InputError, NoFaceError
from heygem.core.interpolation import mean_rate_hz
from heygem.core.streaming import one_opencv_thread, prefetch
from heygem.core.types import BoolArray, FloatArray, Image, IntArray, PathLike, Progress
from heygem.face import topology as topo
from heygem.face import tracking
from heygem.face.backends import make_backend
from heygem.face.pose import Pose, fit_pose, fit_to, to_canonical
from heygem.face.rest import RestShape, fit_rest

CACHE_VERSION = 13
SURVEY_S = 4.0  # of the video's beginning, to decide which face to follow
DECODED_AHEAD = 3  # frames that wait for the tracker
SMALL_FRAME_RATIO = 0.8  # of the smallest face allowed: a frame below is unusable
MIN_CLARITY = 0.35  # of the clip's median: a frame below is unusable
MIN_TEXTURE_FRAMES = 24
MAX_TEMPLATE_FRAMES = 1500  # the person's canonical mesh does not improve with more
POSE_SMOOTHING_S = 0.04  # above the mesh's jitter, below the fastest nod


def load(
    path: PathLike,
    settings: FaceSettings,
    *,
    backend: tracking.Backend | None = None,
    progress: Progress | None = None,
    cache: bool = True,
    sha256: str | None = None,
) -> Avatar:
    """Track a video or picture, or take the result from the cache.

    Parameters
    ----------
    path : path
        For avatar bundles as well, see `heygem.pipeline.people.load_person`.
    settings : FaceSettings
    backend : Backend, optional
        Default: the one `settings` names.
    progress : callable, optional
        `progress("track", frames_done, frames_total)`.
    cache : bool
        Whether to read and write the cache on disk.
    sha256 : str, optional
        Hash of the file's content, where the caller has just computed it.

    Raises
    ------
    InputError
        The file cannot be read as video.
    NoFaceError
        No frame has a face, or every face is too small.
    """
    path = Path(path)
    info = media.probe(path)
    if info.video is None:
        raise InputError(
            f"{path} has no picture",
            seen=f"{info.format} with sound only",
            remedy="give a video or a portrait",
        )
    sha256 = sha256 or files.sha256(path)
    backend = backend if backend is not None else make_backend(settings)
    # The backend in use is part of the key: it may stand in for the one that the settings name.
    facts = [CACHE_VERSION, backend.name, sha256, settings.model_dump()]
    key = hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:32]
    stored = assets.avatar_folder() / f"{key}.npz"
    if cache and stored.exists():
        avatar = disk_cache.read(stored, path, sha256, info)
        if avatar is not None:
            return avatar
    track = _track(path, info, settings, backend, progress)
    avatar = _analyse(path, sha256, info, track, settings)
    if cache:
        disk_cache.keep(stored, avatar)
    return avatar


def without_frames(avatar: Avatar, frames: BoolArray, settings: FaceSettings) -> Avatar:
    """The avatar as if some frames showed no face: pose, rest, pictures and report of the others.

    Parameters
    ----------
    avatar : Avatar
    frames : bool [T]
    settings : FaceSettings
        Those it was loaded with.

    Raises
    ------
    NoFaceError
        No usable frame is left.
    """
    track = avatar.track
    changed = replace(
        track,
        points=np.where(frames[:, None, None], 0, track.points).astype(np.float32),
        detected=track.detected & ~frames,
    )
    return _analyse(avatar.path, avatar.sha256, avatar.info, changed, settings)


def _track(
    path: Path,
    info: media.MediaInfo,
    settings: FaceSettings,
    backend: tracking.Backend,
    progress: Progress | None,
) -> tracking.Track:
    assert info.video is not None
    selections: dict[str, tracking.Selection] = {
        "largest": "largest",
        "index": settings.index,
        "box": settings.box,
    }
    images = _survey_images(path, info.video)
    start, faces = tracking.survey(images, backend, selections[settings.select])
    total = info.video.frame_estimate
    tick = None if progress is None else lambda done: progress("track", done, max(total, done))
    with media.VideoReader(path) as reader, one_opencv_thread():
        track = tracking.track(
            prefetch(iter(reader), ahead=DECODED_AHEAD),
            backend,
            width=info.video.width,
            height=info.video.height,
            start=start,
            faces=faces,
            progress=tick,
            expected=total,
        )
        track.notes.extend([*reader.notes, *getattr(backend, "notes", [])])
    return track


def _survey_images(path: Path, video: media.VideoInfo) -> Iterator[Image]:
    """A few frames of the first seconds."""
    step = max(1, round(float(video.rate) * SURVEY_S / tracking.SURVEY_FRAMES))
    last = step * (tracking.SURVEY_FRAMES - 1)
    with media.VideoReader(path, only=range(0, last + 1, step)) as reader:
        for frame in reader:
            yield frame.image
            if frame.index == last:
                return


def _analyse(
    path: Path,
    sha256: str,
    info: media.MediaInfo,
    track: tracking.Track,
    settings: FaceSettings,
) -> Avatar:
    """Everything about a person that follows from the tracked face."""
    detected = track.detected
    if not detected.any():
        raise NoFaceError(
            f"no face found in {path.name}",
            seen=f"{len(track)} frames without one",
            remedy="use a video in which the person looks roughly into the camera",
        )
    face_px = float(np.median(track.face_px[detected]))
    if face_px < settings.min_face_px:
        raise NoFaceError(
            f"the face in {path.name} is too small",
            seen=f"{int(face_px)} px wide",  # rounded down: never the size that is asked for
            remedy=f"use a picture where it is at least {settings.min_face_px:.0f} px wide",
        )
    pose = _fit_poses(track)
    rest = close_rest(_fit_rest(track, pose))
    clarity = track.clarity / max(float(np.median(track.clarity[detected])), 1e-6)
    reasons = _unusable_reasons(track, pose, clarity, settings)
    usable = reasons == ""
    if not usable.any():
        counts = {reason: int((reasons == reason).sum()) for reason in UNUSABLE}
        raise NoFaceError(
            f"no usable face in {path.name}",
            seen=", ".join(f"{n} frames: {describe(why)}" for why, n in counts.items() if n),
            remedy="use a video in which the person looks roughly into the camera",
        )
    texture = usable & (clarity > TEXTURE_CLARITY)
    if texture.sum() < min(MIN_TEXTURE_FRAMES, usable.sum()):
        texture = usable
    library, sharpness = build_library(path, track, pose, texture)
    speaking = speaking_frames(path, info, track, usable)
    report = quality_report(
        track,
        pose,
        usable,
        reasons,
        apertures=_apertures(track, pose),
        speaking=speaking,
        sharpness=sharpness,
        face_px=face_px,
    )
    avatar = Avatar(path, sha256, info, track, pose, usable, reasons, rest, library, report)
    if not avatar.is_still:
        expression = slow_expression(track, pose, rest, usable, speaking)
        avatar = replace(avatar, expression=expression)
    if speaking is None or avatar.speech_scale is None:
        return avatar
    posture = avatar.displacement(_subset(np.flatnonzero(speaking))).mean(0)
    return replace(avatar, speech_posture=posture)


def _unusable_reasons(
    track: tracking.Track, pose: Pose, clarity: FloatArray, settings: FaceSettings
) -> np.ndarray:
    """`Reason` of each unusable frame, the first that applies; empty for the others : str [T]."""
    yaw, pitch, _ = pose.angles_deg.T
    # The mesh's pitch is relative to the person's own face; yaw is symmetric.
    pitch_offset = pitch - np.median(pitch[track.detected])
    # The clip's median has passed `min_face_px`; the tolerance keeps a face about that size from
    # switching between usable and unusable.
    min_px = SMALL_FRAME_RATIO * settings.min_face_px
    causes = {
        Reason.NO_FACE: ~track.detected,
        Reason.TURNED: np.hypot(yaw, pitch_offset) > settings.max_turn_deg,
        Reason.SMALL: track.face_px < min_px,
        Reason.BLURRED: clarity < MIN_CLARITY,
        Reason.OCCLUDED: track.occluded,
    }
    return np.select(list(causes.values()), [str(reason) for reason in causes], default="")


def _fit_poses(track: tracking.Track) -> Pose:
    """Poses of all frames; zero for frames without a face."""
    detected = np.flatnonzero(track.detected)
    # The same runs, counted in frames with a face.
    runs, position = [], 0
    for start, stop in track.runs:
        runs.append((position, position + stop - start))
        position += stop - start
    rate_hz = mean_rate_hz(track.times_s)
    _, template = fit_pose(track.points[_subset(detected)], sigma_frames=0)
    stable = track.points[:, topo.STABLE][detected]
    fitted = fit_to(stable, template, runs=runs, sigma_frames=POSE_SMOOTHING_S * rate_hz)
    pose = Pose(
        np.zeros((len(track), 3, 3), np.float32),
        np.zeros(len(track), np.float32),
        np.zeros((len(track), 3), np.float32),
    )
    pose.rotation[detected] = fitted.rotation
    pose.scale[detected] = fitted.scale
    pose.offset[detected] = fitted.offset
    return pose


def _fit_rest(track: tracking.Track, pose: Pose) -> RestShape:
    frames: IntArray = np.flatnonzero(track.detected & ~track.occluded)
    if len(frames) > MAX_TEMPLATE_FRAMES:
        frames = _subset(frames)
    return fit_rest(to_canonical(track.points[frames], pose[frames]), pose[frames])


def _subset(frames: IntArray) -> IntArray:
    """At most `MAX_TEMPLATE_FRAMES` of them, evenly spread."""
    count = min(len(frames), MAX_TEMPLATE_FRAMES)
    return frames[np.linspace(0, len(frames) - 1, count).astype(int)]


def _apertures(track: tracking.Track, pose: Pose) -> FloatArray:
    """Lip aperture of every frame, IOD; 0 without a face : float32 [T]."""
    detected = track.detected
    apertures = np.zeros(len(track), np.float32)
    lips = to_canonical(track.points[:, list(topo.LIP_MIDDLE)][detected], pose[detected])
    apertures[detected] = lips[:, 1, 1] - lips[:, 0, 1]
    return apertures
