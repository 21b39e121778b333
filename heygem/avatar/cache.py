"""Avatars on disk, as arrays in one `.npz` file; in the cache and in avatar bundles.

Array names are part of the format: files of earlier versions, in users' avatar bundles, have to
stay readable. Where an attribute was renamed since, its array keeps the first name.
"""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from heygem.avatar.avatar import Avatar
from heygem.avatar.library import MouthLibrary
from heygem.avatar.reasons import UNUSABLE, Reason, from_stored
from heygem.core import disk
from heygem.core.errors import Notice
from heygem.core.files import replacing
from heygem.core.folders import make_private_folder
from heygem.core.types import PathLike
from heygem.face.pose import Pose
from heygem.face.rest import RestShape
from heygem.face.tracking import Track
from heygem.media import MediaInfo

log = logging.getLogger(__name__)

#: Attribute of `Track` to the name of its array.
_TRACK = {
    "points": "points",
    "detected": "found",
    "cut": "cut",
    "score": "score",
    "times_s": "times_s",
    "clarity": "clarity",
    "occluded": "covered",
}
_POSE = ("rotation", "scale", "offset")
_OPTIONAL = ("expression", "speech_posture")  # not in files of earlier versions
_REST = ("neutral", "pose_mean", "pose_reach", "bend")


def write(stored: Path, avatar: Avatar) -> None:
    """Write an avatar.

    Raises
    ------
    OSError
        The folder cannot be written, or the disk is full.
    """
    track, library = avatar.track, avatar.library
    facts = {
        "width": track.width,
        "height": track.height,
        "faces": track.faces,
        "notes": track.notes,
        "unusable": avatar.unusable_frames,
        "report": avatar.report,
    }
    arrays: dict[str, Any] = {
        **{stored_name: getattr(track, name) for name, stored_name in _TRACK.items()},
        **{name: getattr(avatar.pose, name) for name in _POSE},
        "usable": avatar.usable,
        "reasons": avatar.reasons,
        **{name: getattr(avatar.rest, name) for name in _REST},
        "frames": library.frames,
        "corners": library.corners,
        "lib_points": library.points,
        **{f"lib_{name}": getattr(library.pose, name) for name in _POSE},
        "sizes": np.array([crop.shape[:2] for crop in library.crops]),
        "pixels": np.concatenate([crop.reshape(-1) for crop in library.crops]),
        "words": np.array(json.dumps(facts)),
    }
    optional = {name: getattr(avatar, name) for name in _OPTIONAL}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    make_private_folder(stored.parent)
    with replacing(stored, mode=0o600, durable=False) as staged, staged.open("wb") as file:
        np.savez(file, **arrays)


def keep(stored: Path, avatar: Avatar) -> None:
    """Write an avatar to the cache; where that fails, a notice says so and the work continues."""
    try:
        write(stored, avatar)
    except OSError as error:
        what = f"the tracking of {avatar.path.name} cannot be kept for the next time"
        refusal = disk.write_error(error, stored, what=what, place="cache")
        warnings.warn(str(refusal), Notice, stacklevel=2)


def read(stored: PathLike, path: Path, sha256: str, info: MediaInfo) -> Avatar | None:
    """Read an avatar; None if the file is damaged.

    Parameters
    ----------
    stored : path of the `.npz` file
    path, sha256, info
        Of the video, for the avatar.
    """
    try:
        with np.load(stored, allow_pickle=False) as arrays:
            facts = json.loads(str(arrays["words"]))
            track = Track(
                **{name: arrays[stored_name] for name, stored_name in _TRACK.items()},
                width=facts["width"],
                height=facts["height"],
                faces=facts["faces"],
                notes=facts["notes"],
            )
            pose = Pose(*(arrays[name] for name in _POSE))
            crops, position, pixels = [], 0, arrays["pixels"]
            for height, width in arrays["sizes"]:
                size = height * width * 3
                crops.append(pixels[position : position + size].reshape(height, width, 3))
                position += size
            if "reasons" in arrays:
                reasons = arrays["reasons"]
            else:
                counts = {from_stored(name): count for name, count in facts["unusable"].items()}
                reasons = reasons_from_counts(counts, track, pose)
            return Avatar(
                path,
                sha256,
                info,
                track,
                pose,
                arrays["usable"],
                reasons,
                RestShape(*(arrays[name] for name in _REST)),
                MouthLibrary(
                    arrays["frames"],
                    crops,
                    arrays["corners"],
                    arrays["lib_points"],
                    Pose(*(arrays[f"lib_{name}"] for name in _POSE)),
                ),
                facts["report"],
                **{name: arrays[name] for name in _OPTIONAL if name in arrays},
            )
    except Exception:  # damaged headers raise whatever NumPy, zip and JSON have: TokenError, ...
        log.info("damaged: %s", stored, exc_info=True)
        return None


def reasons_from_counts(counts: dict[Reason, int], track: Track, pose: Pose) -> np.ndarray:
    """`Avatar.reasons` of a file that holds their counts only, as earlier versions wrote them.

    Every cause is a threshold on one measure, so its frames are those with the highest values
    among the frames that no earlier cause applies to.
    """
    yaw, pitch, _ = pose.angles_deg.T
    detected = track.detected
    pitch_offset = pitch - np.median(pitch[detected]) if detected.any() else pitch
    measures = {
        Reason.NO_FACE: ~detected,
        Reason.TURNED: np.hypot(yaw, pitch_offset),
        Reason.SMALL: -track.face_px,
        Reason.BLURRED: -track.clarity,
        Reason.OCCLUDED: track.occluded,
    }
    reasons = np.full(len(track), "", f"<U{max(len(reason) for reason in UNUSABLE)}")
    for reason in UNUSABLE:
        remaining = np.flatnonzero(reasons == "")
        order = np.argsort(-measures[reason][remaining].astype(np.float64), kind="stable")
        reasons[remaining[order[: counts.get(reason, 0)]]] = reason
    return reasons
