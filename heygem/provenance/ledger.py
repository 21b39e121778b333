"""What was made from what, by whom and when: append-only, and any tampering shows where.

One row follows another: each holds the hash of the one before it, and is signed by the
installation's key. The newest row's number and hash are also kept in a file beside the database,
so that cutting off the end shows too. Rows are never removed: the labelling Measures (China,
art. 9) want logs of six months, and a row is some kilobytes, seventy for ten minutes of video.
"""

import contextlib
import datetime
import getpass
import hashlib
import json
import os
import sqlite3
from contextlib import closing
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from heygem.core.errors import InputError, OutputError
from heygem.core.files import sha256

START = "0" * 64  # what the first row follows
FILE = "ledger.db"
_BUSY_S = 20.0
_acting = ContextVar("user", default=None)
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


@dataclass(frozen=True)
class Entry:
    """One row.

    `kind` is what happened (`made`, `refused`, `consent`, `blocked`, `unblocked`, ...); `subject`
    the sha256 of the file it happened to, or another name; `mark_id` 16 hexadecimal digits or
    empty; `body` everything else.
    """

    number: int
    time_utc: str
    kind: str
    subject: str
    mark_id: str
    body: dict
    previous: str
    hash: str
    signature: str


@dataclass(frozen=True)
class Fault:
    """A place where the ledger is not what was written."""

    number: int
    what: str


