"""The ZIP file of a batch: written aside, then renamed, and never with items that were deleted."""

import contextlib
import hashlib
import os
import threading
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from heygem.core import disk
from heygem.core.errors import Cancelled
from heygem.core.publish import free_name, publishing
from heygem.core.types import PathLike, Progress

NAME = "results.zip"


def mark(archive: zipfile.ZipFile) -> bytes:
    """Comment of a ZIP by which heygem knows its own, unless a member was added or changed."""
    members = sorted((info.filename, info.CRC, info.file_size) for info in archive.infolist())
    return b"heygem " + hashlib.sha256(repr(members).encode()).hexdigest().encode()


def is_own(path: Path) -> bool:
    """Whether heygem wrote this ZIP, and nobody has changed it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == mark(archive)
    except (OSError, zipfile.BadZipFile):
        return False


def write_results(
    results: Sequence[dict[str, Any]],
    target: PathLike,
    progress: Progress,
    cancel: threading.Event,
) -> tuple[Path, int]:
    """Write videos and their manifests into one ZIP.

    Parameters
    ----------
    results : sequence of dict
        Manifests with `path` (of the video) and `details` (its folder).

    Returns
    -------
    (Path, int)
        The file, and the number of videos in it.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    members: list[tuple[Path, str]] = []
    names: set[str] = set()
    for k, result in enumerate(results):
        path = result["path"]
        name = path.name
        if name in names:
            name = f"{path.stem}-{str(result.get('id', k))[:8]}{path.suffix}"
        names.add(name)
        members += [(path, name), (result["details"] / "manifest.json", f"{Path(name).stem}.json")]
    return _write(members, target, progress, cancel), len(names)


def write_files(
    folder: Path,
    files: Iterable[Path],
    target: PathLike,
    progress: Progress,
    cancel: threading.Event,
) -> Path:
    """Write files of a folder into one ZIP, under their places in it.

    Parameters
    ----------
    folder : Path
    files : iterable of Path
        In that folder; those that are not there are left out.
    target, progress, cancel
        As `write_results`.

    Raises
    ------
    OutputError
        The file cannot be written.
    Cancelled
    """
    members = [(path, os.path.relpath(path, folder)) for path in dict.fromkeys(files)]
    return _write(members, target, progress, cancel)


def _write(
    members: Sequence[tuple[Path, str]],
    target: PathLike,
    progress: Progress,
    cancel: threading.Event,
) -> Path:
    target = Path(target)
    if target.exists() and not is_own(target):  # the user's
        target = free_name(target)
    size = 0
    try:
        with (
            publishing(target, may_replace=is_own) as staged,
            # Video does not shrink.
            zipfile.ZipFile(staged, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive,
        ):
            for k, (path, name) in enumerate(members):
                progress("ZIP", k, len(members))
                if cancel.is_set():
                    raise Cancelled("stopped on request")
                if path.is_file():
                    size += path.stat().st_size
                    archive.write(path, name.encode("utf-8", "backslashreplace").decode())
            archive.comment = mark(archive)
    except OSError as error:
        raise disk.write_error(error, target, needed_bytes=size) from error
    return target


def remove_stale(folder: Path) -> bool:
    """Remove heygem's ZIP of a folder if it holds a video that was deleted or changed since.

    Returns
    -------
    bool
        Whether it was removed. A ZIP of the user stays.
    """
    path = folder / NAME
    if not path.is_file() or not is_own(path):
        return False
    with contextlib.suppress(OSError, zipfile.BadZipFile):
        with zipfile.ZipFile(path) as archive:
            videos = [info for info in archive.infolist() if not info.filename.endswith(".json")]
        present = {
            file.name: file.stat().st_size
            for file in folder.rglob("*")
            if file.is_file() and not _is_hidden(file.relative_to(folder))  # in the trash
        }
        if all(present.get(Path(i.filename).name) == i.file_size for i in videos):
            return False
        path.unlink()
        return True
    return False


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
