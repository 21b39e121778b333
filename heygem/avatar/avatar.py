"""A person's video, tracked once.

Everything that does not depend on the audio is found here and cached on disk by the content of the
file: the face in every frame, the head's pose, the mouth at rest, a library of mouth pictures that
covers the shapes and poses seen, and a report on how good the material is.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from heygem import audio, media
from heygem.avatar import cache as store
from heygem.avatar.library import Library, collect
from heygem.core import assets, files
from heygem.core.errors import InputError, NoFaceError
from heygem.core.findings import Finding
from heygem.face import topology as topo
from heygem.face import tracking
from heygem.face.backends import make_backend
from heygem.face.pose import Pose, aperture, fit_pose, fit_to, to_canonical
from heygem.face.rest import RestShape, fit_rest
from heygem.face.topology import LOWER

CACHE_VERSION = 12
REST_GAP = 0.004  # a mouth that is open by more than this even at rest is shut by geometry
SURVEY_S = 4.0  # of the video's beginning, to decide whom to follow
SMALL = 0.8  # of the smallest face: a frame below it is left alone
HAZY, PLAIN = 0.35, 0.6  # of the clip's usual clarity: below is left alone; above serves as texture
MAX_TEMPLATE_FRAMES = 1500  # frames that teach the person's template; more teach nothing new


@dataclass(frozen=True)
class Avatar:
    """One person, ready to speak.

    Attributes
    ----------
    path : Path
        The video or picture it was made from.
    sha256 : str
        Hash of that file.
    info : heygem.media.MediaInfo
    track : heygem.face.tracking.Track
    pose : Pose
        For every frame; rows of frames without a face are zero.
    usable : bool [T]
        Frames whose mouth can be replaced.
    unusable : dict of str to int
        Why the others cannot, with counts.
    rest : RestShape
    library : Library
    report : dict
        What is good and bad about the material, in plain numbers and words.
    bundle : heygem.finetune.bundle.AvatarBundle or None
        What was learnt of this person from further footage, if anything was.
    """

    path: Path
    sha256: str
    info: media.MediaInfo
    track: tracking.Track
    pose: Pose
    usable: np.ndarray
    unusable: dict
    rest: RestShape
    library: Library
    report: dict
    bundle: object | None = None

    @property
    def is_still(self):
        """Whether the avatar is a single picture."""
        return len(self.track) == 1

    @property
    def speech_scale(self):
        """How far this person opens the mouth in speech, in eye distances (std); None: unknown."""
        return self.report["speech_aperture_std"]

    def displacement(self, frames=slice(None)):
        """Lower face relative to rest, `float32 [T, len(LOWER), 3]` in eye distances."""
        pose = self.pose[frames]
        canonical = to_canonical(self.track.points[frames][:, LOWER], pose)
        return canonical - self.rest.at(pose)


def load(path, settings, *, backend=None, progress=None, cache=True):
    """Track a video or picture, or take it from the cache.

    Parameters
    ----------
    path : path
        For avatar bundles as well, see `heygem.pipeline.people.load_person`.
    settings : heygem.config.params.FaceSettings
    backend : heygem.face.tracking.Backend, optional
        Default: the one `settings` names.
    progress : callable, optional
        `progress("track", frames_done, frames_total)`.
    cache : bool
        Whether to look into, and write, the cache on disk.

    Returns
    -------
    Avatar

    Raises
    ------
    InputError
        The file cannot be read as video.
    NoFaceError
        No frame holds a face, or every face is too small.
    """
    info = media.probe(path)
    if info.video is None:
        raise InputError(
            f"{path} has no picture",
            seen=f"{info.format} with sound only",
            remedy="give a video or a portrait",
        )
    sha256 = files.sha256(path)
    backend = backend if backend is not None else make_backend(settings)
    # The tracker that is really used counts: another one may stand in for it.
    facts = [CACHE_VERSION, backend.name, sha256, settings.model_dump()]
    key = hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()[:32]
    stored = assets.avatar_folder() / f"{key}.npz"
    if cache and stored.exists():
        avatar = store.read(stored, Path(path), sha256, info, Avatar)
        if avatar is not None:
            return avatar
    track = _track(path, info, settings, backend, progress)
    avatar = _describe(Path(path), sha256, info, track, settings)
    if cache:
        store.write(stored, avatar)
    return avatar


def _track(path, info, settings, backend, progress):
    choose = {"largest": "largest", "index": settings.index, "box": settings.box}[settings.select]
    start, faces = tracking.survey(_samples(path, info), backend, choose)
    total = info.video.frame_estimate
    tick = None if progress is None else lambda done: progress("track", done, max(total, done))
    with media.VideoReader(path) as reader:
        track = tracking.track(
            reader,
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


def _samples(path, info):
    """A few frames of the first seconds, to see who is in the picture."""
    gap = max(1, round(float(info.video.rate) * SURVEY_S / tracking.SURVEY_FRAMES))
    with media.VideoReader(path) as reader:
        for frame in reader:
            if frame.index % gap == 0:
                yield frame.image
            if frame.index >= gap * (tracking.SURVEY_FRAMES - 1):
                return


def _describe(path, sha256, info, track, settings):
    found = track.found
    if not found.any():
        raise NoFaceError(
            f"no face found in {path.name}",
            seen=f"{len(track)} frames without one",
            remedy="use a video in which the person looks roughly into the camera",
        )
    size = float(np.median(track.face_px[found]))
    if size < settings.min_face_px:
        raise NoFaceError(
            f"the face in {path.name} is too small",
            seen=f"{size:.0f} px wide",
            remedy=f"use a picture where it is at least {settings.min_face_px:.0f} px wide",
        )
    pose, template = _fit(track)
    which = np.flatnonzero(found & ~track.covered)
    if len(which) > MAX_TEMPLATE_FRAMES:
        which = which[np.linspace(0, len(which) - 1, MAX_TEMPLATE_FRAMES).astype(int)]
    canonical = to_canonical(track.points[which], pose[which])
    rest = close_rest(fit_rest(canonical, pose[which]))
    yaw, pitch, _ = pose.angles_deg.T
    level = np.array([np.median(yaw[found]), np.median(pitch[found])])
    # A pitch of the mesh is relative to the person's own face; a yaw is symmetric.
    turned = found & (np.hypot(yaw, pitch - level[1]) > settings.max_turn_deg)
    # The clip's size has passed; one about the limit must not be drawn and left alone by turns.
    small = found & ~turned & (track.face_px < SMALL * settings.min_face_px)
    clear = track.clarity / max(float(np.median(track.clarity[found])), 1e-6)
    hazy = found & ~turned & ~small & (clear < HAZY)
    covered = found & ~turned & ~small & ~hazy & track.covered
    usable = found & ~turned & ~small & ~hazy & ~covered
    unusable = {
        "no face": int((~found).sum()),
        "turned away": int(turned.sum()),
        "too small": int(small.sum()),
        "blurred or faded": int(hazy.sum()),
        "with something before the mouth": int(covered.sum()),
    }
    if not usable.any():
        raise NoFaceError(
            f"no usable face in {path.name}",
            seen=", ".join(f"{n} frames {why}" for why, n in unusable.items() if n),
            remedy="use a video in which the person looks roughly into the camera",
        )
    plain = usable & (clear > PLAIN)
    if plain.sum() < min(24, usable.sum()):
        plain = usable
    library, sharpness = collect(path, track, pose, plain)
    opening = np.zeros(len(track), np.float32)
    lips = to_canonical(track.points[:, list(topo.LIP_MIDDLE)][found], pose[found])
    opening[found] = lips[:, 1, 1] - lips[:, 0, 1]
    report = _report(path, info, track, pose, usable, unusable, opening, sharpness, size)
    return Avatar(path, sha256, info, track, pose, usable, unusable, rest, library, report)


def _fit(track):
    """Poses of all frames, and the person's template."""
    found = np.flatnonzero(track.found)
    runs, at = [], 0
    for start, stop in track.runs:
        runs.append((at, at + stop - start))
        at += stop - start
    rate = (len(track) - 1) / max(track.times_s[-1] - track.times_s[0], 1e-6)
    few = found[np.linspace(0, len(found) - 1, min(len(found), MAX_TEMPLATE_FRAMES)).astype(int)]
    _, template = fit_pose(track.points[few], sigma_frames=0)
    # 40 ms: above the mesh's jitter, below the fastest nod.
    stable = track.points[:, topo.STABLE][found]
    fitted = fit_to(stable, template, runs=runs, sigma_frames=0.04 * rate)
    pose = Pose(
        np.zeros((len(track), 3, 3), np.float32),
        np.zeros(len(track), np.float32),
        np.zeros((len(track), 3), np.float32),
    )
    pose.rotation[found], pose.scale[found], pose.offset[found] = (
        fitted.rotation,
        fitted.scale,
        fitted.offset,
    )
    return pose, template


