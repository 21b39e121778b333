"""Files in a shared folder or an object store, through fsspec.

A *location* is a path, or an address with a scheme: `s3://bucket/folder`, `memory://folder`,
`file:///mnt/share`. A result is uploaded whole under a temporary name, compared, and then renamed;
its manifest follows last, so that a manifest is only ever beside a whole result. A file under a
result's name is replaced only where a manifest or the ledger proves that it is an earlier result.
"""

import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from heygem.core import disk, publish
from heygem.core.errors import HeygemError, InputError, OutputError
from heygem.core.files import copy_content, sha256

BLOCK_BYTES = 4 << 20
TRIES = 4
FIRST_WAIT_S = 0.5  # before the second try; doubled for each further one
_TEMPORARY = ".heygem-upload-"
_ABANDONED_S = 24 * 3600.0


class StorageError(HeygemError):
    """The store of inputs or results cannot be reached; another try later may succeed."""

    code = "STORAGE"


def join(location: str, *names: str) -> str:
    """A location inside a folder."""
    return "/".join([location.rstrip("/"), *names])


class Folder:
    """A folder of results at a location.

    Parameters
    ----------
    location : str
        Path or address. Credentials of object stores come from the environment of the process, as
        the store's own tools take them (for S3: `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...).
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._fs, self._root = open_filesystem(location)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of a file system that this machine has mounted."""
        return isinstance(self._fs, LocalFileSystem)

    @property
    def path(self) -> Path:
        """Of a folder that this machine has mounted."""
        return Path(self._root)

    def address(self, name: str) -> str:
        """The location of one file, as users write it."""
        return join(self.location, name)

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return self._attempt(name, lambda path: self._fs.isfile(path))

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A file's content; None where it is missing or no JSON object."""

        def read(path: str) -> bytes | None:
            try:
                return self._fs.cat_file(path)
            except FileNotFoundError:
                return None

        content = self._attempt(name, read)
        with contextlib.suppress(ValueError):
            parsed = json.loads(content or b"")
            return parsed if isinstance(parsed, dict) else None
        return None

    def state(self, name: str) -> str:
        """See `file_state`."""
        return self._attempt(name, lambda path: file_state(self._fs, path))

    def sha256(self, name: str) -> str:
        """sha256 [hex] of a file's content, which is read for it."""

        def digest(path: str) -> str:
            content = hashlib.sha256()
            with self._fs.open(path, "rb", block_size=BLOCK_BYTES) as stream:
                while block := stream.read(BLOCK_BYTES):
                    content.update(block)
            return content.hexdigest()

        return self._attempt(name, digest)

    def put(
        self, source: Path, name: str, *, may_replace: Callable[[str], bool] = lambda _name: True
    ) -> None:
        """Upload a file whole, then give it its name.

        Parameters
        ----------
        source : Path
        name : str
            Relative to the folder.
        may_replace : callable
            Called with `name` where a file has it already.

        Raises
        ------
        OutputError
            The file there must stay, or the folder cannot be written.
        StorageError
            The store cannot be reached, or keeps something else than was sent.
        """
        if self.is_local:
            self._put_local(source, name, may_replace)
            return
        parent, _, base = name.rpartition("/")
        temporary = join(parent, f"{_TEMPORARY}{secrets.token_hex(4)}-{base}").lstrip("/")

        def upload(path: str) -> None:
            self._fs.put_file(str(source), path)
            self._fs.invalidate_cache()
            if self._fs.info(path)["size"] != source.stat().st_size:
                raise OSError(f"{path} is not whole after its upload")

        try:
            self._attempt(temporary, upload)
            self.require_replaceable(name, may_replace)
            self._attempt(name, lambda path: self._fs.mv(self._path(temporary), path))
        finally:
            with contextlib.suppress(Exception):  # it was renamed, or the store is away
                self._fs.rm_file(self._path(temporary))

    def remove(self, name: str) -> None:
        """Remove a file, and its folder where nothing else is in it; it may be gone already."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))
        if self.is_local:
            with contextlib.suppress(OSError):
                Path(self._path(name)).parent.rmdir()

    def require_replaceable(self, name: str, may_replace: Callable[[str], bool]) -> None:
        """Refuse a name under which a file stands that must stay.

        Raises
        ------
        OutputError
        """
        if self.exists(name) and not may_replace(name):
            raise OutputError(
                f"{name} is there already, and is not a result that heygem made and that is "
                "unchanged since",
                seen=self.address(name),
                remedy="use another name or folder; or replace it with --overwrite "
                "(inputs.overwrite: true)",
            )

    def remove_abandoned_uploads(self) -> list[str]:
        """Remove temporary files of uploads that ended more than a day ago; returns their names."""
        removed = []
        with contextlib.suppress(HeygemError, OSError):
            for path, info in self._fs.find(self._root, detail=True).items():
                name = path.rpartition("/")[2]
                modified = info.get("mtime") or info.get("LastModified") or info.get("created")
                modified_s = getattr(modified, "timestamp", lambda: modified)()  # noqa: B023
                is_old = modified_s is not None and time.time() - modified_s > _ABANDONED_S
                if name.startswith(_TEMPORARY) and is_old:
                    self._fs.rm_file(path)
                    removed.append(name)
        return removed

    def _put_local(self, source: Path, name: str, may_replace: Callable[[str], bool]) -> None:
        """As on one machine: with a hard link, which fails where a name was taken meanwhile."""
        target = Path(self._path(name))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with publish.publishing(target, may_replace=lambda _path: may_replace(name)) as staged:
                copy_content(source, staged)
                if sha256(staged) != sha256(source):
                    raise StorageError(
                        "the copy in the shared folder differs from the result",
                        seen=target,
                        remedy="check the folder's disk and network",
                    )
        except OSError as error:
            raise disk.write_error(error, target) from error

    def _path(self, name: str) -> str:
        return join(self._root, name)

    def _attempt(self, name: str, action: Callable[[str], Any]) -> Any:
        with reaching(self.address(name)):
            return retry(lambda: action(self._path(name)), self._fs)


def open_filesystem(location: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a location, and the path in it.

    Raises
    ------
    InputError
        The scheme is unknown, or its package is not installed.
    """
    try:
        return fsspec.core.url_to_fs(location)
    except (ValueError, ImportError) as error:
        raise InputError(
            "the location is of a kind that cannot be opened",
            seen=f"{location}: {error}",
            remedy="give a path, or an address such as s3://bucket/folder",
        ) from error


