"""An append-only record of what was made from what, by whom and when; any tampering is detected.

The rows form a hash chain: each holds the hash of the row before it, and is signed by the
installation's key. The newest row's number and hash are signed as well, and stored beside the
database and with the keys, so that truncation is detected too (`heygem.provenance.ledger.heads`).
Rows are never removed: the labelling Measures (China, art. 9) require logs of six months, and a row
takes some kilobytes, seventy for ten minutes of video.

A result has two rows: `begun` before its first frame is rendered, with the content number and the
watermark id that it will carry, and `made` with the hash of the finished file, or `abandoned`. A
`begun` row alone is a run that was killed; its file, if there is one, can still be attributed.
"""

import contextlib
import datetime
import getpass
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import psutil

from heygem.core.errors import AssetError, OutputError
from heygem.core.leftovers import remove_leftovers
from heygem.core.types import PathLike
from heygem.provenance import installation
from heygem.provenance.ledger import database as ledger_database
from heygem.provenance.ledger import export as ledger_export
from heygem.provenance.ledger import heads as ledger_heads
from heygem.provenance.ledger.check import (
    ABANDONED,
    BEGUN,
    MADE,
    check_head,
    check_heads,
    check_rows,
    may_end_run,
)
from heygem.provenance.ledger.database import database_error
from heygem.provenance.ledger.heads import Head
from heygem.provenance.ledger.rows import (
    GENESIS_HASH,
    Entry,
    Fault,
    Signer,
    Verifier,
    canonical_json,
    hash_fields,
    hex_id,
    parse_row,
)

FILE_NAME = "ledger.db"
_current_user: ContextVar[str | None] = ContextVar("user", default=None)
_FROM_NEWEST = "FROM entries ORDER BY number DESC LIMIT 1"
_NEWEST_ROW = f"SELECT number, hash {_FROM_NEWEST}"


