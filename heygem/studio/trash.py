"""Deleted results: set aside for a week, and put back on request."""

import json
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heygem.core.errors import OutputError
from heygem.core.folders import make_private_folder

FOLDER = ".trash"  # inside the output folder: setting a large file aside takes no time
KEEP_S = 7 * 24 * 3600.0
_FACTS = "item.json"


@dataclass(frozen=True)
class Deleted:
    """A result that was deleted.

    Attributes
    ----------
    folder : Path
        Holds the video, its details, and where they were.
    name : str
        Of the video.
    deleted_s : float
        Unix time.
    """

    folder: Path
    name: str
    deleted_s: float


def delete(result: dict[str, Any], output: Path) -> Deleted:
    """Set a result (see `heygem.batch.item.manifest.results`) aside.

    Raises
    ------
    OutputError
        The folder may not be written.
    """
    video, details = Path(result["path"]), Path(result["details"])
    item = output / FOLDER / uuid.uuid4().hex[:12]
    now_s = time.time()
    places = {"video": str(video), "details": str(details), "deleted_s": now_s}
    try:
        make_private_folder(item)
        (item / _FACTS).write_text(json.dumps(places), encoding="utf-8")
        if video.exists():
            os.rename(video, item / video.name)
        if details.exists():
            os.rename(details, item / "details")
    except OSError as e:
        raise OutputError("cannot delete this video", seen=f"{video}: {e.strerror}") from e
    return Deleted(item, video.name, now_s)


def restore(item: Deleted) -> Path:
    """Put a deleted result back where it was.

    Raises
    ------
    OutputError
        It is no longer there, or another result has taken its place.
    """
    try:
        places = json.loads((item.folder / _FACTS).read_text(encoding="utf-8"))
        video, details = Path(places["video"]), Path(places["details"])
        if os.path.lexists(video) or os.path.lexists(details):
            raise OutputError(
                "another video has this name by now", seen=video, remedy="delete that one first"
            )
        details.parent.mkdir(parents=True, exist_ok=True)
        if (item.folder / "details").exists():
            os.rename(item.folder / "details", details)
        os.rename(item.folder / item.name, video)
    except (OSError, ValueError, KeyError) as e:
        raise OutputError("cannot put this video back", seen=f"{item.name}: {e}") from e
    shutil.rmtree(item.folder, ignore_errors=True)
    return video


def list_deleted(output: Path) -> list[Deleted]:
    """What can be put back, newest first; what is older than a week is removed for good."""
    items = []
    for facts in (output / FOLDER).glob(f"*/{_FACTS}"):
        try:
            places = json.loads(facts.read_text(encoding="utf-8"))
            item = Deleted(facts.parent, Path(places["video"]).name, float(places["deleted_s"]))
        except (OSError, ValueError, KeyError):
            continue
        if time.time() - item.deleted_s > KEEP_S:
            shutil.rmtree(item.folder, ignore_errors=True)
        else:
            items.append(item)
    return sorted(items, key=lambda item: item.deleted_s, reverse=True)


def empty(output: Path) -> None:
    """Remove everything that was deleted, for good."""
    shutil.rmtree(output / FOLDER, ignore_errors=True)
