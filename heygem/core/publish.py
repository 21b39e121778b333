"""Files under names that users choose: whole or not there, and nothing of theirs is replaced.

A file is replaced only if it is known to be an earlier result (the caller proves it, by a manifest
or ledger that holds its hash), and an input never. The check is made before any work, where a
refusal costs nothing, and again when the finished file takes its name: a new name by a hard link,
which fails where the name is taken; an old one after the file there was moved aside and found to be
the one that was checked.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from heygem.core import disk
from heygem.core.errors import OutputError
from heygem.core.files import sha256, sync
from heygem.core.leftovers import hidden_path
from heygem.core.types import PathLike

#: Whether a file that is there may be replaced; called with its path.
MayReplace = Callable[[Path], bool]

BY_OPTION = "replace it with --overwrite (inputs.overwrite: true)"
BY_HAND = "move it away first"

_PROBE_BYTES = 4096  # an empty file can be made on a full disk
_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class Signature(NamedTuple):
    """What tells one file from another, and from itself after a change."""

    device: int
    inode: int
    size: int
    modified_ns: int


def never(_path: Path) -> bool:
    """The `MayReplace` of files of which nobody can prove that they are ours."""
    return False


def always(_path: Path) -> bool:
    """The `MayReplace` where the user has said so (`--overwrite`)."""
    return True


def has_hash(path: Path, digest: str | None) -> bool:
    """Whether a regular file, not a link to one, has this sha256 [hex]."""
    return digest is not None and _is_regular(path) and sha256(path) == digest


def check_folder(folder: PathLike) -> None:
    """Refuse a folder that cannot be written, before any work.

    Raises
    ------
    OutputError
        It is missing or read-only, or its disk is full; the message says which.
    """
    probe = hidden_path(Path(folder) / "probe")
    try:
        try:
            probe.write_bytes(b"\0" * _PROBE_BYTES)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        what = f"cannot write to the folder {folder}"
        raise disk.write_error(error, folder, what=what) from error


def check(
    target: PathLike,
    *,
    inputs: Iterable[PathLike] = (),
    may_replace: MayReplace = never,
    way_out: str = BY_OPTION,
) -> Signature | None:
    """Refuse a name under which a file stands that must stay.

    Parameters
    ----------
    target : path
    inputs : iterable of path
        Files that are never replaced, whatever `may_replace` says; compared by what they are and
        not by name, so that links and case-insensitive names do not deceive.
    may_replace : callable
    way_out : str
        How the user has a file replaced all the same, for the message.

    Returns
    -------
    Signature or None
        Of the file that may be replaced; None where the name is free.

    Raises
    ------
    OutputError
    """
    target = Path(target)
    try:
        status = target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise disk.write_error(error, target) from error
    if is_one_of(target, inputs):
        raise OutputError(
            f"the result {target.name} would replace an input",
            seen=target,
            remedy=f"give another folder with --out, or another name, such as "
            f"{free_name(target).stem}",
        )
    if target.is_dir():
        raise OutputError(
            f"cannot write {target.name}: a folder has this name",
            seen=target,
            remedy=f"use a free name, such as {free_name(target).stem}, or rename the folder",
        )
    if not may_replace(target):
        raise OutputError(
            f"{target.name} is there already, and is not a result that heygem made and that is "
            "unchanged since",
            seen=target,
            remedy=f"use a free name, such as {free_name(target).stem}, or another folder; or "
            f"{way_out}",
        )
    return _signature(status)


@contextlib.contextmanager
def publishing(
    target: PathLike,
    *,
    inputs: Iterable[PathLike] = (),
    may_replace: MayReplace = never,
    way_out: str = BY_OPTION,
) -> Iterator[Path]:
    """A hidden path beside `target`, whose file takes that name when the block ends well.

    Parameters
    ----------
    target, inputs, may_replace, way_out
        See `check`, which is made first.

    Yields
    ------
    Path
        Of no file yet, with the suffix of `target`. After an error its file is removed.

    Raises
    ------
    OutputError
        The name must not be used, or the file cannot be written.
    """
    target, inputs = Path(target), tuple(inputs)
    check(target, inputs=inputs, may_replace=may_replace, way_out=way_out)
    staged = hidden_path(target, target.suffix)
    try:
        yield staged
        try:
            sync(staged)
        except FileNotFoundError as error:  # it has just been written
            raise disk.write_error(error, target, was_there=True) from error
        expected = check(target, inputs=inputs, may_replace=may_replace, way_out=way_out)
        place(staged, target, expected)
        sync(target.parent)
    except OSError as error:
        if not disk.is_disk_error(error):
            raise
        raise disk.write_error(error, target) from error
    finally:
        with contextlib.suppress(OSError):
            staged.unlink()


def place(staged: Path, target: Path, expected: Signature | None) -> None:
    """Give a finished file its name.

    Parameters
    ----------
    staged : Path
        In the folder of `target`.
    target : Path
    expected : Signature or None
        The file that may be replaced; None: no file may be there.

    Raises
    ------
    OutputError
        Another file stands there by now; it stays.
    """
    if expected is None:
        _rename_to_free_name(staged, target)
        return
    aside = hidden_path(target, target.suffix)
    try:
        os.rename(target, aside)
    except FileNotFoundError:  # removed meanwhile
        _rename_to_free_name(staged, target)
        return
    try:
        if _signature(aside.lstat()) != expected:
            raise _appeared(target)
        _rename_to_free_name(staged, target)
    except BaseException:
        _put_back(aside, target)
        raise
    aside.unlink()


def _put_back(aside: Path, target: Path) -> None:
    """Return a file to its name, or to a free one beside it if that is taken again."""
    name = target
    while True:
        try:
            return _rename_to_free_name(aside, name)
        except OutputError:
            name = free_name(target)


def is_one_of(path: Path, files: Iterable[PathLike]) -> bool:
    """Whether a path leads to one of these files, under whatever name."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    for file in files:
        with contextlib.suppress(OSError, ValueError):
            if os.path.samestat(status, os.stat(file)):
                return True
    return False


def free_name(target: Path) -> Path:
    """A name beside `target` that no file has: NAME-2, NAME-3, ..."""
    number = 2
    while os.path.lexists(free := target.with_name(f"{target.stem}-{number}{target.suffix}")):
        number += 1
    return free


def _rename_to_free_name(source: Path, target: Path) -> None:
    """As `os.rename`, but never onto a file that is there."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise _appeared(target) from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # File systems without hard links: take the name first, which fails where it is taken.
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            raise _appeared(target) from None
        os.replace(source, target)
    else:
        os.unlink(source)


def _appeared(target: Path) -> OutputError:
    return OutputError(
        f"{target.name} was written by another program meanwhile, and is left as it is",
        seen=target,
        remedy="run the command again, with another name or folder",
    )


def _is_regular(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def _signature(status: os.stat_result) -> Signature:
    return Signature(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
