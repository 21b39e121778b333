"""The database file of the queue: its tables, transactions, and errors in the user's terms.

SQLite in WAL mode: readers do not wait for the writer. `synchronous` is FULL, so that an item that
`add` has returned, or that was recorded as done, is still there after a power cut; a transaction
then costs one fsync, and the most frequent ones (heartbeats) come once a second and worker.

A connection belongs to one thread of one process, and to one file: where another process has set a
damaged database aside, the next transaction opens the new one.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

from heygem.batch.queue.relocation import adopt_jobs
from heygem.core import disk
from heygem.core.errors import HeygemError
from heygem.core.files import file_id, locked
from heygem.core.folders import make_private_folder

T = TypeVar("T")

SCHEMA = 1
BUSY_TIMEOUT_S = 20.0
PATH_VARIABLE = "HEYGEM_QUEUE"

_NETWORK = ("nfs", "cifs", "smb", "afs", "ncp", "fuse.sshfs", "fuse.glusterfs")
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_TABLES = """
CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  batch TEXT NOT NULL,
  owner TEXT NOT NULL,
  priority INTEGER NOT NULL,
  position REAL NOT NULL,
  created REAL NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'running', 'done', 'failed', 'cancelled')),
  attempts INTEGER NOT NULL DEFAULT 0,
  losses INTEGER NOT NULL DEFAULT 0,
  not_before REAL NOT NULL DEFAULT 0,
  worker TEXT NOT NULL DEFAULT '',
  process TEXT NOT NULL DEFAULT '',
  beat INTEGER NOT NULL DEFAULT 0,
  stopping INTEGER NOT NULL DEFAULT 0,
  name TEXT NOT NULL,
  title TEXT NOT NULL,
  video TEXT NOT NULL,
  audio TEXT NOT NULL,
  text TEXT NOT NULL,
  output TEXT NOT NULL,
  folder TEXT NOT NULL,
  length_s REAL NOT NULL,
  identity TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL DEFAULT '',
  history TEXT NOT NULL DEFAULT '',
  warnings TEXT NOT NULL DEFAULT '',
  progress TEXT NOT NULL DEFAULT '',
  timings TEXT NOT NULL DEFAULT '',
  smaller TEXT NOT NULL DEFAULT '',
  seconds REAL NOT NULL DEFAULT 0,
  started REAL NOT NULL DEFAULT 0,
  finished REAL NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS recipes (number INTEGER PRIMARY KEY, params TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS owners (name TEXT PRIMARY KEY, served INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS workers (
  id TEXT PRIMARY KEY,
  process TEXT NOT NULL,
  beat INTEGER NOT NULL,
  busy INTEGER NOT NULL,
  leaving INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS events (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  time REAL NOT NULL,
  job TEXT NOT NULL,
  kind TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS by_turn ON jobs (state, owner, priority DESC, position, number);
CREATE INDEX IF NOT EXISTS by_place ON jobs (position, number);
CREATE INDEX IF NOT EXISTS by_batch ON jobs (batch, state);
CREATE INDEX IF NOT EXISTS by_output ON jobs (output);
CREATE INDEX IF NOT EXISTS by_job ON events (job, number);
"""


class QueueError(HeygemError):
    """The queue's database cannot be opened, read or written."""

    code = "QUEUE"


class DamagedDatabase(Exception):
    """The file is no database any more, or a part of it cannot be read."""


class Database:
    """The file, and the connections of this process to it.

    Parameters
    ----------
    path : Path
    rebuild : callable
        `rebuild(path)` sets a damaged file aside and puts a new one in its place.
    """

    def __init__(self, path: Path, rebuild: Callable[[Path], None]) -> None:
        self.path = path
        self._rebuild = rebuild
        self._local = threading.local()
        self._checked_file: tuple[int, int] | None = None

    def read(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Call a function that reads, within one transaction; what it sees fits together."""
        return self._call("BEGIN", action)

    def write(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Call a function that writes; all of it is stored, or after an error nothing.

        Raises
        ------
        QueueError
            The disk is full or read-only, or another program holds the database.
        """
        return self._call("BEGIN IMMEDIATE", action)

    def _call(self, begin: str, action: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return self._attempt(begin, action)
        except DamagedDatabase:
            self.close()
            self._rebuild(self.path)
        try:
            return self._attempt(begin, action)
        except DamagedDatabase as error:
            raise QueueError("the queue's database is damaged", seen=self.path) from error

    def _attempt(self, begin: str, action: Callable[[sqlite3.Connection], T]) -> T:
        try:
            db = self._connection()
            db.execute(begin)
            try:
                result = action(db)
                db.execute("COMMIT")
                return result
            except BaseException:
                if db.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                raise DamagedDatabase from error
            raise queue_error(error, self.path) from error

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection to the file that has the name now."""
        held = getattr(self._local, "held", None)
        if held is not None and held[0] == os.getpid() and held[1] == file_id(self.path):
            connection: sqlite3.Connection = held[2]
            return connection
        self.close()
        is_new = file_id(self.path) is None
        if is_new:
            refuse_network_folder(self.path)
            make_private_folder(self.path.parent)
            _make_private_file(self.path)
        with opening(self.path):
            opened = connect(self.path)
            number = file_id(self.path)
            try:
                if number != self._checked_file:
                    _prepare(opened, self.path)
                    self._checked_file = number
            except BaseException:
                opened.close()
                raise
        self._local.held = (os.getpid(), number, opened)
        return opened

    def close(self) -> None:
        """Close this thread's connection."""
        held = getattr(self._local, "held", None)
        self._local.held = None
        if held is not None and held[0] == os.getpid():
            held[2].close()


def opening(path: Path, *, exclusive: bool = False) -> contextlib.AbstractContextManager[None]:
    """Nobody puts another file in the place of the database (`exclusive`) while one opens it."""
    return locked(path.with_name(f".{path.name}.lock"), shared=not exclusive)


def connect(path: Path) -> sqlite3.Connection:
    """A connection on which each statement is its own transaction unless one is begun."""
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA synchronous = FULL")
    return db


def create(path: Path) -> None:
    """Make an empty database."""
    _make_private_file(path)
    db = connect(path)
    try:
        _prepare(db, path)
    finally:
        db.close()


def _make_private_file(path: Path) -> None:
    """Names of people's files are in it: other users can never read it."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Check a file that this process has not looked at yet, and make its tables.

    A log that is left beside it means that a process was killed, or is at work: whether all pages
    are in order is then read, which takes 50 ms for thousands of items.
    """
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        problems = [row[0] for row in db.execute("PRAGMA quick_check(3)")]
        if problems != ["ok"]:
            raise DamagedDatabase("; ".join(problems))
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise QueueError(
            "the queue's database cannot be shared by several processes in this folder",
            seen=path,
            remedy=f"set {PATH_VARIABLE} to a file on a local disk",
        )
    db.executescript(_TABLES)
    row = db.execute("SELECT value FROM facts WHERE key = 'schema'").fetchone()
    if row is None:
        db.execute("INSERT OR IGNORE INTO facts VALUES ('schema', ?)", (str(SCHEMA),))
    elif int(row[0]) > SCHEMA:
        raise QueueError(
            "the queue's database was made by a later version of heygem",
            seen=f"{path}: schema {row[0]}, this version knows {SCHEMA}",
            remedy="install that version, or name another file with HEYGEM_QUEUE",
        )
    adopt_jobs(db, path)


def refuse_network_folder(path: Path) -> None:
    """Refuse a file on a network file system: SQLite's shared memory does not reach other machines.

    Raises
    ------
    QueueError
    """
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    folder = folder.resolve()
    mounts = [
        part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)
    ]
    kind = max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else ""
    if kind.startswith(_NETWORK):
        raise QueueError(
            "the queue's database cannot be in a network folder",
            seen=f"{path} ({kind})",
            remedy=f"set {PATH_VARIABLE} to a file on a disk of the machine that runs the workers; "
            "inputs and results may be in network folders",
        )


def queue_error(error: Exception, path: Path) -> HeygemError:
    """The error for a queue that cannot be opened, read or written."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return QueueError(
            "another program holds the queue's database",
            seen=path,
            remedy="wait for it, or find out which one: fuser or lsof with this file",
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return QueueError(
            "the queue's database cannot be opened",
            seen=path,
            remedy=f"check that its folder is there and can be written, or set {PATH_VARIABLE} to "
            "another file",
        )
    what = "the queue cannot be written"
    disk_error = disk.write_error(error, path, what=what, place="output")
    remedy = (disk_error.remedy or "").replace(
        "give another folder with --out (inputs.output)",
        f"set {PATH_VARIABLE} to a file elsewhere",
    )
    return QueueError(disk_error.what, seen=disk_error.seen, remedy=remedy)
