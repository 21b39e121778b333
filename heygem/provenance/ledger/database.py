"""The database file of the ledger."""

import contextlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from heygem.core import disk
from heygem.core.errors import AssetError, OutputError
from heygem.core.types import PathLike
from heygem.provenance.ledger.export import write_new

_BUSY_TIMEOUT_S = 20.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
  number INTEGER PRIMARY KEY,
  time_utc TEXT NOT NULL,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  mark_id TEXT NOT NULL,
  body TEXT NOT NULL,
  previous TEXT NOT NULL,
  hash TEXT NOT NULL,
  signature TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS by_subject ON entries (subject);
CREATE INDEX IF NOT EXISTS by_mark ON entries (mark_id) WHERE mark_id <> '';
CREATE TRIGGER IF NOT EXISTS never_changed BEFORE UPDATE ON entries
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS never_removed BEFORE DELETE ON entries
  BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TABLE IF NOT EXISTS signers (
  public_key TEXT PRIMARY KEY,
  anchors TEXT NOT NULL
) STRICT;
"""


def create(path: Path) -> None:
    """Create the database where there is none; other users can never read it.

    Raises
    ------
    OutputError
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(connect(path)) as db:
            try:
                db.executescript(_SCHEMA)
            except sqlite3.OperationalError:
                # An archived ledger on a disk that is read-only; of the earlier version, perhaps.
                if os.access(path, os.W_OK):
                    raise
                db.execute("SELECT number FROM entries LIMIT 1")
    except (OSError, sqlite3.Error) as error:
        raise database_error("opened", path, error) from error


def connect(path: Path) -> sqlite3.Connection:
    """A connection on which each statement is its own transaction unless one is begun."""
    db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    db.execute("PRAGMA synchronous = FULL")
    return db


def register_signer(db: sqlite3.Connection, public_hex: str, anchors_pem: str) -> None:
    """Record the public half of the key that signs, to check rows with if the key is lost."""
    query = "SELECT 1 FROM signers WHERE public_key = ? AND anchors = ?"
    if db.execute(query, (public_hex, anchors_pem)).fetchone() is None:
        update = "ON CONFLICT (public_key) DO UPDATE SET anchors = excluded.anchors"
        db.execute(f"INSERT INTO signers VALUES (?, ?) {update}", (public_hex, anchors_pem))


def recorded_signers(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Public key [hex] and trusted roots [PEM] of every key that signed rows, oldest first."""
    try:
        return list(db.execute("SELECT public_key, anchors FROM signers ORDER BY rowid"))
    except sqlite3.OperationalError:  # the earlier version's, on a disk that is read-only
        return []


def require_newest_signer(db: sqlite3.Connection, public_hex: str) -> None:
    """Refuse a key that was replaced while this process had it loaded.

    Raises
    ------
    AssetError
    """
    newest = recorded_signers(db)[-1][0]
    if newest != public_hex:
        raise AssetError(
            "the keys were replaced while this program was running",
            seen=f"key {public_hex[:16]}; now {newest[:16]} signs",
            remedy="start it again",
        )


def copy(db: sqlite3.Connection, path: PathLike) -> None:
    """Copy an open database into a new private file.

    Raises
    ------
    OutputError
        The file exists, or cannot be written; then nothing is left.
    """
    write_new(path, "")
    try:
        with closing(sqlite3.connect(path)) as target:
            db.backup(target)
    except (OSError, sqlite3.Error) as error:
        Path(path).unlink(missing_ok=True)
        raise disk.write_error(error, path, what="the ledger cannot be copied") from error


def database_error(action: str, path: Path, error: Exception) -> OutputError:
    """The error for a ledger that cannot be opened, read or written."""
    what = f"the ledger cannot be {action}"
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        remedy = "check which program locks the file"
    elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        remedy = "put a backup in its place; `heygem ledger verify` names the rows that it lacks"
    else:
        return disk.write_error(error, path, what=what, place="records")
    return OutputError(what, seen=f"{path}: {error}", remedy=remedy)
