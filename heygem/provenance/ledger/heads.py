"""Signed statements of which row of the ledger is the newest.

A hash chain alone does not show that its last rows were removed. So the number and the hash of the
newest row are signed, with the time, and stored beside the database and once more in the folder of
the keys, which is not lost together with it. A copy that somebody else keeps, an *anchor*, proves
that no row up to it was changed or removed since, even against the owner of the keys.
"""

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from heygem.core.errors import InputError
from heygem.core.files import replacing
from heygem.core.types import PathLike
from heygem.provenance.ledger.rows import GENESIS_HASH, Signer, Verifier

ANCHOR_FORMAT = "heygem ledger anchor"
_PRIVATE = 0o600


@dataclass(frozen=True)
class Head:
    """Number and hash of the newest row at a time; 0 and `GENESIS_HASH` before the first.

    `public_key` and `signature` are empty in an unsigned ledger, and in a head file of the earlier
    version, which has no time either.
    """

    number: int
    hash: str
    time_utc: str = ""
    public_key: str = ""
    signature: str = ""

    @property
    def message(self) -> bytes:
        """What `signature` signs: a line that says what it is, then JSON."""
        fields = [self.number, self.hash, self.time_utc, self.public_key]
        text = json.dumps(fields, separators=(",", ":"))
        return f"{ANCHOR_FORMAT}\n{text}\n".encode()

    def to_json(self) -> str:
        """The head as JSON with its format's name."""
        return json.dumps({"format": ANCHOR_FORMAT, "version": 1} | vars(self), indent=1) + "\n"


EMPTY = Head(0, GENESIS_HASH)


def sign(number: int, digest: str, signer: Signer | None) -> Head:
    """The head of a ledger whose newest row has this number and hash, as of now."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    if signer is None:
        return Head(number, digest, now)
    head = Head(number, digest, now, signer.public_hex)
    return replace(head, signature=signer.sign(head.message))


def read(path: PathLike) -> Head | None:
    """The head in a file, None where there is no such file.

    Raises
    ------
    ValueError, OSError
        It cannot be read, or is not a head.
    """
    try:
        return parse(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def parse(text: str) -> Head:
    """The head in the text of a file, of this version or of the earlier one.

    Raises
    ------
    ValueError
        It is not a head.
    """
    if not text.startswith("{"):  # the earlier version's: number and hash
        number, digest = text.split()
        return Head(int(number), digest)
    data = json.loads(text)
    if data.pop("format", None) != ANCHOR_FORMAT or data.pop("version", None) != 1:
        raise ValueError("not a head of a ledger")
    try:
        head = Head(**data)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if not isinstance(head.number, int) or isinstance(head.number, bool):
        raise ValueError("its number is not a number")
    if not all(isinstance(v, str) for k, v in vars(head).items() if k != "number"):
        raise ValueError("a field is not text")
    return head


def read_anchor(path: PathLike) -> Head:
    """An anchor that was written by `heygem ledger anchor`.

    Raises
    ------
    InputError
        There is no such file, or it is not an anchor.
    """
    try:
        head = read(path)
    except (ValueError, OSError) as error:
        raise InputError(
            "this is not an anchor of a ledger",
            seen=f"{path}: {error}",
            remedy="give a file that `heygem ledger anchor` wrote",
        ) from error
    if head is None:
        raise InputError("no such file", seen=path, remedy="check the path")
    return head


def write(path: Path, head: Head) -> None:
    """Replace a head file, while no other process can append; only its owner can read it.

    Raises
    ------
    OSError
    """
    with replacing(path, mode=_PRIVATE) as staged:
        staged.write_text(head.to_json(), encoding="utf-8")


def newest(paths: Sequence[Path], verifier: Verifier | None) -> Head:
    """The head with the highest number of those that can be believed; `EMPTY` without any.

    One that is damaged, or signed by somebody else, is passed over: `Ledger.verify` names it. One
    of the earlier version, which is not signed, counts where there is no other.
    """
    signed: list[Head] = []
    earlier = EMPTY
    for path in paths:
        try:
            head = read(path)
        except (ValueError, OSError):
            continue
        if head is None:
            continue
        if not head.time_utc:
            earlier = head
        elif verifier is None or is_own(head, verifier):
            signed.append(head)
    return max(signed, key=lambda head: head.number, default=earlier)


def is_own(head: Head, verifier: Verifier) -> bool:
    """Whether a head is signed by this installation."""
    return verifier.verify(head.message, head.signature) is True