def close_rest(rest):
    """Shut a mouth that is never closed in the material (a smile with teeth), by geometry.

    The lower lip takes two thirds of the way, as a jaw would; the skin follows half as far.
    """
    gap = float(aperture(rest.neutral))
    if gap <= REST_GAP:
        return rest
    neutral = rest.neutral.copy()
    inner = neutral[topo.INNER_LOWER, 1] - neutral[topo.INNER_UPPER, 1]
    closing = np.maximum(inner, 0)
    line = np.interp
    x_inner = neutral[topo.INNER_UPPER, 0]
    order = np.argsort(x_inner)
    middle_y = float(neutral[list(topo.LIP_MIDDLE), 1].mean())
    ring = set(topo.LIPS_INNER[1:10]) | set(topo.LIPS_INNER[11:])
    for i in LOWER:
        gap_here = line(neutral[i, 0], x_inner[order], closing[order], left=0, right=0)
        away = abs(neutral[i, 1] - middle_y) / 0.5
        follow = 1.0 if i in ring else float(np.clip(0.85 - away, 0, 1))
        if neutral[i, 1] < middle_y:
            neutral[i, 1] += 0.33 * gap_here * follow
        else:
            neutral[i, 1] -= 0.65 * gap_here * follow
    return replace(rest, neutral=neutral)


