"""An append-only record of what was made from what, by whom and when; any tampering is detected.

The rows form a hash chain: each holds the hash of the row before it, and is signed by the
installation's key. The newest row's number and hash are also written to a file beside the
database, so that truncation is detected too. Rows are never removed: the labelling Measures (China,
art. 9) require logs of six months, and a row takes some kilobytes, seventy for ten minutes of
video.
"""

import contextlib
import datetime
import getpass
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from contextvars import ContextVar
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Protocol

from heygem.core.errors import OutputError
from heygem.core.files import replacing
from heygem.core.types import PathLike

GENESIS_HASH = "0" * 64  # the `previous` of the first row
FILE_NAME = "ledger.db"
_BUSY_TIMEOUT_S = 20.0
_current_user: ContextVar[str | None] = ContextVar("user", default=None)
# Column names are part of the stored format: existing ledgers have them.
_COLUMNS = (
    "number", "time_utc", "kind", "subject", "mark_id", "body", "previous", "hash", "signature",
)  # fmt: skip
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
"""


class Signer(Protocol):
    """Signs messages and checks signatures; `heygem.provenance.keys.Keys` is one."""

    def sign(self, message: bytes, /) -> str:
        """A signature over `message`, with the name of the key."""

    def verify(self, message: bytes, signature: str, /) -> bool | None:
        """Whether `signature` is this key's over `message`; None for another key's."""


@dataclass(frozen=True)
class Entry:
    """One row.

    `kind` is the event (`made`, `refused`, `consent`, `blocked`, `unblocked`, ...); `subject` the
    sha256 of the file concerned, or another name; `watermark_id` 16 hexadecimal digits or empty;
    `body` everything else.
    """

    number: int
    time_utc: str
    kind: str
    subject: str
    watermark_id: str
    body: dict[str, Any]
    previous: str
    hash: str
    signature: str


@dataclass(frozen=True)
class Fault:
    """A row at which the ledger differs from what was written: its number, and the problem."""

    number: int
    problem: str


class Ledger:
    """The record of one installation.

    Parameters
    ----------
    path
        Database file, created if missing; by default `default_path`.
    keys
        Sign what is appended, and check signatures.

    Raises
    ------
    OutputError
        The database cannot be opened or created.
    """

    def __init__(self, path: PathLike | None = None, *, keys: Signer | None = None) -> None:
        self.path = Path(path) if path is not None else default_path()
        self._keys = keys
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            is_new = not self.path.exists()
            with closing(self._connect()) as db:
                db.executescript(_SCHEMA)
            if is_new and os.name == "posix":
                self.path.chmod(0o600)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                "the ledger cannot be opened",
                seen=f"{self.path}: {error}",
                remedy="set HEYGEM_RECORDS to a folder you may write",
            ) from error

    def append(
        self,
        kind: str,
        subject: str,
        body: dict[str, Any] | Callable[[], dict[str, Any]],
        *,
        watermark_id: int | None = None,
    ) -> Entry:
        """Append a row; it is on the disk when this returns.

        Parameters
        ----------
        kind, subject
        body
            Plain values; or a function that returns them, called while no other writer can append.
            If it raises, nothing is written.
        watermark_id

        Raises
        ------
        OutputError
            The database cannot be written, or stays locked.
        """
        watermark = _hex_id(watermark_id)
        newest_row = "SELECT number, hash FROM entries ORDER BY number DESC LIMIT 1"
        try:
            with closing(self._connect()) as db:
                db.execute("BEGIN IMMEDIATE")  # no other writer between reading and writing
                text = _canonical_json(body() if callable(body) else body)
                last = db.execute(newest_row).fetchone()
                number, previous = (last[0] + 1, last[1]) if last else (1, GENESIS_HASH)
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
                digest = _hash_fields(number, now, kind, subject, watermark, text, previous)
                signature = self._keys.sign(bytes.fromhex(digest)) if self._keys else ""
                row = (number, now, kind, subject, watermark, text, previous, digest, signature)
                db.execute("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?)", row)
                db.execute("COMMIT")
                # Again under the writers' lock, so that an older head never replaces a newer one.
                db.execute("BEGIN IMMEDIATE")
                self._write_head(*db.execute(newest_row).fetchone())
                db.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                "the ledger cannot be written",
                seen=f"{self.path}: {error}",
                remedy="free disk space, or check which program locks the file",
            ) from error
        return _entry(row)

    def entries(
        self,
        *,
        kind: str | None = None,
        subject: str | None = None,
        watermark_id: int | None = None,
        since: str | None = None,
        until: str | None = None,
    ) -> list[Entry]:
        """Rows in order that match all of these; times are ISO 8601 text, UTC; `until` excluded."""
        conditions: list[str] = []
        values: list[str] = []
        for condition, value in (
            ("kind = ?", kind),
            ("subject = ?", subject),
            ("mark_id = ?", None if watermark_id is None else _hex_id(watermark_id)),
            ("time_utc >= ?", since),
            ("time_utc < ?", until),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        where = " WHERE " + " AND ".join(conditions) if conditions else ""
        with closing(self._connect()) as db:
            rows = db.execute(f"SELECT * FROM entries{where} ORDER BY number", values).fetchall()
        return [_entry(row) for row in rows]

    def watermark_ids(self) -> list[int]:
        """Every watermark id that this installation has embedded."""
        with closing(self._connect()) as db:
            rows = db.execute("SELECT DISTINCT mark_id FROM entries WHERE mark_id <> ''").fetchall()
        return [int(row[0], 16) for row in rows]

    def verify(self) -> list[Fault]:
        """Check every row; empty if none was changed, removed, inserted, reordered or cut off."""
        faults = []
        number, previous = 0, GENESIS_HASH
        try:
            with closing(self._connect()) as db:
                rows = db.execute("SELECT * FROM entries ORDER BY number").fetchall()
        except sqlite3.DatabaseError as error:
            return [Fault(0, f"the database cannot be read: {error}")]
        hashes = {}
        for row in rows:
            entry_number, *_, stated_previous, digest, signature = row
            if entry_number != number + 1:
                faults.append(Fault(entry_number, f"follows {number}: rows between are missing"))
            elif stated_previous != previous:
                faults.append(Fault(entry_number, "does not follow the row before it"))
            if _hash_fields(*row[:7]) != digest:
                faults.append(Fault(entry_number, "was changed after it was written"))
            elif self._keys is not None:
                is_valid = self._keys.verify(bytes.fromhex(digest), signature)
                if is_valid is None:
                    faults.append(Fault(entry_number, "was not signed by this installation"))
                elif not is_valid:
                    faults.append(Fault(entry_number, "is forged"))
            number, previous = entry_number, digest
            hashes[entry_number] = digest
        return faults + self._verify_head(number, hashes)

    def export(self, path: PathLike, *, since: str | None = None, until: str | None = None) -> int:
        """Write rows as JSON lines, for an authority: each with its hash and signature.

        Returns
        -------
        int
            Number of rows written.

        Raises
        ------
        OutputError
            The file exists, or cannot be written.
        """
        entries = self.entries(since=since, until=until)
        try:
            with open(path, "x", encoding="utf-8") as f:
                for entry in entries:
                    row = dict(zip(_COLUMNS, astuple(entry), strict=True))
                    f.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
        except FileExistsError as error:
            raise OutputError(
                "the export would overwrite a file", seen=path, remedy="give another name"
            ) from error
        except OSError as error:
            raise OutputError("the export cannot be written", seen=f"{path}: {error}") from error
        return len(entries)

    def _connect(self) -> sqlite3.Connection:
        # Autocommit: `append` begins and ends its transactions explicitly.
        db = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        db.execute("PRAGMA synchronous = FULL")
        return db

    @property
    def _head(self) -> Path:
        return self.path.with_name(self.path.name + ".head")

    def _write_head(self, number: int, digest: str) -> None:
        with replacing(self._head, mode=0o600) as staged:
            staged.write_text(f"{number} {digest}\n", encoding="ascii")

    def _verify_head(self, last: int, hashes: dict[int, str]) -> list[Fault]:
        """Compare the head file with the newest row, number `last`."""
        try:
            text, digest = self._head.read_text(encoding="ascii").split()
            number = int(text)
        except FileNotFoundError:
            return [Fault(last, "the file that names the newest row is missing")] if last else []
        except (OSError, ValueError):
            return [Fault(last, "the file that names the newest row cannot be read")]
        if number > last:
            return [Fault(number, f"rows {last + 1} to {number} were cut off the end")]
        if hashes.get(number) != digest:
            return [Fault(number, "is not the row that was written under this number")]
        return []


def current_user() -> str:
    """The user that rows name: set by `acting_as`, else the account of this process."""
    name = _current_user.get()
    if name is not None:
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


@contextlib.contextmanager
def acting_as(name: str | None) -> Iterator[None]:
    """Rows written inside name this user; the account of the process if `name` is empty."""
    token = _current_user.set(name or None)
    try:
        yield
    finally:
        _current_user.reset(token)


def home() -> Path:
    """Folder of keys and ledger: `$HEYGEM_RECORDS`, `$HEYGEM_HOME`, `~/.local/share/heygem`.

    Separate from the cached models: a cache may be emptied, and these cannot be recreated.
    """
    configured = os.environ.get("HEYGEM_RECORDS") or os.environ.get("HEYGEM_HOME")
    return Path(configured).expanduser() if configured else Path.home() / ".local/share/heygem"


def default_path() -> Path:
    """The ledger of this installation, in `home`."""
    return home() / FILE_NAME


def _hex_id(watermark_id: int | None) -> str:
    return "" if watermark_id is None else f"{watermark_id:016x}"


def _canonical_json(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _hash_fields(*fields: int | str) -> str:
    # Hashed as JSON, so that no two different rows have the same text.
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(row: tuple[Any, ...]) -> Entry:
    number, time_utc, kind, subject, watermark_id, body, previous, digest, signature = row
    body = json.loads(body)
    return Entry(number, time_utc, kind, subject, watermark_id, body, previous, digest, signature)
