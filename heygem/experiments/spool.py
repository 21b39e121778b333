"""What is still to be recorded in MLflow: lines of JSON in files beside the store.

Every record is written here first, and given to MLflow afterwards (`heygem.experiments.delivery`).
A file belongs to one batch. The process that writes or delivers it holds its lock, which the kernel
releases when the process dies; so no two processes deliver one record. Lines are only appended: a
record, or the mark that MLflow has it. A file goes when MLflow has all of it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from heygem.core.files import locked
from heygem.core.folders import home, make_private_folder
from heygem.core.types import PathLike

SUFFIX = ".jsonl"
_DELIVERED, _FORGOTTEN = "delivered", "forgotten"


class Spool:
    """The records of one batch; see `create` and `take`.

    Attributes
    ----------
    path : Path
    records : list of dict
        In their order; each has an `id` and a `kind`.
    delivered : dict of str to str
        Id of the MLflow run of each record that MLflow has.
    """

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path = path
        self._stream = stream
        self.records: list[dict[str, Any]] = []
        self.delivered: dict[str, str] = {}

    @classmethod
    def create(cls, store_folder: PathLike) -> "Spool":
        """A new file for the records of a batch.

        Raises
        ------
        OSError
            None of the folders can be written.
        """
        name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}{SUFFIX}"
        problem: OSError | None = None
        for folder in folders(store_folder):
            try:
                path = make_private_folder(folder) / name
                stream = _locked(path, os.O_CREAT | os.O_EXCL)
            except OSError as error:
                problem = error
                continue
            assert stream is not None  # a new file is nobody's
            return cls(path, stream)
        raise problem or OSError("no folder for records")

    @classmethod
    def take(cls, path: Path) -> "Spool | None":
        """The file of a process that has ended; None where it is still held, or gone."""
        try:
            stream = _locked(path)
        except FileNotFoundError:
            return None
        if stream is None:
            return None
        spool = cls(path, stream)
        spool._read()
        return spool

    def append(self, record: dict[str, Any]) -> None:
        """Add a record; when this returns, it survives the process and the machine.

        Raises
        ------
        OSError
            The disk is full, for example; the record is kept in memory all the same.
        """
        self.records.append(record)
        self._write(record)

    def mark(self, record_id: str, run_id: str) -> None:
        """Note that MLflow has a record."""
        self.delivered[record_id] = run_id
        with contextlib.suppress(OSError):  # then MLflow is asked whether it has it
            self._write({"kind": _DELIVERED, "id": record_id, "run": run_id})

    def forget_deliveries(self) -> None:
        """Note that the store was replaced, so that it has none of the records."""
        self.delivered.clear()
        with contextlib.suppress(OSError):
            self._write({"kind": _FORGOTTEN, "id": ""})

    def note(self, mark: dict[str, Any]) -> None:
        """Add a mark that another process has made for this file."""
        self._apply(mark)
        with contextlib.suppress(OSError):
            self._write(mark)

    def waiting(self) -> list[dict[str, Any]]:
        """Records that MLflow does not have, as far as is known."""
        return [record for record in self.records if record["id"] not in self.delivered]

    def close(self, *, remove: bool = False) -> None:
        """Give the file up; `remove` it when MLflow has all of it."""
        if remove:
            with contextlib.suppress(OSError):
                self.path.unlink()
            with contextlib.suppress(OSError):  # other files are waiting in it
                self.path.parent.rmdir()
        self._stream.close()

    def _write(self, line: dict[str, Any]) -> None:
        text = json.dumps(line, ensure_ascii=True, separators=(",", ":"), default=str)
        self._stream.write(text.encode() + b"\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _read(self) -> None:
        data = self.path.read_bytes()
        if data and not data.endswith(b"\n"):  # its process died while it wrote
            self._stream.write(b"\n")
        for line in data.splitlines():
            try:
                content = json.loads(line)
                kind, _ = content["kind"], content["id"]
            except (ValueError, KeyError, TypeError):
                continue
            if kind in (_DELIVERED, _FORGOTTEN):
                self._apply(content)
            else:
                self.records.append(content)

    def _apply(self, mark: dict[str, Any]) -> None:
        if mark["kind"] == _DELIVERED:
            self.delivered[mark["id"]] = str(mark.get("run", ""))
        else:
            self.delivered.clear()


def folders(store_folder: PathLike) -> list[Path]:
    """Folders of the files of a store: beside it, and where that cannot be written."""
    store_folder = Path(store_folder).absolute()
    key = hashlib.sha256(os.fsencode(store_folder)).hexdigest()[:16]
    beside = store_folder.with_name(f"{store_folder.name}-pending")
    return [beside, home() / "mlflow-pending" / key]


def pending(store_folder: PathLike) -> list[Path]:
    """Files with records of a store, oldest first; some may be held by running processes."""
    paths: list[Path] = []
    for folder in folders(store_folder):
        with contextlib.suppress(OSError):
            paths += [path for path in folder.iterdir() if path.suffix == SUFFIX]
    return sorted(paths, key=lambda path: path.name)


@contextlib.contextmanager
def exclusive(store_folder: PathLike) -> Iterator[None]:
    """One process of this machine at a time looks for a run, and makes it where there is none."""
    with contextlib.ExitStack() as stack:
        for folder in folders(store_folder):
            with contextlib.suppress(OSError):
                make_private_folder(folder)
                stack.enter_context(locked(folder / ".lock"))
                break
        yield


def _locked(path: Path, flags: int = 0) -> BinaryIO | None:
    """The file, open for appending and held by this process; None where another one holds it."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | flags, 0o600)
    stream = open(handle, "ab", buffering=0)  # noqa: SIM115
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):
            return stream
    except (BlockingIOError, FileNotFoundError):
        pass
    stream.close()
    return None
