"""Restoring a backup: every file is compared with its hash first, and nothing is overwritten."""

import os
import sqlite3
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from heygem.batch.queue import queue as job_queue
from heygem.core import disk
from heygem.core.errors import InputError, OutputError
from heygem.core.leftovers import temporary_folder
from heygem.core.publish import place
from heygem.core.types import PathLike
from heygem.ops import backup as backups
from heygem.ops.backup import EXPORT, KEYS, MLFLOW, QUEUE, RECORDS, RESULTS, Backup
from heygem.provenance import keys, ledger
from heygem.provenance.keys import backup as key_backup


@dataclass(frozen=True)
class Targets:
    """Where the parts of a backup go; None for a part that it lacks.

    Attributes
    ----------
    records, queue, mlflow : Path or None
    results : tuple of Path
        In the order of the backup.
    """

    records: Path | None
    queue: Path | None
    mlflow: Path | None
    results: tuple[Path, ...]

    def all(self) -> list[Path]:
        """Every path."""
        single = [path for path in (self.records, self.queue, self.mlflow) if path is not None]
        return [*single, *self.results]


def targets(backup: Backup, to: PathLike | None = None) -> Targets:
    """Where a backup is restored: below `to`, or where this installation has its parts.

    Results and MLflow store go back to the paths that they came from; records and queue to those of
    this installation (`HEYGEM_RECORDS`, `HEYGEM_QUEUE`).
    """
    sources = backup.sources
    results = [Path(str(path)) for path in sources.get("results") or ()]
    has_records, has_queue = bool(sources.get("records")), bool(sources.get("queue"))
    if to is None:
        return Targets(
            ledger.home() if has_records else None,
            job_queue.default_path() if has_queue else None,
            Path(str(sources["mlflow"])) if sources.get("mlflow") else None,
            tuple(results),
        )
    base = Path(to).absolute()
    return Targets(
        base / "records" if has_records else None,
        base / "queue.db" if has_queue else None,
        base / "mlruns" if sources.get("mlflow") else None,
        tuple(base / "results" / f"{k}-{path.name}" for k, path in enumerate(results)),
    )


def restore(backup: Backup, places: Targets, *, passphrase: str | None = None) -> None:
    """Put everything back, each part whole or not at all.

    Parameters
    ----------
    backup : Backup
        Of `heygem.ops.backup.check`, which has compared all files with their hashes.
    places : Targets
    passphrase : str, optional
        Of the keys, where they are encrypted.

    Raises
    ------
    OutputError
        Something is there already, or the disk is full.
    InputError
        The passphrase is wrong, or the restored ledger does not verify.
    """
    for path in places.all():
        _require_free(path)
    try:
        with ExitStack() as stack:
            moves: list[tuple[Path, Path]] = []
            for part, target in _parts(backup, places):
                target.parent.mkdir(parents=True, exist_ok=True)
                staged = stack.enter_context(temporary_folder(target.parent)) / target.name
                if part.is_dir():
                    backups.copy_tree(part, staged)
                else:
                    backups.copy_content(part, staged)
                    staged.chmod(0o600)
                if target == places.records:
                    _complete_records(backup, staged, passphrase)
                moves.append((staged, target))
            for staged, target in moves:  # all parts are whole: now they take their names
                _move(staged, target)
    except (OSError, sqlite3.Error) as error:
        raise disk.write_error(error, places.all()[0], what="the backup cannot be restored") from (
            error
        )


def _parts(backup: Backup, places: Targets) -> list[tuple[Path, Path]]:
    """File or folder in the backup, and where it goes."""
    single = ((RECORDS, places.records), (QUEUE, places.queue), (MLFLOW, places.mlflow))
    parts = [(backup.folder / name, path) for name, path in single if path is not None]
    results = enumerate(places.results)
    return [*parts, *((backup.folder / RESULTS / str(k), path) for k, path in results)]


def _complete_records(backup: Backup, folder: Path, passphrase: str | None) -> None:
    """Add the keys to a restored ledger, and verify it with them."""
    (folder / EXPORT).unlink(missing_ok=True)
    folder.chmod(0o700)
    for path in folder.iterdir():
        path.chmod(0o600)
    key_folder = folder / keys.folder().name
    restored, _ = key_backup.restore(backup.folder / KEYS, passphrase=passphrase, path=key_folder)
    faults = ledger.Ledger(folder / ledger.FILE_NAME, keys=restored).verify()
    if faults:
        raise InputError(
            "the ledger in the backup does not verify",
            seen=f"row {faults[0].number}: {faults[0].problem}",
            remedy="use another backup",
        )


def _require_free(path: Path) -> None:
    """Refuse a path under which something stands; an empty folder, or locks alone, is nothing."""
    if not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink():
        if all(entry.name.endswith(".lock") for entry in path.iterdir()):
            return
    raise OutputError(
        "this would overwrite what is there",
        seen=path,
        remedy="move it away first, or restore elsewhere with --to FOLDER and compare",
    )


def _move(staged: Path, target: Path) -> None:
    if target.is_dir():
        for entry in list(target.iterdir()):  # locks alone, see `_require_free`
            entry.unlink()
        target.rmdir()
    _require_free(target)
    if staged.is_dir():
        os.rename(staged, target)
    else:
        place(staged, target, None)
