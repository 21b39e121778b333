"""Files: content hashes, safe names, and writes that are whole or not there at all."""

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import stat
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from heygem.core import disk
from heygem.core.errors import InputError
from heygem.core.leftovers import hidden_path
from heygem.core.types import PathLike

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")

FICLONE = 0x40049409  # of Linux: share all blocks of another file
COPY_BLOCK_BYTES = 4 << 20
BUNDLE_FACTS = "avatar.json"  # in an avatar bundle, see `heygem.finetune.bundle`
MAX_NAME_BYTES = 120  # file systems take 255; suffixes and hidden temporary names need room


def read_once(read: Callable[[Path], T], *, files: int) -> Callable[[Path], T]:
    """Let a function read a file once in a process, and again when the file has changed.

    It has changed when its inode, size or time of change is another one. What was read is returned
    as it is: a caller must not alter it. Results of so many `files` are kept.

    Raises
    ------
    OSError
        There is no such file; and whatever `read` raises, which is not kept.
    """

    @functools.lru_cache(maxsize=files)
    def read_state(path: Path, _inode: int, _size: int, _modified_ns: int) -> T:
        return read(path)

    def read_unchanged(path: Path) -> T:
        status = path.stat()
        return read_state(path, status.st_ino, status.st_size, status.st_mtime_ns)

    return read_unchanged


def sha256(path: PathLike) -> str:
    """sha256 [hex] of a file's content; of an avatar bundle (a folder), that of its facts file.

    Raises
    ------
    OSError
        The file cannot be read.
    InputError
        It is no regular file.
    """
    path = _hashed_file(path)
    require_regular_file(path)
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _hashed_file(path: PathLike) -> Path:
    """The file whose content stands for a path: of an avatar bundle, its facts file."""
    path = Path(path)
    if path.is_dir() and (path / BUNDLE_FACTS).is_file():
        return path / BUNDLE_FACTS  # holds the hashes of all other files of the bundle
    return path


def require_regular_file(path: PathLike) -> None:
    """Refuse what only looks like a file: opening a named pipe or a device may wait for ever.

    Raises
    ------
    FileNotFoundError, OSError
        It is not there, or its folder cannot be read.
    InputError
        It is a folder, a named pipe, a socket or a device.
    """
    mode = Path(path).stat().st_mode
    if stat.S_ISREG(mode):
        return
    kinds = {
        stat.S_IFDIR: ("a folder", "Name one file inside it."),
        stat.S_IFIFO: ("a pipe", "Save its content as a file first."),
        stat.S_IFSOCK: ("a socket", "Name a file."),
    }
    kind, remedy = kinds.get(stat.S_IFMT(mode), ("a device", "Save its content as a file first."))
    raise InputError(f"{path} is {kind}, not a file", remedy=remedy)


def is_address(location: PathLike) -> bool:
    """Whether a location is one of a store, such as `s3://bucket/file`, and no path."""
    return "://" in os.fspath(location)


def absolute(location: PathLike) -> str:
    """The absolute path of a file; the address of one in a store stays as it is."""
    return os.fspath(location) if is_address(location) else str(Path(location).absolute())


def sha256_of_unchanged(path: PathLike) -> str:
    """As `sha256`, but a large file that is used again and again is read once in a process.

    It is read again when its inode, size or time of change is another one.
    """
    return _kept_sha256(_hashed_file(path).resolve())


_kept_sha256 = read_once(lambda path: sha256(path), files=4096)  # inputs of a batch


def hash_input(path: PathLike, *, reread: bool = True) -> str:
    """sha256 [hex] of a file that the user named.

    Parameters
    ----------
    path : path
    reread : bool
        False: as `sha256_of_unchanged`.

    Raises
    ------
    InputError
        The file cannot be read; the message says why.
    """
    try:
        return sha256(path) if reread else sha256_of_unchanged(path)
    except FileNotFoundError as error:
        raise InputError("no such file", seen=path, remedy="check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot read the file ({reason})", seen=path, remedy="give a readable media file"
        ) from error


