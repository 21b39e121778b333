"""Rows of the ledger: how they are stored, their hashes, and who signs them."""

import hashlib
import json
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from heygem.core import leftovers

GENESIS_HASH = "0" * 64  # the `previous` of the first row
# Column names are part of the stored format: existing ledgers have them.
COLUMNS = (
    "number", "time_utc", "kind", "subject", "mark_id", "body", "previous", "hash", "signature",
)  # fmt: skip


class Verifier(Protocol):
    """Checks signatures of this installation; `heygem.provenance.keys.PublicKeys` is one."""

    def verify(self, message: bytes, signature: str, /) -> bool | None:
        """Whether `signature` is this installation's over `message`; None for another's."""


@runtime_checkable
class Signer(Verifier, Protocol):
    """Signs messages and checks signatures; `heygem.provenance.keys.Keys` is one."""

    @property
    def folder(self) -> Path:
        """Where the keys are stored."""

    @property
    def public_hex(self) -> str:
        """The public half of the signing key, 64 hexadecimal digits."""

    @property
    def anchors_pem(self) -> str:
        """The roots of certificates that this installation trusts."""

    def sign(self, message: bytes, /) -> str:
        """A signature over `message`, with the name of the key."""


@dataclass(frozen=True)
class Entry:
    """One row.

    `kind` is the event (`begun`, `made`, `abandoned`, `refused`, `consent`, `blocked`,
    `unblocked`, ...); `subject` the sha256 of the file concerned, or another name; `watermark_id`
    16 hexadecimal digits or empty; `body` everything else.
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

    @property
    def key_name(self) -> str:
        """Name of the key that signed the row; empty for a row without a signature."""
        return signing_key_name(self.signature)

    def to_dict(self) -> dict[str, Any]:
        """The row by column name, as exported."""
        return dict(zip(COLUMNS, astuple(self), strict=True))


@dataclass(frozen=True)
class Fault:
    """A row at which the ledger differs from what was written: its number, and the problem."""

    number: int
    problem: str


def parse_row(row: tuple[Any, ...]) -> Entry:
    """The entry in a row of the database; its body is empty where it was damaged (see `verify`)."""
    number, time_utc, kind, subject, watermark_id, text, previous, digest, signature = row
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    body = body if isinstance(body, dict) else {}
    return Entry(number, time_utc, kind, subject, watermark_id, body, previous, digest, signature)


def canonical_json(body: dict[str, Any]) -> str:
    """JSON of a row's body, the same for equal bodies."""
    return storable(json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")))


def storable(text: str) -> str:
    """JSON text with lone surrogates escaped: they stand for bytes of names that are not UTF-8.

    Databases and files refuse them; JSON reads its escape as the same character.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def hash_fields(*fields: int | str) -> str:
    """sha256 [hex] of a row: number, time, kind, subject, watermark id, body, previous hash.

    Hashed as JSON, so that no two different rows have the same text.
    """
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def hex_id(watermark_id: int | None) -> str:
    """A watermark id as rows hold it."""
    return "" if watermark_id is None else f"{watermark_id:016x}"


def signing_key_name(signature: str) -> str:
    """Name of the key in `ed25519:<key name>:<signature>`; empty for other text."""
    parts = signature.split(":")
    return parts[1] if len(parts) == 3 and parts[0] == "ed25519" else ""


def is_running(begun: Entry) -> bool:
    """Whether the process that began a run on this machine still works."""
    process = begun.body.get("process", {})
    return bool(process) and leftovers.is_running(process["id"], process["started_s"])
