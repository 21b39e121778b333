"""Exclusive use of an output folder by one run, and its clean-up."""

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from heygem.batch.items import DETAILS
from heygem.core import disk, folders
from heygem.core.errors import OutputError
from heygem.core.leftovers import remove_leftovers
from heygem.core.publish import check_folder

_LOCK = ".heygem.lock"
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW  # a link of this name leads to another file
_PARTIAL = re.compile(r"\.[0-9a-f]+-(\d+)\.(part|mp4)")  # of process \1, in version 0.1


class FolderBusyError(OutputError):
    """Another run holds the output folder; it will release it."""

    code = "BUSY"


@contextlib.contextmanager
def lock_output_dir(folder: Path) -> Iterator[None]:
    """Hold the folder for one run at a time; folders it created are removed if left empty.

    The kernel releases the lock of a dead process, so a killed run needs no clean-up.

    Raises
    ------
    OutputError
        Another run holds the folder (the message names its process), or it cannot be written.
    """
    with _locked(folder, fcntl.LOCK_EX):
        yield


@contextlib.contextmanager
def share_output_dir(folder: Path) -> Iterator[None]:
    """Hold the folder together with other workers of the queue, each of which makes other items.

    Raises
    ------
    OutputError
        As `lock_output_dir`: a run that has the folder for itself keeps workers out.
    """
    with _locked(folder, fcntl.LOCK_SH):
        yield


@contextlib.contextmanager
def _locked(folder: Path, mode: int) -> Iterator[None]:
    created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    path = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            stream = open(os.open(path, _LOCK_FLAGS, 0o644), "r+b", buffering=0)  # noqa: SIM115
            fcntl.flock(stream, mode | fcntl.LOCK_NB)
            # The previous owner may have removed the file between our open and our lock.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                    break
            stream.close()
    except BlockingIOError as error:
        stream.seek(0)
        owner = stream.read().decode("ascii", "replace").strip() or "unknown"
        stream.close()
        raise FolderBusyError(
            "another run is writing to this folder",
            seen=f"{folder} (process {owner})",
            remedy="wait for it, stop it, or give another folder",
        ) from error
    except OSError as error:
        for parent in created:
            with contextlib.suppress(OSError):
                parent.rmdir()
        what = "the output folder cannot be written"
        raise disk.write_error(error, folder, what=what, place="output") from error
    with stream:
        try:
            with contextlib.suppress(OSError):  # a full disk: the lock holds, nameless
                stream.truncate(0)
                stream.write(f"{os.getpid()}\n".encode())
            check_folder(folder)
            yield
        finally:
            with contextlib.suppress(BlockingIOError):  # the last of those who share it removes it
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
            for parent in created:
                try:
                    parent.rmdir()
                except OSError:  # not empty
                    break


def remove_stale_parts(folder: Path) -> None:
    """Remove partial files of dead processes; call it with the folder locked."""
    remove_leftovers(folder)
    for path in folder.glob(".*-*.*"):
        match = _PARTIAL.fullmatch(path.name)
        if match and not psutil.pid_exists(int(match[1])):
            path.unlink(missing_ok=True)


def remove_empty_dirs(folder: Path) -> None:
    """Remove empty folders inside `folder`, and `folder` itself if it is empty then."""
    if folder.is_dir():
        for path in [*folder.iterdir(), folder]:
            with contextlib.suppress(OSError):
                path.rmdir()


def remove_leftovers_of_killed_runs(folder: Path) -> None:
    """Clean the (locked) output folder, the caches, and the system's temporary folder."""
    remove_stale_parts(folder)
    for details_folder in (folder / DETAILS).glob("*/"):
        remove_leftovers(details_folder, own_folder=True)
    remove_leftovers(folders.avatar_folder(), own_folder=True)
    remove_leftovers(folders.model_folder(), own_folder=True)
    remove_leftovers(tempfile.gettempdir())