def matching(pattern: str) -> list[str]:
    """Addresses of what a pattern such as `s3://bucket/*.mp4` matches, in alphabetical order.

    Raises
    ------
    InputError, StorageError
        The kind of address is unknown; the store cannot be read.
    """
    fs, path = open_filesystem(pattern)
    with reaching(pattern):
        return sorted(fs.unstrip_protocol(each) for each in retry(lambda: fs.glob(path), fs))


def file_state(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """Changes when the file does: a hash of its size, time of change and the store's checksum."""
    info = fs.info(path)
    keys = ("size", "mtime", "ino", "ETag", "etag", "LastModified", "last_modified", "created")
    stated = {key: str(info[key]) for key in keys if info.get(key) is not None}
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def retry(action: Callable[[], Any], fs: fsspec.AbstractFileSystem | None = None) -> Any:
    """The result of an action that fails while the network does; tried `TRIES` times.

    What is missing or forbidden stays so, and a full disk is not the network: these raise at once.
    """
    for remaining in reversed(range(TRIES)):
        try:
            if fs is not None:
                fs.invalidate_cache()  # listings that were kept may be out of date
            return action()
        except Exception as error:
            is_final = isinstance(error, HeygemError | FileNotFoundError | PermissionError)
            if is_final or disk.is_disk_error(error) or not remaining:
                raise
        time.sleep(FIRST_WAIT_S * 2 ** (TRIES - 1 - remaining))


@contextlib.contextmanager
def reaching(location: str) -> Iterator[None]:
    """Errors of a store as errors of heygem that name the location.

    Raises
    ------
    InputError
        There is no such file, or it may not be read.
    StorageError
        Anything else: the store's own exceptions have no common class.
    """
    try:
        yield
    except HeygemError:
        raise
    except FileNotFoundError as error:
        raise InputError("no such file", seen=location, remedy="check the address") from error
    except PermissionError as error:
        remedy = "check the store's credentials in the environment of every node"
        raise InputError("access is denied", seen=location, remedy=remedy) from error
    except Exception as error:
        raise StorageError(
            "the store cannot be reached",
            seen=f"{location}: {' '.join(str(error).split()) or type(error).__name__}",
            remedy="check the network and the address; the item is tried again",
        ) from error
