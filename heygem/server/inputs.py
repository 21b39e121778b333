"""Files that users send to the queue, each under the hash of its content.

The queue works on its own copies: what was admitted cannot be exchanged before it is made.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from heygem.core import disk
from heygem.core.errors import InputError, PolicyError
from heygem.core.folders import make_private_folder
from heygem.core.types import PathLike
from heygem.server.admission import user_folder

#: Name of a file in the store: sha256 of its content, and the suffix that says what it is.
NAME = r"[0-9a-f]{64}\.[a-z0-9]{1,5}"
UNUSED_S = 24 * 3600.0  # a file that no job uses is removed after this time
_PART = ".part"


class InputStore:
    """Inputs of all users, in a folder of their own for each.

    Parameters
    ----------
    folder : path
        Created with the first file; only the service's account enters it.
    upload_mb, stored_mb : float
        Largest file, and all files of one user [MiB].
    """

    def __init__(self, folder: PathLike, *, upload_mb: float, stored_mb: float) -> None:
        self.folder = Path(folder)
        self.max_bytes = int(upload_mb * 2**20)
        self._stored_bytes = int(stored_mb * 2**20)

    def path(self, owner: str, name: str) -> Path:
        """A user's file by its name in the store.

        Raises
        ------
        InputError
            This user has not sent it.
        """
        path = self.folder / user_folder(owner) / name
        if not re.fullmatch(NAME, name) or not path.is_file():
            raise InputError("this file was not sent", seen=name, remedy="send it first")
        os.utime(path)  # in use again
        return path

    def check(self, owner: str, name: str, size: int) -> None:
        """Refuse a file that this user may not send.

        Raises
        ------
        PolicyError
            It is too large, or this user's files together would be.
        InputError
            The name is none of the store.
        """
        if not re.fullmatch(NAME, name):
            raise InputError("this is no name for an input", seen=name)
        if size > self.max_bytes:
            raise _too_large("the file is too large", size, self.max_bytes)
        folder = self.folder / user_folder(owner)
        stored = sum(path.stat().st_size for path in folder.glob("*") if path.name != name)
        if stored + size > self._stored_bytes:
            raise _too_large("your inputs take too much space", stored + size, self._stored_bytes)

    def receive(self, owner: str, name: str, size: int) -> "Upload":
        """Begin to receive a file.

        Raises
        ------
        PolicyError, InputError
            As for `check`.
        """
        self.check(owner, name, size)
        return Upload(make_private_folder(self.folder / user_folder(owner)) / name, size)

    def remove_unused(self, used: set[Path], *, now: float | None = None) -> list[Path]:
        """Remove files that no job uses and that nobody touched for `UNUSED_S`; returns them."""
        limit = (time.time() if now is None else now) - UNUSED_S
        removed = []
        for path in self._files():
            if path not in used and path.stat().st_mtime < limit:
                path.unlink(missing_ok=True)
                removed.append(path)
        return removed

    def _files(self) -> Iterator[Path]:
        yield from (path for path in self.folder.glob("*/*") if path.is_file())


class Upload:
    """One file on its way into the store; whole and of the stated content, or not there.

    Parameters
    ----------
    target : Path
    size : int
        Bytes to come.
    """

    def __init__(self, target: Path, size: int) -> None:
        self._target, self._missing = target, size
        self._part = target.with_name(f"{target.name}.{os.urandom(4).hex()}{_PART}")
        self._hash = hashlib.sha256()
        self._stream = open(self._part, "xb")  # noqa: SIM115

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises
        ------
        InputError
            More than stated.
        OutputError
            The disk is full.
        """
        self._missing -= len(chunk)
        if self._missing < 0:
            raise InputError("the file is larger than stated", seen=self._target.name)
        self._hash.update(chunk)
        try:
            self._stream.write(chunk)
        except OSError as error:
            raise disk.write_error(error, self._target) from error

    def finish(self) -> Path:
        """Give the file its name.

        Raises
        ------
        InputError
            It is incomplete, or not what its name says.
        OutputError
        """
        digest = self._hash.hexdigest()
        if self._missing or digest != self._target.stem:
            self.abandon()
            raise InputError(
                "the file did not arrive whole", seen=self._target.name, remedy="send it again"
            )
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            os.replace(self._part, self._target)
        except OSError as error:
            self.abandon()
            raise disk.write_error(error, self._target) from error
        return self._target

    def abandon(self) -> None:
        """Remove what has arrived."""
        self._stream.close()
        self._part.unlink(missing_ok=True)


def _too_large(what: str, size: int, most: int) -> PolicyError:
    seen, remedy = f"{size / 2**20:.1f} MiB", f"at most {most / 2**20:g} MiB"
    return PolicyError(what, seen=seen, remedy=remedy)
