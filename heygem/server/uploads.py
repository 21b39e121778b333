"""Files that a page sends to the server in parts: of any size, resumed where they broke off.

A file travels over HTTP as parts of at most `PART_BYTES`, in order. The server appends each part to
a file of its own and answers how much it holds. A page that lost its connection, or was closed,
announces the same file again and continues from there (as the tus protocol does, in fewer words):

- ``POST heygem/api/uploads`` with ``{"name", "size", "modified"}`` announces a file, and answers
  ``{"id", "offset", "part_bytes"}``.
- ``PATCH heygem/api/uploads/ID`` with the header ``Upload-Offset`` appends the body, and answers
  ``{"offset"}``, with the last part also ``{"path", "name"}``. 409 says where the file continues.
- ``DELETE heygem/api/uploads/ID`` forgets it.
"""

import contextlib
import filecmp
import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from heygem.core import disk
from heygem.core.errors import HeygemError, InputError, OutputError
from heygem.core.files import safe_name
from heygem.core.folders import make_private_folder
from heygem.core.publish import free_name, place
from heygem.server import UPLOADS
from heygem.server.json_errors import JsonErrors, MissingError

PART_BYTES = 1 << 20
STALE_S = 7 * 24 * 3600.0  # parts of a file that nobody has continued for so long are removed
SPARE_BYTES = 256 << 20  # left free on the disk for everything else
_PARTS = ".parts"
_ID_HEX = 32


class OffsetError(HeygemError):
    """A part does not begin where the file so far ends.

    Attributes
    ----------
    offset : int
        Where it ends.
    """

    def __init__(self, offset: int) -> None:
        super().__init__("the part does not begin where the file ends", seen=offset)
        self.offset = offset


class UploadStore:
    """Files in the making, and the folder that they are put into when whole.

    Parameters
    ----------
    folder : path
    max_bytes : int, optional
        Largest file; None: as the disk allows.
    """

    def __init__(self, folder: Path, *, max_bytes: int | None = None) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._parts = folder / _PARTS

    def announce(self, name: str, size: int, modified: int = 0) -> tuple[str, int]:
        """Begin or resume a file; returns its id and how many bytes are here.

        Raises
        ------
        InputError
            The name or the size cannot be.
        OutputError
            The file does not fit.
        """
        name = _file_name(name)
        if size <= 0:
            raise InputError(f"{name} is empty", seen=f"{size} bytes")
        if self.max_bytes is not None and size > self.max_bytes:
            raise InputError(
                f"{name} is too large to upload",
                seen=f"{size / 2**20:.1f} MB",
                remedy=f"at most {self.max_bytes / 2**20:.0f} MB",
            )
        make_private_folder(self.folder)
        make_private_folder(self._parts)
        self._remove_stale()
        # The same file announced again is the same upload; the names of two files tell them apart.
        key = json.dumps([name, size, modified])
        upload_id = hashlib.sha256(key.encode()).hexdigest()[:_ID_HEX]
        part = self._part(upload_id)
        offset = part.stat().st_size if part.exists() else 0
        free_bytes = disk.free_bytes(self._parts)
        if size - offset > free_bytes - SPARE_BYTES:
            raise OutputError(
                f"{name} does not fit on the server's disk",
                seen=f"{free_bytes / 2**20:.0f} MB are free",
                remedy="free some space, or choose another file",
            )
        part.touch(mode=0o600)
        self._facts(upload_id).write_text(key, encoding="utf-8")
        return upload_id, offset

    def append(self, upload_id: str, offset: int, content: bytes) -> tuple[int, Path | None]:
        """Add a part; returns how many bytes are here, and the file's path once it is whole.

        Raises
        ------
        MissingError, InputError
            No such upload; more bytes than were announced.
        OffsetError
            The part does not begin where the file ends, or the disk is full.
        """
        part = self._part(upload_id)
        try:
            name, size, _ = json.loads(self._facts(upload_id).read_text(encoding="utf-8"))
            present = part.stat().st_size
        except (OSError, ValueError) as e:
            raise MissingError("no such upload", seen=upload_id, remedy="begin it again") from e
        if offset != present:
            raise OffsetError(present)
        if offset + len(content) > size:
            raise InputError(f"{name} is longer than announced", seen=f"{size} bytes announced")
        try:
            with open(part, "ab") as stream:
                stream.write(content)
        except OSError as e:
            os.truncate(part, offset)  # a part is there whole or not at all
            raise OutputError(f"{name} cannot be stored", seen=e.strerror) from e
        if offset + len(content) < size:
            return offset + len(content), None
        target = self.folder / name
        if _is_same(part, target):  # sent again: the file that is here serves
            self.forget(upload_id)
            return size, target
        if os.path.lexists(target):
            target = free_name(target)
        place(part, target, None)
        self._facts(upload_id).unlink(missing_ok=True)
        return size, target

    def forget(self, upload_id: str) -> None:
        """Remove what is here of a file that is not whole."""
        self._part(upload_id).unlink(missing_ok=True)
        self._facts(upload_id).unlink(missing_ok=True)

    def _part(self, upload_id: str) -> Path:
        return self._parts / f"{upload_id}.part"

    def _facts(self, upload_id: str) -> Path:
        return self._parts / f"{upload_id}.json"

    def _remove_stale(self) -> None:
        oldest_s = time.time() - STALE_S
        for path in self._parts.iterdir():
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < oldest_s:
                    path.unlink()


