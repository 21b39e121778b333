"""Backups: keys, ledger, queue, MLflow store and results in one folder, with every file's hash.

Databases are copied through SQLite, so that nobody has to stop. The folder is made beside its name
and takes it when it is whole; nothing is replaced. The keys are copied before the ledger, so that
the head with them is never ahead of the rows.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heygem.batch.queue import queue as job_queue
from heygem.core import disk
from heygem.core.errors import InputError, OutputError
from heygem.core.files import copy_content, read_json, sha256, status_of, write_json
from heygem.core.leftovers import hidden_path
from heygem.core.types import PathLike
from heygem.core.version import code_version
from heygem.experiments.database import DATABASE
from heygem.provenance import installation, keys, ledger
from heygem.provenance.keys import backup as key_backup

MANIFEST = "backup.json"
FORMAT = {"format": "heygem backup", "version": 1}
KEYS, RECORDS, QUEUE, MLFLOW, RESULTS = "keys.json", "records", "queue.db", "mlflow", "results"
EXPORT = "ledger.jsonl"
_SPARE_BYTES = 64 << 20


@dataclass(frozen=True)
class Sources:
    """What a backup is made of; the parts that are not there are left out.

    Attributes
    ----------
    records, queue, mlflow : Path
        Folder of keys and ledger; database of the queue; folder of the MLflow store.
    results : tuple of Path
        Folders of results, with their details.
    """

    records: Path = field(default_factory=ledger.home)
    queue: Path = field(default_factory=job_queue.default_path)
    mlflow: Path = Path("mlruns")
    results: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Backup:
    """A backup that was made or read.

    Attributes
    ----------
    folder : Path
    created : str
        ISO 8601, UTC.
    sources : dict
        Where each part came from: records, queue, mlflow (paths or None), results (list).
    files : dict
        sha256 and bytes of each file by its path in the folder.
    """

    folder: Path
    created: str
    sources: dict[str, Any]
    files: dict[str, dict[str, Any]]

    @property
    def total_bytes(self) -> int:
        """Size of all files."""
        return sum(int(facts["bytes"]) for facts in self.files.values())


def result_folders(queue: "job_queue.JobQueue | None") -> tuple[Path, ...]:
    """Folders that hold results of the queue."""
    if queue is None:
        return ()
    folders = {Path(job.output).parent for job in queue.jobs(states=("done",))}
    return tuple(sorted(folder for folder in folders if folder.is_dir()))


def make(out: PathLike, sources: Sources, *, passphrase: str | None) -> Backup:
    """Make a backup and read every file of it back.

    Parameters
    ----------
    out : path
        Folder that is made; it must not be there.
    sources : Sources
    passphrase : str or None
        Encrypts the keys; None: whoever has the backup can sign as this installation.

    Raises
    ------
    OutputError
        There is something of that name, or the disk is full; then nothing is left.
    AssetError
        The keys cannot be opened.
    """
    out = Path(out).absolute()
    if os.path.lexists(out):
        raise OutputError("this would overwrite a backup", seen=out, remedy="give another name")
    _require_space(out, sources)
    staged = hidden_path(out, "")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staged.mkdir(mode=0o700)
        content = FORMAT | {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "code": code_version(),
            "sources": _copy_all(staged, sources, passphrase),
            "files": {name: _facts(staged / name) for name in _names(staged)},
        }
        write_json(staged, content, name=MANIFEST, mode=0o600)
        check(staged)
        os.sync()  # thousands of files: one call instead of one each
        os.rename(staged, out)
    except (OSError, sqlite3.Error) as error:
        raise disk.write_error(error, out, what=f"the backup {out.name} cannot be made") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return check(out, hashes=False)


def check(folder: PathLike, *, hashes: bool = True) -> Backup:
    """Read a backup and compare its files with their hashes.

    Raises
    ------
    InputError
        It is no backup, or a file is missing, damaged, or not a plain file.
    """
    folder = Path(folder)
    content = read_json(folder, name=MANIFEST)
    if content is None or any(content.get(key) != value for key, value in FORMAT.items()):
        raise InputError(
            "this is no backup of this version",
            seen=folder / MANIFEST,
            remedy="give a folder that `heygem backup` made",
        )
    try:
        backup = Backup(
            folder, str(content["created"]), dict(content["sources"]), dict(content["files"])
        )
        for name, facts in backup.files.items():
            _check_file(folder, name, str(facts["sha256"]), int(facts["bytes"]), hashes=hashes)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(f"{folder / MANIFEST}: {error}") from error
    return backup


def _check_file(folder: Path, name: str, digest: str, size: int, *, hashes: bool) -> None:
    path = folder / name
    if (
        name.startswith("/")
        or ".." in Path(name).parts
        or not path.resolve().is_relative_to(folder.resolve())
    ):
        raise _damaged(f"the name {name!r} leads out of the backup")
    if path.is_symlink() or not path.is_file():
        raise _damaged(f"{name} is missing")
    if path.stat().st_size != size or (hashes and sha256(path) != digest):
        raise _damaged(f"{name} is not the file that was saved")


def _damaged(what: str) -> InputError:
    return InputError("the backup is damaged", seen=what, remedy="use another one")


def _copy_all(staged: Path, sources: Sources, passphrase: str | None) -> dict[str, Any]:
    """Copy every part; returns where each came from."""
    copied: dict[str, Any] = {"records": None, "queue": None, "mlflow": None, "results": []}
    if (sources.records / ledger.FILE_NAME).is_file():
        copied["records"] = str(sources.records)
        _copy_records(staged, sources.records, passphrase)
    if sources.queue.is_file():
        copied["queue"] = str(sources.queue.absolute())
        copy_database(sources.queue, staged / QUEUE)
    if (sources.mlflow / DATABASE).is_file():
        copied["mlflow"] = str(sources.mlflow.absolute())
        (staged / MLFLOW).mkdir()
        copy_database(sources.mlflow / DATABASE, staged / MLFLOW / DATABASE)
        copy_tree(sources.mlflow, staged / MLFLOW, include=_is_artifact)
    for number, folder in enumerate(sources.results):
        copied["results"].append(str(folder.absolute()))
        copy_tree(folder, staged / RESULTS / str(number))
    return copied


def _copy_records(staged: Path, folder: Path, passphrase: str | None) -> None:
    (staged / RECORDS).mkdir()
    key_folder = folder / keys.folder().name
    key_backup.backup(staged / KEYS, passphrase=passphrase, path=key_folder)
    opened = ledger.Ledger(folder / ledger.FILE_NAME, keys=keys.load(key_folder))
    opened.backup(staged / RECORDS / ledger.FILE_NAME)
    opened.export(staged / RECORDS / EXPORT)  # readable without the database
    rules = folder / installation.FILE_NAME
    if rules.is_file():
        copy_content(rules, staged / RECORDS / rules.name)


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database, also while others write to it, into a new private file.

    Raises
    ------
    OSError, sqlite3.Error
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as original:
        with closing(sqlite3.connect(target)) as copy:
            original.backup(copy)
            # The copy of a database in WAL mode is complete in itself, without a log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")


def copy_tree(
    source: Path, target: Path, *, include: Callable[[Path], bool] = lambda path: True
) -> None:
    """Copy the plain files of a folder; links and the parts that running programs write are left.

    Files and folders have the modes of the originals; this user may enter and write each folder.

    Raises
    ------
    OSError
    """
    target.mkdir(parents=True, exist_ok=True)
    for path in _plain_files(source):
        relative = path.relative_to(source)
        if include(relative):
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                copy_content(path, target / relative)
                shutil.copystat(path, target / relative)
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        with contextlib.suppress(FileNotFoundError):
            original = source / folder.relative_to(target)
            folder.chmod(original.stat().st_mode & 0o777 | stat.S_IRWXU)


def _plain_files(folder: Path) -> Iterator[Path]:
    """Files below a folder, without links; hidden temporary ones (`.heygem-...`) are left out."""
    for parent, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith(".heygem-"))
        for name in sorted(files):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink() and not _is_temporary(name):
                yield path


def _is_temporary(name: str) -> bool:
    return name.startswith(".heygem-") and name != ".heygem-files.json" or name == ".heygem.lock"


def _is_artifact(relative: Path) -> bool:
    """Whether a file of an MLflow store is not the database, its companions, or a lock."""
    return not relative.name.startswith((DATABASE, "."))


def _names(folder: Path) -> Iterable[str]:
    return [path.relative_to(folder).as_posix() for path in _plain_files(folder)]


def _facts(path: Path) -> dict[str, Any]:
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def _require_space(out: Path, sources: Sources) -> None:
    """Refuse a backup that the disk cannot take, before any work."""
    folders = [sources.records, sources.mlflow, *sources.results]
    files = [path for folder in folders if folder.is_dir() for path in _plain_files(folder)]
    files += [sources.queue] if sources.queue.is_file() else []
    needed = _SPARE_BYTES + sum(status.st_size for status in map(status_of, files) if status)
    if disk.free_bytes(out) < needed:
        raise OutputError(
            "there is no room for the backup",
            seen=disk.describe_disk(out),
            remedy=f"about {disk.format_size(needed)} are needed: free some, or name another disk",
        )


def describe(backup: Backup) -> str:
    """What is in a backup, in one line."""
    parts = [name for name in ("records", "queue", "mlflow") if backup.sources.get(name)]
    count = len(backup.sources.get("results") or ())
    parts += [f"{count} folders of results"] if count else []
    size = disk.format_size(backup.total_bytes)
    return f"{', '.join(parts) or 'nothing'}: {len(backup.files)} files, {size}, {backup.created}"


def to_json(backup: Backup) -> str:
    """Where the parts came from, as JSON."""
    return json.dumps(backup.sources, ensure_ascii=False, indent=1)