def _report(path, info, track, pose, usable, unusable, opening, sharpness, size):
    angles = pose.angles_deg[usable]
    speech_std, talking, quiet = None, None, None
    if info.audio is not None and len(track) > 25:
        try:
            voice = audio.voice_activity(audio.load(path).samples)
        except InputError:  # a sound track that cannot be decoded does not spoil the picture
            voice = np.zeros(1, np.float32)
        speaking = (audio.voice_at(voice, track.times_s, round_down=True) > 0.5) & usable
        talking = float(speaking[usable].mean())
        quiet = 1 - talking
        if speaking.sum() > 25:
            speech_std = float(opening[speaking].std())
    widest = float(np.quantile(opening[usable], 0.99))
    found = []
    if size < 100:
        found.append(Finding("warning", "FACE_SMALL", {"face_px": float(size)}))
    if widest < 0.05:
        found.append(Finding("warning", "MOUTH_SHUT"))
    if track.faces > 1:
        found.append(Finding("warning", "SEVERAL_FACES", {"faces": int(track.faces)}))
    if unusable["turned away"] > 0.2 * len(track):
        found.append(Finding("warning", "TURNED_AWAY"))
    unsure = float((track.score[usable] < 0.9).mean())
    if unsure > 0.05:
        found.append(Finding("warning", "COVERED"))
    return {
        "frames": len(track),
        "usable_frames": int(usable.sum()),
        "cuts": int(track.cut.sum()),
        "faces": track.faces,
        "face_px": round(size, 1),
        "yaw_deg": [round(float(v), 1) for v in np.quantile(angles[:, 0], [0.05, 0.95])],
        "pitch_deg": [round(float(v), 1) for v in np.quantile(angles[:, 1], [0.05, 0.95])],
        "sharpness": round(sharpness, 1),
        "occluded_share": round(unsure, 3),
        "speech_share": talking,
        "silence_share": quiet,
        "widest_aperture": round(widest, 4),
        "speech_aperture_std": speech_std,
        "notes": list(track.notes),
        "findings": [one.plain() for one in found],
        "advice": [one.message for one in found],
    }