def _is_same(part: Path, target: Path) -> bool:
    """Whether a file of this content is already there."""
    try:
        return not target.is_symlink() and filecmp.cmp(part, target, shallow=False)
    except OSError:
        return False


def _file_name(name: str) -> str:
    """A name without folders, which begins with no dot: hidden files are not listed."""
    path = Path(str(name).replace("\\", "/").rpartition("/")[2].lstrip("."))
    if not path.name:
        raise InputError("this is no name for a file", seen=name)
    suffix = re.sub(r"[^.\w]", "_", path.suffix)[:16]
    return safe_name(path.stem, max_bytes=180) + suffix


class _Handler(JsonErrors, APIHandler):
    """Answers errors of the store as JSON."""

    def initialize(self, store: UploadStore) -> None:
        self.store = store


class AnnounceHandler(_Handler):
    """Begins or resumes an upload."""

    @web.authenticated
    def post(self) -> None:
        """Answer with the upload's id, and where it continues."""
        body = self.get_json_body() or {}
        try:
            numbers = int(body.get("size", 0)), int(body.get("modified", 0))
            upload_id, offset = self.store.announce(str(body.get("name", "")), *numbers)
        except (TypeError, ValueError, AttributeError) as e:
            raise InputError("size and modified are numbers") from e
        answer = {"id": upload_id, "offset": offset, "part_bytes": PART_BYTES}
        self.finish(json.dumps(answer))


class PartHandler(_Handler):
    """Appends to an upload, or forgets it."""

    @web.authenticated
    def patch(self, upload_id: str) -> None:
        """Append the body."""
        try:
            offset = int(self.request.headers.get("Upload-Offset", "-1"))
            present, path = self.store.append(upload_id, offset, self.request.body)
        except ValueError as e:
            raise InputError("Upload-Offset is a number") from e
        except OffsetError as error:
            self.set_status(409)
            self.finish(json.dumps({"offset": error.offset}))
            return
        answer: dict[str, Any] = {"offset": present}
        if path is not None:
            answer |= {"path": str(path), "name": path.name}
        self.finish(json.dumps(answer))

    @web.authenticated
    def delete(self, upload_id: str) -> None:
        """Forget it."""
        self.store.forget(upload_id)
        self.set_status(204)
        self.finish()


def handlers(base_url: str, root: Path, *, max_bytes: int | None = None) -> list[tuple]:
    """The routes, for `tornado.web.Application.add_handlers`."""
    store = {"store": UploadStore(root / UPLOADS, max_bytes=max_bytes)}
    address = url_path_join(base_url, "heygem/api/uploads")
    return [
        (address, AnnounceHandler, store),
        (rf"{address}/([0-9a-f]{{{_ID_HEX}}})", PartHandler, store),
    ]
