"""Temporary files and folders that name the process they belong to, and the removal of dead ones.

A process that is killed leaves its temporary files behind. Every such name is
`heygem-HOST-PID-START-RANDOM` (hidden in users' folders, with a suffix), where START is the time
the process was started, so that a process id that the system has given away again is no mistake.
What belongs to a running process of this machine is never removed; what another machine wrote (a
shared folder) is, after nobody has written to it for a day.
"""

import contextlib
import functools
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from heygem.core import disk
from heygem.core.types import PathLike

_NAME = re.compile(r"\.?heygem-([0-9a-f]{4})-(\d+)-([0-9a-f]{8})-\w+((?:\.\w+)*)")
#: Names that earlier versions gave to files in folders of heygem's own, without a process.
_UNOWNED = re.compile(r"(?:tmp|\.)\w{8}\.part|\.pull-\w{8}")
_ABANDONED_S = 24 * 3600.0  # no process of ours writes so rarely
_CLOCK_TOLERANCE_S = 2.0  # the start time of a process moves with corrections of the clock


def temporary_name() -> str:
    """A name that no other process and no other call uses, and that names this process."""
    return f"heygem-{_owner(os.getpid())}-{secrets.token_hex(4)}"


def hidden_path(target: PathLike, suffix: str = ".part") -> Path:
    """A path for a temporary file beside `target`; nothing is created."""
    return Path(target).parent / f".{temporary_name()}{suffix}"


@contextlib.contextmanager
def temporary_folder(parent: PathLike | None = None) -> Iterator[Path]:
    """A folder for this user alone, removed at the end.

    Parameters
    ----------
    parent : path, optional
        Where it is made, hidden; default: the system's temporary folder.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    if parent is None:
        folder = Path(tempfile.gettempdir()) / temporary_name()
    else:
        folder = Path(parent) / f".{temporary_name()}"
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        place: disk.Place = "temporary" if parent is None else "output"
        what = "cannot make a temporary folder"
        raise disk.write_error(error, folder.parent, what=what, place=place) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_running(pid: int, started_s: float) -> bool:
    """Whether a process of this machine, started at this Unix time [s], still exists.

    A process id alone is not enough: the system may have given it to another process.
    """
    import psutil

    try:
        return abs(psutil.Process(pid).create_time() - started_s) < _CLOCK_TOLERANCE_S
    except psutil.AccessDenied:  # another user's: it exists
        return True
    except psutil.Error:
        return False


def remove_leftovers(folder: PathLike, *, own_folder: bool = False) -> list[Path]:
    """Remove temporary files and folders of dead processes from a folder, not from those below.

    Parameters
    ----------
    folder : path
        May be missing.
    own_folder : bool
        Whether only heygem writes there. If so, files of earlier versions, whose names do not
        say whose they are, are removed after a day too.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed = []
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(folder)):
            if not _is_leftover(entry, own_folder=own_folder):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
            if not os.path.lexists(entry.path):
                removed.append(Path(entry.path))
    return removed


def _is_leftover(entry: os.DirEntry[str], *, own_folder: bool) -> bool:
    match = _NAME.fullmatch(entry.name)
    if match is None:
        return own_folder and _UNOWNED.fullmatch(entry.name) is not None and _is_abandoned(entry)
    host, pid, started = match[1], int(match[2]), int(match[3], 16)
    if host != _host():
        return _is_abandoned(entry)
    return _belongs_to_this_user(entry) and not is_running(pid, started)


def _belongs_to_this_user(entry: os.DirEntry[str]) -> bool:
    """In a temporary folder that users share, everybody removes their own files only."""
    try:
        return not hasattr(os, "getuid") or entry.stat(follow_symlinks=False).st_uid == os.getuid()
    except OSError:
        return False


def _is_abandoned(entry: os.DirEntry[str]) -> bool:
    try:
        modified_s = entry.stat(follow_symlinks=False).st_mtime
    except OSError:
        return False
    return _belongs_to_this_user(entry) and time.time() - modified_s > _ABANDONED_S


@functools.cache
def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()) & 0xFFFF:04x}"


@functools.lru_cache(maxsize=1)  # by process id: a forked process has its own
def _owner(pid: int) -> str:
    import psutil

    started_s = int(psutil.Process(pid).create_time())
    return f"{_host()}-{pid}-{started_s:08x}"
