"""Quality report of a person's video: numbers, and findings that a user can act on."""

from typing import Any

import numpy as np

from heygem import audio, media
from heygem.avatar.reasons import Reason
from heygem.core.errors import InputError
from heygem.core.findings import Finding
from heygem.core.types import BoolArray, FloatArray, PathLike
from heygem.face.pose import Pose, tilt_deg
from heygem.face.tracking import Track

MIN_FACE_PX = 100.0  # a narrower face gives coarse detail
MIN_WIDEST_APERTURE = 0.05  # IOD; below, the mouth never opens
MAX_TURNED_SHARE = 0.2
MAX_TILT_DEG = 60.0  # beyond, a person lies on the side or stands on the head
MIN_SCORE = 0.9  # of the mesh; a lower one is a sign of occlusion
MAX_UNCERTAIN_SHARE = 0.05
MIN_SPEECH_FRAMES = 25


def quality_report(
    track: Track,
    pose: Pose,
    usable: BoolArray,
    reasons: np.ndarray,
    *,
    apertures: FloatArray,
    speaking: BoolArray | None,
    sharpness: float,
    face_px: float,
) -> dict[str, Any]:
    """Describe how well a video serves as an avatar.

    Parameters
    ----------
    track, pose
        Of every frame.
    usable : bool [T]
    reasons : str [T]
        `Avatar.reasons`.
    apertures : float32 [T]
        Lip aperture of every frame, IOD.
    speaking : bool [T] or None
        Of `speaking_frames`.
    sharpness : float
        Median variance of the Laplacian over the mouth library.
    face_px : float
        Median face width, pixels.

    Returns
    -------
    dict
        Plain numbers, lists and strings; `speech_aperture_std` is None where the video has too
        little speech to tell.
    """
    speech_share = None if speaking is None else float(speaking[usable].mean())
    speech_std = None
    if speaking is not None and speaking.sum() > MIN_SPEECH_FRAMES:
        speech_std = float(apertures[speaking].std())
    widest = float(np.quantile(apertures[usable], 0.99))
    uncertain = float((track.score[usable] < MIN_SCORE).mean())
    turned = int((reasons == Reason.TURNED).sum())
    tilt = float(np.median(tilt_deg(track.points[usable])))
    findings = _findings(track, face_px, widest, turned, tilt, uncertain)
    angles = pose.angles_deg[usable]
    return {
        "frames": len(track),
        "usable_frames": int(usable.sum()),
        "cuts": int(track.cut.sum()),
        "faces": track.faces,
        "face_px": round(face_px, 1),
        "yaw_deg": [round(float(v), 1) for v in np.quantile(angles[:, 0], [0.05, 0.95])],
        "pitch_deg": [round(float(v), 1) for v in np.quantile(angles[:, 1], [0.05, 0.95])],
        "sharpness": round(sharpness, 1),
        "occluded_share": round(uncertain, 3),
        "speech_share": speech_share,
        "silence_share": None if speech_share is None else 1 - speech_share,
        "widest_aperture": round(widest, 4),
        "speech_s": 0.0 if speaking is None else round(_duration_s(track, speaking), 2),
        "speech_aperture_std": speech_std,
        "notes": list(track.notes),
        "findings": [finding.plain() for finding in findings],
        "advice": [finding.message for finding in findings],
    }


def _findings(
    track: Track, face_px: float, widest: float, turned: int, tilt: float, uncertain: float
) -> list[Finding]:
    """What a user should know before using the video."""
    findings = []
    if face_px < MIN_FACE_PX:
        findings.append(Finding("warning", "FACE_SMALL", {"face_px": float(face_px)}))
    if widest < MIN_WIDEST_APERTURE:
        findings.append(Finding("warning", "MOUTH_SHUT"))
    if track.faces > 1:
        findings.append(Finding("warning", "SEVERAL_FACES", {"faces": int(track.faces)}))
    if turned > MAX_TURNED_SHARE * len(track):
        findings.append(Finding("warning", "TURNED_AWAY"))
    if tilt > MAX_TILT_DEG:
        findings.append(Finding("warning", "NOT_UPRIGHT", {"degrees": tilt}))
    if uncertain > MAX_UNCERTAIN_SHARE:
        findings.append(Finding("warning", "COVERED"))
    return findings


def speaking_frames(
    path: PathLike, info: media.MediaInfo, track: Track, usable: BoolArray
) -> BoolArray | None:
    """Usable frames in which the video's own sound holds speech : bool [T].

    None for a video without sound or of hardly any frames.
    """
    if info.audio is None or len(track) <= MIN_SPEECH_FRAMES:
        return None
    try:
        voice = audio.voice_activity(audio.load(path).samples)
    except InputError:  # an audio track that cannot be decoded does not make the video unusable
        voice = np.zeros(1, np.float32)
    return audio.speech_at(voice, track.times_s, round_down=True) & usable


def _duration_s(track: Track, frames: BoolArray) -> float:
    """Length that these frames (bool [T]) have together [s]."""
    return float(np.diff(track.times_s, append=track.times_s[-1])[frames].sum())
