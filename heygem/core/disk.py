"""Failures of the disk in the user's terms: which disk, how much is free, what to do."""

import errno
import os
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple, TypeGuard

from heygem.core.errors import DiskFullError, DiskLostError, OutputError
from heygem.core.folders import home
from heygem.core.types import PathLike

Place = Literal["output", "cache", "temporary", "records"]

_NEARLY_NOTHING = 64 * 1024  # bytes; some libraries fail on a full disk without saying why
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file system, or a limit of this account, allows no file as large",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOTDIR: "a part of the path is a file and not a folder",
    errno.EISDIR: "a folder has this name",
    errno.ENOENT: "the folder is not there",
    errno.EIO: "the disk reports an error",
    errno.EMFILE: "this program has too many files open",
    errno.ESTALE: "the network folder is not the one that was opened",
    errno.ENOTCONN: "the network folder is not connected",
    errno.EHOSTDOWN: "the machine of the network folder does not answer",
    errno.ETIMEDOUT: "the network folder does not answer",
    errno.ENODEV: "the disk is gone",
    errno.ENXIO: "the disk is gone",
}
_LOST = (
    errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ENODEV,
    errno.ENXIO,
)  # fmt: skip
_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ELSEWHERE: dict[Place, str] = {
    "output": "give another folder with --out (inputs.output)",
    "cache": "set HEYGEM_HOME to a folder elsewhere",
    "temporary": "set TMPDIR to a folder elsewhere",
    "records": "move the folder of keys and ledger elsewhere and set HEYGEM_RECORDS to it",
}
_SQLITE = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
}


def write_error(
    error: BaseException,
    target: PathLike,
    *,
    what: str = "",
    place: Place | None = None,
    needed_bytes: int = 0,
    was_there: bool = False,
) -> OutputError:
    """The error of a failed write as one that names the disk, what is free, and what to do.

    It is a `DiskFullError` where space, inodes or a quota are used up, and a `DiskLostError` where
    a disk or network folder does not answer.

    Parameters
    ----------
    error : exception
        Of the operating system, SQLite, FFmpeg, or a library that wraps one of theirs.
    target : path
        The file or folder as the user knows it, not a temporary name.
    what : str, optional
        What failed; default: "cannot write NAME".
    place : optional
        Which setting moves the file; default: found from the path.
    needed_bytes : int
        About how much the file needs; 0 where unknown.
    was_there : bool
        The folder was there and was written to before: if it is not, then it was lost.
    """
    number = error_number(error, target)
    is_lost = number in _LOST or (was_there and number in (errno.ENOENT, errno.ENOTDIR))
    reason = _REASONS.get(number) or _plain_text(error)
    if is_lost and number not in _LOST:
        reason = "the folder that it was begun in is gone"
    free_up = "free some space"
    if number == errno.ENOSPC and _inodes_used_up(target):
        reason = "the disk has no room for more files (its inodes are used up)"
        free_up = "remove some files"
    elsewhere = _ELSEWHERE[place or _place_of(Path(target))]
    if number in _SPACE:
        needed = f" (about {format_size(needed_bytes)} are needed)" if needed_bytes else ""
        remedy = f"{free_up}{needed}, or {elsewhere}"
    elif number == errno.ENAMETOOLONG:
        remedy = "choose a shorter name"
    elif is_lost:
        remedy = f"check the disk or the network, or {elsewhere}"
    else:
        remedy = elsewhere
    seen = describe_disk(target) if number in (*_SPACE, errno.EROFS, errno.EIO) else Path(target)
    kind: type[OutputError] = OutputError
    if number in _SPACE:
        kind = DiskFullError
    elif is_lost:
        kind = DiskLostError
    what = what or f"cannot write {Path(target).name}"
    return kind(f"{what}: {reason}", seen=seen, remedy=remedy)


def error_number(error: BaseException, target: PathLike) -> int:
    """The `errno` of a failed write, 0 where unknown.

    Found in the error itself or in what it was raised from; in its text, where a library of Rust
    passes it on; and from a disk without free space, where a library names no reason at all.
    """
    cause: BaseException | None = error
    while cause is not None:
        number = getattr(cause, "errno", None)
        if isinstance(number, int) and number in errno.errorcode:
            return number
        code = getattr(cause, "sqlite_errorcode", None)
        if isinstance(code, int):
            return _SQLITE.get(code & 0xFF, 0)
        match = re.search(r"\(os error (\d+)\)", str(cause))
        if match:
            return int(match[1])
        cause = cause.__cause__ or cause.__context__
    try:
        return errno.ENOSPC if free_bytes(target) < _NEARLY_NOTHING else 0
    except OSError:
        return 0


def is_disk_error(error: BaseException) -> TypeGuard[OSError]:
    """Whether an error is the operating system's refusal to write: no space, quota, permission."""
    numbers = {*_SPACE, *_LOST, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}
    return isinstance(error, OSError) and error.errno in numbers


class Usage(NamedTuple):
    """What this user can still write on a disk, and its size; bytes."""

    free: int
    total: int


def usage(path: PathLike) -> Usage:
    """The state of the disk of a path, which need not exist.

    Raises
    ------
    OSError
        The disk does not answer.
    """
    state = shutil.disk_usage(_existing(Path(path)))
    return Usage(state.free, state.total)


def free_bytes(path: PathLike) -> int:
    """Bytes that this user can still write on the disk of a path, which need not exist."""
    return usage(path).free


def write_error_somewhere(error: OSError) -> OutputError:
    """As `write_error`, for an error of which it is not known what could not be written.

    It names the file in the error; else that disk in use which has least space.
    """
    if error.filename is not None:
        return write_error(error, os.fsdecode(error.filename))
    fullest = min((Path.cwd(), home(), Path(tempfile.gettempdir())), key=free_bytes)
    return write_error(error, fullest, what="a file cannot be written")


def describe_disk(path: PathLike) -> str:
    """The disk of a path: "0 B of 1.0 MB free on the disk at /mnt"."""
    folder = _existing(Path(path))
    try:
        free, total = usage(folder)
    except OSError:
        return str(folder)
    mount = folder.resolve()
    while not os.path.ismount(mount):
        mount = mount.parent
    return f"{format_size(free)} of {format_size(total)} free on the disk at {mount}"


def format_size(count: int) -> str:
    """Bytes for a reader: "640 B", "1.5 MB"; powers of 1000, as disks are sold."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _plain_text(error: BaseException) -> str:
    """Without the path: a temporary name means nothing to a user."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _inodes_used_up(target: PathLike) -> bool:
    try:
        status = os.statvfs(_existing(Path(target)))
    except (OSError, AttributeError):  # not on Windows
        return False
    return bool(status.f_files) and status.f_favail == 0


def _place_of(target: Path) -> Place:
    resolved = target.absolute().resolve()
    if resolved.is_relative_to(home().resolve()):
        return "cache"
    temporary = Path(tempfile.gettempdir()).resolve()
    if resolved.is_relative_to(temporary):  # results may go there too
        first = resolved.relative_to(temporary).parts[:1]
        return "temporary" if not first or first[0].startswith("heygem-") else "output"
    return "output"