class Ledger:
    """The record of one installation.

    Parameters
    ----------
    path : path-like, optional
        Database file, made where there is none; see `default_path`.
    keys : heygem.provenance.keys.Keys, optional
        Sign what is appended, and check signatures.
    """

    def __init__(self, path=None, *, keys=None):
        self.path = Path(path) if path is not None else default_path()
        self._keys = keys
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = not self.path.exists()
            with closing(self._open()) as db:
                db.executescript(_SCHEMA)
            if new and os.name == "posix":
                self.path.chmod(0o600)
        except (OSError, sqlite3.Error) as e:
            raise OutputError(
                "the ledger cannot be opened",
                seen=f"{self.path}: {e}",
                remedy="set HEYGEM_RECORDS to a folder you may write",
            ) from e

    def append(self, kind, subject, body, *, mark_id=None):
        """Add a row; it is on the disk when this returns.

        Parameters
        ----------
        kind, subject : str
        body : dict or callable
            Plain values; or what returns them, called while nobody else can add a row. Where it
            raises, nothing is written.
        mark_id : int, optional

        Returns
        -------
        Entry
        """
        mark = "" if mark_id is None else f"{mark_id:016x}"
        try:
            with closing(self._open()) as db:
                db.execute("BEGIN IMMEDIATE")  # nobody else adds a row between reading and writing
                text = _canonical(body() if callable(body) else body)
                last = db.execute(
                    "SELECT number, hash FROM entries ORDER BY number DESC LIMIT 1"
                ).fetchone()
                number, previous = (last[0] + 1, last[1]) if last else (1, START)
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
                digest = _hash(number, now, kind, subject, mark, text, previous)
                signature = self._keys.sign(bytes.fromhex(digest)) if self._keys else ""
                row = (number, now, kind, subject, mark, text, previous, digest, signature)
                db.execute("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?)", row)
                db.execute("COMMIT")
                # Again under the writers' lock, so that an older head never replaces a newer one.
                db.execute("BEGIN IMMEDIATE")
                newest = db.execute("SELECT number, hash FROM entries ORDER BY number DESC LIMIT 1")
                self._write_head(*newest.fetchone())
                db.execute("COMMIT")
        except (OSError, sqlite3.Error) as e:
            raise OutputError(
                "the ledger cannot be written",
                seen=f"{self.path}: {e}",
                remedy="free disk space, or check who else holds the file",
            ) from e
        return _entry(row)

    def entries(self, *, kind=None, subject=None, mark_id=None, since=None, until=None):
        """Rows in order, chosen by any of these; times as ISO 8601 text, UTC."""
        wanted, values = [], []
        for column, value in (
            ("kind =", kind),
            ("subject =", subject),
            ("mark_id =", None if mark_id is None else f"{mark_id:016x}"),
            ("time_utc >=", since),
            ("time_utc <", until),
        ):
            if value is not None:
                wanted.append(f"{column} ?")
                values.append(value)
        where = " WHERE " + " AND ".join(wanted) if wanted else ""
        with closing(self._open()) as db:
            rows = db.execute(f"SELECT * FROM entries{where} ORDER BY number", values).fetchall()
        return [_entry(row) for row in rows]

    def mark_ids(self):
        """Every mark this installation has ever written: list of int."""
        with closing(self._open()) as db:
            rows = db.execute("SELECT DISTINCT mark_id FROM entries WHERE mark_id <> ''").fetchall()
        return [int(row[0], 16) for row in rows]

    def verify(self):
        """Read every row again.

        Returns
        -------
        list of Fault
            Empty where nothing was changed, removed, put in, reordered or cut off.
        """
        faults = []
        number, previous = 0, START
        try:
            with closing(self._open()) as db:
                rows = db.execute("SELECT * FROM entries ORDER BY number").fetchall()
        except sqlite3.DatabaseError as e:
            return [Fault(0, f"the database cannot be read: {e}")]
        hashes = {}
        for row in rows:
            entry_number, *_, stated_previous, digest, signature = row
            if entry_number != number + 1:
                faults.append(Fault(entry_number, f"follows {number}: rows between are missing"))
            elif stated_previous != previous:
                faults.append(Fault(entry_number, "does not follow the row before it"))
            if _hash(*row[:7]) != digest:
                faults.append(Fault(entry_number, "was changed after it was written"))
            elif self._keys is not None:
                holds = self._keys.verify(bytes.fromhex(digest), signature)
                if holds is not True:
                    reason = "was not signed by this installation" if holds is None else "is forged"
                    faults.append(Fault(entry_number, reason))
            number, previous = entry_number, digest
            hashes[entry_number] = digest
        return faults + self._head_faults(number, hashes)

    def export(self, path, *, since=None, until=None):
        """Write rows as JSON lines, for an authority: one row a line, with its hash and signature.

        Returns
        -------
        int
            Rows written.
        """
        rows = self.entries(since=since, until=until)
        path = Path(path)
        try:
            with open(path, "x", encoding="utf-8") as f:
                for entry in rows:
                    f.write(json.dumps(vars(entry), ensure_ascii=False, sort_keys=True) + "\n")
        except FileExistsError as e:
            raise OutputError(
                "the export would overwrite a file", seen=path, remedy="give another name"
            ) from e
        except OSError as e:
            raise OutputError("the export cannot be written", seen=f"{path}: {e}") from e
        return len(rows)

    def _open(self):
        # Autocommit: transactions are begun and ended by hand, where they matter.
        db = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        db.execute("PRAGMA synchronous = FULL")
        return db

    @property
    def _head(self):
        return self.path.with_name(self.path.name + ".head")

    def _write_head(self, number, digest):
        temporary = self._head.with_name(f"{self._head.name}.part")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as f:
            f.write(f"{number} {digest}\n")
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, self._head)

    def _head_faults(self, last, hashes):
        try:
            number, digest = self._head.read_text(encoding="ascii").split()
            number = int(number)
        except FileNotFoundError:
            return [Fault(last, "the file that names the newest row is gone")] if last else []
        except (OSError, ValueError):
            return [Fault(last, "the file that names the newest row cannot be read")]
        if number > last:
            return [Fault(number, f"rows {last + 1} to {number} were cut off the end")]
        if hashes.get(number) != digest:
            return [Fault(number, "is not the row that was written under this number")]
        return []


def user():
    """Who is at work: whoever `acting_as` names, else the account that runs this."""
    named = _acting.get()
    if named is not None:
        return named
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


@contextlib.contextmanager
def acting_as(name):
    """Within it, rows name somebody else than the account; nobody else where `name` is empty."""
    token = _acting.set(name or None)
    try:
        yield
    finally:
        _acting.reset(token)


def home():
    """Where keys and ledger are: `$HEYGEM_RECORDS`, `$HEYGEM_HOME`, `~/.local/share/heygem`.

    Not among the cached models: a cache may be emptied, and these cannot be made again.
    """
    chosen = os.environ.get("HEYGEM_RECORDS") or os.environ.get("HEYGEM_HOME")
    return Path(chosen).expanduser() if chosen else Path.home() / ".local" / "share" / "heygem"


def default_path():
    """The ledger of this installation, in `home`."""
    return home() / FILE


def file_hash(path):
    """sha256 of a file's content, 64 hexadecimal digits."""
    try:
        return sha256(path)
    except OSError as e:
        raise InputError("a file cannot be read", seen=f"{path}: {e}") from e


def _canonical(body):
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _hash(*fields):
    # As JSON: no two different rows can run together into the same text.
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(row):
    return Entry(*row[:5], json.loads(row[5]), *row[6:])