@contextlib.contextmanager
def replacing(target: PathLike, *, mode: int = 0o644, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `target` that takes its name when the block ends without an error.

    For writers that need a path or a stream of their own. After an error the temporary file is
    removed and a former `target` stays as it was.

    Parameters
    ----------
    target : path
        Its folder must be there.
    mode : int
        Permissions of the file.
    durable : bool
        Wait until the content is on the disk. A cache that can be made again need not.

    Yields
    ------
    Path
        An empty file that only this user can read, hidden, with the suffix ".part".

    Raises
    ------
    OSError
        The folder cannot be written, or the disk is full.
    """
    target = Path(target)
    staged = hidden_path(target)
    os.close(os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield staged
        if durable:
            sync(staged)
        os.chmod(staged, mode)
        os.replace(staged, target)
    finally:
        staged.unlink(missing_ok=True)
    if durable:
        sync(target.parent)


@contextlib.contextmanager
def locked(path: PathLike, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock file while the block runs; wait while another process holds it.

    The kernel releases the lock of a dead process, so that none is left behind.

    Parameters
    ----------
    path : path
        Made where there is none, for this user alone; its folder must be there.
    shared : bool
        Any number of processes may hold it at once, unless one holds it alone.

    Raises
    ------
    OSError
        The file cannot be opened or made, or it is a symbolic link.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def status_of(path: PathLike) -> os.stat_result | None:
    """Size and times of a file, or None when another process has just removed it."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def file_id(path: PathLike) -> tuple[int, int] | None:
    """Device and inode of the file that has this name now; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def aside_name(path: Path, why: str) -> Path:
    """An unused name for a file that is set aside: `NAME.WHY-TIME`, then `NAME.WHY-TIME-2`, ..."""
    first = candidate = path.with_name(f"{path.name}.{why}-{time.strftime('%Y%m%d-%H%M%S')}")
    number = 2
    while os.path.lexists(candidate):
        candidate = first.with_name(f"{first.name}-{number}")
        number += 1
    return candidate


def copy_content(source: PathLike, target: PathLike) -> None:
    """Copy a file's content to a new file: never a link, and nothing of its mode.

    Where the file system can (Btrfs, XFS, ZFS), both share their blocks until one is changed, so
    that a copy costs neither time nor space. A symbolic link is followed.

    Raises
    ------
    FileExistsError
        There is a file at `target`.
    OSError
        The source cannot be read, or the disk is full.
    """
    with open(source, "rb") as original, open(target, "xb") as copy:
        if fcntl is not None:
            with contextlib.suppress(OSError):  # this file system cannot, or they lie on two
                fcntl.ioctl(copy.fileno(), FICLONE, original.fileno())
                return
        shutil.copyfileobj(original, copy, COPY_BLOCK_BYTES)


def write_bytes(target: Path, content: bytes, *, mode: int = 0o644) -> Path:
    """Write a file atomically: complete under its name, or not there at all.

    Parameters
    ----------
    target : Path
        Its folder is made where there is none.
    content : bytes
    mode : int
        Permissions of the file.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    OutputError
        The folder cannot be written, or the disk is full.
    """
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(target, mode=mode) as staged:
            staged.write_bytes(content)
    except OSError as error:
        raise disk.write_error(error, target, needed_bytes=len(content)) from error
    return target


def write_text(target: Path, text: str, *, mode: int = 0o644) -> Path:
    """Write UTF-8 text atomically; see `write_bytes`."""
    return write_bytes(target, text.encode("utf-8", "surrogateescape"), mode=mode)


def write_json(
    folder: Path, content: dict[str, Any], *, name: str = "manifest.json", mode: int = 0o644
) -> Path:
    """Write a dictionary as `folder/name`, atomically; paths and NumPy values become plain ones."""
    text = json.dumps(content, ensure_ascii=False, indent=2, default=_plain) + "\n"
    return write_text(folder / name, text, mode=mode)


def read_json(folder: Path, *, name: str = "manifest.json") -> dict[str, Any] | None:
    """The dictionary in `folder/name`, or None where there is none that can be read."""
    try:
        content = json.loads((folder / name).read_bytes().decode("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def safe_name(text: str, *, max_bytes: int = MAX_NAME_BYTES) -> str:
    """A file name (without extension) for any title: one line, no separators, not too long."""
    name = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
    name = re.sub(r'[\\/:*?"<>|\x00-\x1f\x7f]+', "_", name).strip(" ._-") or "video"
    data = name.encode()
    if len(data) > max_bytes:
        suffix = hashlib.sha256(data).hexdigest()[:8]
        name = data[: max_bytes - 9].decode("utf-8", "ignore") + "-" + suffix
    return name


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy arrays and scalars
        return value.tolist()
    return str(value)


def sync(path: PathLike) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
