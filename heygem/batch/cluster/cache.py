"""A node's copies of inputs, each stored once under the hash of its content.

An address is downloaded once on each node, also where several actors ask for it at once, and again
when the store says that it changed. A copy is hashed before it is used: a damaged one is replaced.
Copies that were not used for longest are removed when the cache is full; those in use stay.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from heygem.batch.cluster.storage import file_state, open_filesystem, reaching, retry
from heygem.core import disk
from heygem.core.errors import InputError
from heygem.core.files import locked, read_json, safe_name, sha256_of_unchanged, write_json
from heygem.core.folders import home, make_private_folder
from heygem.core.leftovers import hidden_path, remove_leftovers

DEFAULT_BYTES = 20 << 30
_CONTENT, _ADDRESSES = "content", "addresses"


class InputCache:
    """The cache of one node; any number of processes may use it.

    Parameters
    ----------
    folder : Path, optional
        Default: `inputs` in heygem's cache folder (`$HEYGEM_HOME`).
    max_bytes : int
        Size above which copies are removed.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = DEFAULT_BYTES) -> None:
        self.folder = folder if folder is not None else home() / "inputs"
        self.max_bytes = max_bytes
        try:
            for name in (_CONTENT, _ADDRESSES):
                make_private_folder(self.folder / name)
                remove_leftovers(self.folder / name)
        except OSError as error:
            what = "the cache of inputs cannot be written"
            raise disk.write_error(error, self.folder, what=what, place="cache") from error

    @contextlib.contextmanager
    def fetched(self, address: str) -> Iterator[Path]:
        """A local copy of a file, which stays while the block runs.

        Its name ends as the address does, because names of results and kinds of files follow it.

        Raises
        ------
        InputError
            There is no such file, or it is a folder.
        StorageError
            The store cannot be reached.
        OutputError
            The copy cannot be written.
        """
        with self._locked(_ADDRESSES, hashlib.sha256(address.encode()).hexdigest()):
            path = self._current_copy(address)
            use = self._use(path.parent) if path is not None else None
            if path is None or use is None:
                path, use = self._download(address)
        try:
            os.utime(path.parent)  # the order of removal
            yield path
        finally:
            os.close(use)

    def size(self) -> int:
        """Bytes of all copies."""
        return sum(_size(copy) for copy in (self.folder / _CONTENT).glob("*/"))

    def _current_copy(self, address: str) -> Path | None:
        """The copy of what the address holds now; None where there is none, or it is damaged."""
        record = read_json(self.folder / _ADDRESSES, name=_record_name(address)) or {}
        fs, source = open_filesystem(address)
        with reaching(address):
            if record.get("state") != retry(lambda: file_state(fs, source), fs):
                return None
        path = self.folder / _CONTENT / str(record["sha256"]) / str(record["name"])
        with contextlib.suppress(OSError):
            if sha256_of_unchanged(path) == record["sha256"]:
                return path
        return None

    def _download(self, address: str) -> tuple[Path, int]:
        """Fetch a file; returns its path, and a descriptor that keeps it from being removed."""
        fs, source = open_filesystem(address)
        staged = hidden_path(self.folder / _CONTENT / "download")

        def download() -> str:
            state = file_state(fs, source)
            fs.get_file(source, str(staged))
            fs.invalidate_cache()
            if file_state(fs, source) != state:
                raise OSError("it was changed while it was read")
            return state

        try:
            with reaching(address):
                if fs.isdir(source):
                    raise InputError(
                        "this is a folder, and only files are fetched",
                        seen=address,
                        remedy="put avatar bundles into a folder that every node has mounted",
                    )
                state = retry(download, fs)
            digest = sha256_of_unchanged(staged)
            name = safe_name(source.rpartition("/")[2])
            with self._locked("", "index"):
                folder = make_private_folder(self.folder / _CONTENT / digest)
                os.replace(staged, folder / name)
                use = self._open_use(folder)
                fcntl.flock(use, fcntl.LOCK_SH)
            record = {"address": address, "state": state, "sha256": digest, "name": name}
            write_json(self.folder / _ADDRESSES, record, name=_record_name(address), mode=0o600)
        except OSError as error:
            what = f"{address} cannot be copied to this node"
            raise disk.write_error(error, self.folder, what=what, place="cache") from error
        finally:
            staged.unlink(missing_ok=True)
        self._remove_oldest()
        return folder / name, use

    def _use(self, folder: Path) -> int | None:
        """A descriptor that keeps a copy from being removed; None if it was removed just now."""
        with self._locked("", "index"):
            if not folder.is_dir():
                return None
            use = self._open_use(folder)
            fcntl.flock(use, fcntl.LOCK_SH)
            return use

    def _remove_oldest(self) -> None:
        """Remove copies that are not in use until the cache fits."""
        with self._locked("", "index"):
            copies = sorted((self.folder / _CONTENT).glob("*/"), key=lambda f: f.stat().st_mtime)
            size = sum(map(_size, copies))
            for copy in copies:
                if size <= self.max_bytes:
                    return
                use = self._open_use(copy)
                try:
                    fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                else:
                    size -= _size(copy)
                    shutil.rmtree(copy, ignore_errors=True)
                finally:
                    os.close(use)

    @staticmethod
    def _open_use(folder: Path) -> int:
        return os.open(folder / ".use", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def _locked(self, kind: str, name: str) -> contextlib.AbstractContextManager[None]:
        """One process of this node at a time."""
        return locked(self.folder / kind / f".{name}.lock")


def _record_name(address: str) -> str:
    return f"{hashlib.sha256(address.encode()).hexdigest()}.json"


def _size(folder: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in folder.iterdir() if file.name[0] != ".")
    return 0
