"""Avatars on disk: tracked once, found again by the content of the file."""

import json
import os
import tempfile
import zipfile

import numpy as np

from heygem.avatar.library import Library
from heygem.face import tracking
from heygem.face.pose import Pose
from heygem.face.rest import RestShape

_TRACK = ("points", "found", "cut", "score", "times_s", "clarity", "covered")


def write(stored, avatar):
    """Put an avatar into the cache; a cache that cannot be written is not an error."""
    t, p, lib = avatar.track, avatar.pose, avatar.library
    flat = np.concatenate([c.reshape(-1) for c in lib.crops])
    try:
        stored.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=stored.parent, suffix=".part")
        with os.fdopen(handle, "wb") as f:
            np.savez(
                f,
                points=t.points,
                found=t.found,
                cut=t.cut,
                score=t.score,
                times_s=t.times_s,
                clarity=t.clarity,
                covered=t.covered,
                rotation=p.rotation,
                scale=p.scale,
                offset=p.offset,
                usable=avatar.usable,
                neutral=avatar.rest.neutral,
                pose_mean=avatar.rest.pose_mean,
                pose_reach=avatar.rest.pose_reach,
                bend=avatar.rest.bend,
                frames=lib.frames,
                corners=lib.corners,
                lib_points=lib.points,
                lib_rotation=lib.pose.rotation,
                lib_scale=lib.pose.scale,
                lib_offset=lib.pose.offset,
                sizes=np.array([c.shape[:2] for c in lib.crops]),
                pixels=flat,
                words=np.array(
                    json.dumps(
                        {
                            "width": t.width,
                            "height": t.height,
                            "faces": t.faces,
                            "notes": t.notes,
                            "unusable": avatar.unusable,
                            "report": avatar.report,
                        }
                    )
                ),
            )
        os.replace(name, stored)
    except OSError:
        if "name" in locals() and os.path.exists(name):
            os.unlink(name)


def read(stored, path, sha256, info, make):
    """An avatar from the cache, or None if the file is damaged."""
    try:
        with np.load(stored, allow_pickle=False) as z:
            words = json.loads(str(z["words"]))
            track = tracking.Track(
                *(z[k] for k in _TRACK),
                width=words["width"],
                height=words["height"],
                faces=words["faces"],
                notes=words["notes"],
            )
            pose = Pose(z["rotation"], z["scale"], z["offset"])
            crops, at, pixels = [], 0, z["pixels"]
            for h, w in z["sizes"]:
                crops.append(pixels[at : at + h * w * 3].reshape(h, w, 3))
                at += h * w * 3
            return make(
                path,
                sha256,
                info,
                track,
                pose,
                z["usable"],
                words["unusable"],
                RestShape(*(z[k] for k in ("neutral", "pose_mean", "pose_reach", "bend"))),
                Library(
                    z["frames"],
                    crops,
                    z["corners"],
                    z["lib_points"],
                    Pose(*(z[f"lib_{k}"] for k in ("rotation", "scale", "offset"))),
                ),
                words["report"],
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
