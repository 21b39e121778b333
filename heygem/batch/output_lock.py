"""An output folder that belongs to one run at a time, and is left clean."""

import contextlib
import fcntl
import os
import re
from pathlib import Path

import psutil

from heygem.core.errors import OutputError

_LOCK = ".heygem.lock"
_TEMPORARY = re.compile(r"\.[0-9a-f]+-(\d+)\.(part|mp4)")  # unfinished; the number is its process


@contextlib.contextmanager
def lock_output_dir(folder: Path):
    """Hold the folder for one run at a time.

    The kernel drops the lock of a dead process, so a killed run never has to be cleaned up after.
    """
    created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    path = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            stream = path.open("a+")
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have removed the file between our opening and locking it.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                    break
            stream.close()
    except BlockingIOError as error:
        stream.seek(0)
        owner = stream.read().strip() or "unknown"
        stream.close()
        raise OutputError(
            "another run is writing to this folder",
            seen=f"{folder} (process {owner})",
            remedy="wait for it, stop it, or give another folder",
        ) from error
    except OSError as error:
        for parent in created:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise OutputError(
            f"the output folder cannot be written ({error.strerror})",
            seen=folder,
            remedy="give another folder with --out or inputs.output",
        ) from error
    with stream:
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            for parent in created:  # of a run that made nothing; a folder in use stays
                try:
                    parent.rmdir()
                except OSError:
                    break


def remove_stale_parts(folder: Path):
    """Remove what killed runs left half-written. Only called while the folder is ours."""
    for left in folder.glob(".*-*.*"):
        match = _TEMPORARY.fullmatch(left.name)
        if match and not psutil.pid_exists(int(match[1])):
            left.unlink(missing_ok=True)


def remove_empty_dirs(folder: Path):
    """Leave no empty folders of failed items behind."""
    if folder.is_dir():
        for inner in [*folder.iterdir(), folder]:
            with contextlib.suppress(OSError):
                inner.rmdir()
