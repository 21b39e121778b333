"""Whether a finished video is what its manifest says: read back before it is recorded as done."""

from pathlib import Path
from typing import Any

import av

from heygem.core.errors import HeygemError
from heygem.core.files import sha256
from heygem.provenance import verify
from heygem.provenance.keys import Keys


class CheckError(HeygemError):
    """A finished video is not what its manifest says."""

    code = "CHECK_FAILED"


def check_result(path: Path, content: dict[str, Any], *, keys: Keys) -> None:
    """Refuse a result that is missing, changed, damaged, or not labelled.

    The file has the hash of its manifest; picture and sound decode to their end, with the number
    of frames that were written; the metadata label is signed over this very picture and sound, and
    so are the Content Credentials where they were written. Visible label and watermark are parts
    of the picture that the signature covers.

    Parameters
    ----------
    path : Path
    content : dict
        The manifest.
    keys : Keys
        That signed the labels.

    Raises
    ------
    CheckError
    """
    remedy = "make it again; if it happens again, check the disk"
    facts = content.get("output") or {}
    try:
        digest = sha256(path)
    except (OSError, ValueError) as error:
        raise CheckError(f"{path.name} cannot be read", seen=error, remedy=remedy) from error
    if digest != facts.get("sha256"):
        raise CheckError(f"{path.name} is not the file that was made", seen=digest, remedy=remedy)
    frames = count_frames(path)
    if frames != facts.get("frames", frames):
        seen = f"{frames} of {facts['frames']} frames"
        raise CheckError(f"{path.name} does not decode to its end", seen=seen, remedy=remedy)
    for problem in _label_problems(path, content.get("label") or {}, keys):
        raise CheckError(f"the labels of {path.name} do not verify", seen=problem, remedy=remedy)


def count_frames(path: Path) -> int:
    """Decode a video and its sound to the end; returns the number of frames.

    Raises
    ------
    CheckError
        A part cannot be decoded.
    """
    frames = 0
    try:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(*container.streams.video, *container.streams.audio):
                if isinstance(frame, av.VideoFrame):
                    frames += 1
                    if frame.is_corrupt:
                        raise CheckError(f"{path.name}: frame {frames} is damaged")
    except (av.error.FFmpegError, IndexError) as error:
        raise CheckError(f"{path.name} cannot be decoded", seen=error) from error
    return frames


def _label_problems(path: Path, label: dict[str, Any], keys: Keys) -> list[str]:
    layers = verify.verify_seals(path, keys=keys)
    metadata, seal = layers["metadata"], layers["c2pa"]
    problems = []
    if metadata.verdict != verify.COMPLIANT:
        problems.append(f"metadata {metadata.verdict}: {'; '.join(metadata.findings)}")
    elif metadata.values.get("bound") is False or metadata.values.get("signed_by_us") is False:
        problems.append("; ".join(metadata.findings))
    if (label.get("layers") or {}).get("c2pa") == "written" and seal.verdict != verify.COMPLIANT:
        problems.append(f"Content Credentials {seal.verdict}: {'; '.join(seal.findings)}")
    return problems
