"""The registration of the upper teeth, kept on disk: it depends on the avatar alone.

It takes half a second to a second, more than all else between the start of a job and its first
frame, and a few hundred bytes.
"""

import hashlib
import logging
from pathlib import Path

import numpy as np

from heygem.avatar.avatar import Avatar
from heygem.core import assets, disk
from heygem.core.files import replacing
from heygem.core.folders import make_private_folder
from heygem.core.version import code_version
from heygem.rendering.warp.teeth_anchor import TeethAnchor
from heygem.rendering.warp.teeth_check import anchor_teeth

log = logging.getLogger(__name__)


def cached_teeth(avatar: Avatar) -> TeethAnchor | None:
    """`anchor_teeth` of an avatar, from the cache beside its own where it is there.

    A file that is damaged, or that cannot be written, costs the time and nothing else.
    """
    stored = assets.avatar_folder() / f"teeth-{_identity(avatar)}.npz"
    try:
        return _read(stored, avatar)
    except FileNotFoundError:
        pass
    except Exception:  # damaged files raise whatever NumPy and zip have
        log.info("damaged: %s", stored, exc_info=True)
    teeth = anchor_teeth(avatar.library, avatar.rest)
    try:
        _write(stored, teeth)
    except OSError as error:
        log.info("%s", disk.write_error(error, stored, what="the teeth are not kept"))
    return teeth


def _identity(avatar: Avatar) -> str:
    """Of what the registration depends on; of the pictures, every eighth pixel each way."""
    library = avatar.library
    digest = hashlib.sha256(f"{avatar.sha256} {code_version()['source_sha256']}".encode())
    for values in (library.frames, library.corners, library.points, avatar.rest.neutral):
        digest.update(np.ascontiguousarray(values).tobytes())
    for crop in library.crops:
        digest.update(crop[::8, ::8].tobytes())
    return digest.hexdigest()[:32]


def _read(stored: Path, avatar: Avatar) -> TeethAnchor | None:
    with np.load(stored, allow_pickle=False) as arrays:
        registered, depth = int(arrays["registered"]), float(arrays["depth"])
        shifts = np.asarray(arrays["shifts"], np.float32)
    if registered == 0:
        return None
    if shifts.shape != (len(avatar.library.crops), 2):
        raise ValueError(f"shifts of {shifts.shape}")
    return TeethAnchor(avatar.library.pose, depth, shifts, registered)


def _write(stored: Path, teeth: TeethAnchor | None) -> None:
    make_private_folder(stored.parent)
    with replacing(stored, mode=0o600, durable=False) as staged, staged.open("wb") as file:
        np.savez(
            file,
            registered=0 if teeth is None else teeth.registered,
            depth=0.0 if teeth is None else teeth.depth,
            shifts=np.zeros((0, 2), np.float32) if teeth is None else teeth.shifts,
        )
