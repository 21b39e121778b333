"""The database of an MLflow store: made whole or not at all, and replaced where it was not.

MLflow creates its forty tables one after the other, under the database's own name. A process that
is killed in between leaves a database that MLflow can neither use nor complete. Here the database
is made in a hidden folder and takes its name when it is whole; one that is not whole, from an
earlier version or a damaged disk, is moved aside first.
"""

import contextlib
import logging
import os
import sqlite3
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

from heygem.core.errors import Notice
from heygem.core.files import aside_name, file_id, locked, sync
from heygem.core.folders import make_private_folder
from heygem.core.leftovers import remove_leftovers, temporary_folder
from heygem.core.publish import place
from heygem.experiments.relocation import adopt_artifacts

DATABASE = "mlflow.db"
_LOCK = ".mlflow.lock"
_LARGE = 64 * 2**20  # bytes; checking every page of a larger database would be felt at each start
_COMPANIONS = ("-journal", "-wal", "-shm")  # files of SQLite that belong to a database

#: Device and inode of the databases that this process has prepared, by folder.
_prepared: dict[Path, tuple[int, int]] = {}

log = logging.getLogger(__name__)

_migrating = threading.Lock()  # Alembic holds the running migration in globals of its modules


def prepare(folder: Path, *, answered: Callable[[], None] = lambda: None) -> None:
    """Make the database of a store where there is none, or none that can be used.

    A notice tells where an unusable one went. A database is examined once in a process, before
    MLflow opens it.

    Parameters
    ----------
    folder : Path
        Absolute; created where there is none.
    answered : callable, optional
        Called as each of its tables is made.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    database = folder / DATABASE
    if folder in _prepared and _prepared[folder] == file_id(database):
        return
    make_private_folder(folder)
    with locked(folder / _LOCK):
        problem = find_problem(database) if database.exists() else None
        if problem is not None:
            aside = _move_aside(database)
            warnings.warn(
                f"the record of runs {database} {problem}; it was kept as {aside.name}, and a new "
                "one is begun",
                Notice,
                stacklevel=2,
            )
            log.warning("%s %s; moved to %s", database, problem, aside)
        if database.exists():
            adopt_artifacts(folder, database)
        else:
            remove_leftovers(folder)
            _create(database, answered)
    prepared = file_id(database)
    if prepared is not None:
        _prepared[folder] = prepared


def find_problem(database: Path) -> str | None:
    """Why a database cannot be used, as the end of a sentence; None if it can, or is locked.

    One that an older MLflow made, with runs in it, is whole: MLflow says how to upgrade it.
    """
    try:
        # Opened for writing, so that SQLite first takes back what a killed process left half done.
        address = f"{database.as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=0)) as connection:
            if database.stat().st_size <= _LARGE:
                (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    return "is damaged"
            names = "SELECT name FROM sqlite_master WHERE type = 'table'"
            tables = {name for (name,) in connection.execute(names)}
            if not {"alembic_version", "experiments", "runs"} <= tables:
                return "was never finished"
            version = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            is_used = connection.execute("SELECT 1 FROM experiments LIMIT 1").fetchone()
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        is_damage = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        return "is damaged" if is_damage else None
    # MLflow enters its default experiment after the last table, so one that has none and is not
    # at the last version was interrupted before it.
    if is_used is None and (version is None or version[0] != _latest_version()):
        return "was never finished"
    return None


def _latest_version() -> str:
    """Version of the tables that the installed MLflow makes."""
    from mlflow.store.db.utils import _get_latest_schema_revision

    return str(_get_latest_schema_revision())


def _create(database: Path, answered: Callable[[], None]) -> None:
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    with temporary_folder(database.parent) as scratch:
        staged = scratch / DATABASE
        engine = create_engine(f"sqlite:///{staged}", poolclass=NullPool)
        # Nobody knows the file before it is whole, so it is flushed once and not after each table.
        event.listen(engine, "connect", lambda opened, _: opened.execute("PRAGMA synchronous=OFF"))
        event.listen(engine, "before_cursor_execute", lambda *_: answered())
        with _migrating:
            _initialize_tables(engine)
        engine.dispose()
        os.chmod(staged, 0o600)  # names and paths of people's videos
        sync(staged)
        place(staged, database, None)


def _move_aside(database: Path) -> Path:
    """Give a database, with SQLite's files beside it, a name that is not used; returns it."""
    aside = aside_name(database, "unusable")
    os.rename(database, aside)
    for companion in _COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{database}{companion}", f"{aside}{companion}")
    return aside