class Ledger:
    """The record of one installation.

    Parameters
    ----------
    path
        Database file, created if missing; by default `default_path`.
    keys
        `heygem.provenance.keys.Keys` sign what is appended, and check signatures; `PublicKeys`
        check signatures alone, and nothing can be appended with them.

    Raises
    ------
    OutputError
        The database cannot be opened or created.
    """

    def __init__(self, path: PathLike | None = None, *, keys: Verifier | None = None) -> None:
        self.path = Path(path) if path is not None else default_path()
        self._keys = keys
        for head in self._head_paths():
            if head is not None:
                remove_leftovers(head.parent)
        ledger_database.create(self.path)

    def append(
        self,
        kind: str,
        subject: str,
        body: dict[str, Any] | Callable[[], dict[str, Any]],
        *,
        watermark_id: int | None = None,
    ) -> Entry:
        """Append a row; it is on the disk when this returns.

        Where rows were cut off the end, the new row continues after the number in the signed head:
        no number is used twice, and `verify` names the gap for ever.

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
        AssetError
            The keys to sign with are missing, or another process replaced them.
        """
        signer = self._require_signer()
        watermark = hex_id(watermark_id)
        try:
            with closing(self._connect()) as db:
                db.execute("BEGIN IMMEDIATE")  # no other writer between reading and writing
                text = canonical_json(body() if callable(body) else body)
                number, previous = self._newest(db)
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
                fields = (number + 1, now, kind, subject, watermark, text, previous)
                digest = hash_fields(*fields)
                signature = signer.sign(bytes.fromhex(digest)) if signer else ""
                row = (*fields, digest, signature)
                db.execute("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?,?)", row)
                if signer is not None:
                    ledger_database.register_signer(db, signer.public_hex, signer.anchors_pem)
                    if not may_end_run(kind, text):
                        ledger_database.require_newest_signer(db, signer.public_hex)
                db.execute("COMMIT")
                # Again under the writers' lock, so that an older head never replaces a newer one.
                db.execute("BEGIN IMMEDIATE")
                self._write_heads(*db.execute(_NEWEST_ROW).fetchone())
                db.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise database_error("written", self.path, error) from error
        return parse_row(row)

    def begin(
        self, produce_id: str, body: dict[str, Any], *, watermark_id: int | None = None
    ) -> Entry:
        """Record that a result is about to be rendered.

        Parameters
        ----------
        produce_id
            The content number that its metadata will carry.
        body
            What is known of it before: title, sources.
        watermark_id
        """
        process = psutil.Process()
        facts = {
            "produce_id": produce_id,
            "user": current_user(),
            "process": {"id": process.pid, "started_s": process.create_time()},
        }
        return self.append(BEGUN, produce_id, facts | body, watermark_id=watermark_id)

    def finish(
        self,
        begun: Entry | None,
        sha256: str,
        body: dict[str, Any],
        *,
        watermark_id: int | None = None,
    ) -> Entry:
        """Record the finished file of a run.

        Parameters
        ----------
        begun
            Of `begin`; None where nothing was recorded before.
        sha256
            Of the file.
        body
            Labels, fingerprint, sources and settings.
        watermark_id
            As given to `begin`.
        """
        if begun is not None:
            body = body | {"begun": begun.number}
        return self.append(MADE, sha256, body, watermark_id=watermark_id)

    def abandon(self, begun: Entry, reason: str) -> Entry:
        """Record that a run ended without a result: an error, or the user stopped it."""
        return self.append(ABANDONED, begun.subject, {"begun": begun.number, "reason": reason})

    def unfinished(self) -> list[Entry]:
        """Rows of runs without an end: still running (see `ledger_rows.is_running`), or killed."""
        ends = self.entries(kind=MADE) + self.entries(kind=ABANDONED)
        ended = {entry.body.get("begun") for entry in ends}
        return [entry for entry in self.entries(kind=BEGUN) if entry.number not in ended]

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
            ("mark_id = ?", None if watermark_id is None else hex_id(watermark_id)),
            ("time_utc >= ?", since),
            ("time_utc < ?", until),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        where = " WHERE " + " AND ".join(conditions) if conditions else ""
        query = f"SELECT * FROM entries{where} ORDER BY number"
        return [parse_row(row) for row in self._select(query, values)]

    def newest(self) -> Entry | None:
        """The row with the highest number; None in an empty ledger.

        Raises
        ------
        OutputError
            The database is damaged.
        """
        rows = self._select(f"SELECT * {_FROM_NEWEST}")
        return parse_row(rows[0]) if rows else None

    def watermark_ids(self) -> list[int]:
        """Every watermark id that this installation has embedded, finished results or not."""
        rows = self._select("SELECT DISTINCT mark_id FROM entries WHERE mark_id <> ''")
        return [int(row[0], 16) for row in rows]

    def signing_names(self) -> list[str]:
        """Names of the keys that signed rows, in the order of their last row."""
        name = f"substr(signature, {len('ed25519:') + 1}, 16)"
        query = f"SELECT {name} FROM entries WHERE signature <> '' GROUP BY 1 ORDER BY max(number)"
        return [row[0] for row in self._select(query)]

    def verify(self, anchors: Sequence[tuple[str, Head]] = ()) -> list[Fault]:
        """Check every row; empty if none was changed, removed, inserted, reordered or cut off.

        Parameters
        ----------
        anchors
            Names and contents of anchors that were stored elsewhere.
        """
        try:
            with closing(self._connect()) as db:
                rows = db.execute("SELECT * FROM entries ORDER BY number").fetchall()
        except sqlite3.DatabaseError as error:
            return [Fault(0, f"the database cannot be read: {error}")]
        faults = check_rows(rows, self._keys)
        faults += check_heads(rows, *self._head_paths(), self._keys)
        for name, head in anchors:
            faults += check_head(head, rows, self._keys, name=name)
        return faults

    def consent_basis(self, stated: str | None) -> str:
        """The basis for showing a person that holds here; see `installation.consent_basis`."""
        return installation.consent_basis(self.path.parent, stated)

    def anchor(self) -> Head:
        """The head of the ledger as of now, signed; to be stored by somebody else.

        Raises
        ------
        AssetError
            The keys to sign with are missing.
        OutputError
            There is no row yet.
        """
        signer = self._require_signer()
        newest = self.newest()
        if newest is None:
            raise OutputError("the ledger has no row yet", seen=self.path)
        return ledger_heads.sign(newest.number, newest.hash, signer)

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
        ledger_export.write(path, entries)
        return len(entries)

    def backup(self, path: PathLike) -> None:
        """Copy the database while others may be appending to it; nothing is overwritten.

        Raises
        ------
        OutputError
        """
        with closing(self._connect()) as db:
            ledger_database.copy(db, path)

    def recorded_signers(self) -> list[tuple[str, str]]:
        """Public key [hex] and trusted roots [PEM] of every key that signed rows here."""
        with closing(self._connect()) as db:
            return ledger_database.recorded_signers(db)

    def _select(self, query: str, values: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        try:
            with closing(self._connect()) as db:
                return db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise database_error("read", self.path, error) from error

    def _connect(self) -> sqlite3.Connection:
        return ledger_database.connect(self.path)

    def _require_signer(self) -> Signer | None:
        """The keys that sign rows; None in a ledger that is not signed."""
        if self._keys is None or isinstance(self._keys, Signer):
            return self._keys
        raise AssetError(
            "the keys that sign the ledger are missing",
            seen=self.path,
            remedy="restore them with `heygem keys restore BACKUP`",
        )

    def _newest(self, db: sqlite3.Connection) -> tuple[int, str]:
        """Number and hash of the row that a new one follows."""
        row = db.execute(_NEWEST_ROW).fetchone() or (0, GENESIS_HASH)
        head = self.newest_head()
        return (head.number, head.hash) if head.number > row[0] else row

    def newest_head(self) -> Head:
        """The stored head with the highest number, which may be ahead of the rows."""
        paths = [path for path in self._head_paths() if path is not None]
        return ledger_heads.newest(paths, self._keys)

    def _head_paths(self) -> tuple[Path, Path | None]:
        """Head files: beside the database, and with the keys where that folder can be written."""
        name = self.path.name + ".head"
        folder = self._keys.folder if isinstance(self._keys, Signer) else None
        is_usable = folder is not None and os.access(folder, os.W_OK)
        return self.path.with_name(name), folder / name if folder and is_usable else None

    def _write_heads(self, number: int, digest: str) -> None:
        head = ledger_heads.sign(number, digest, self._require_signer())
        for path in self._head_paths():
            if path is not None:
                ledger_heads.write(path, head)


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
