"""One ledger for all machines: the head appends its rows and signs; nodes ask it to.

The ledger is a chain in which each row holds the hash of the row before it. Several ledgers that
are merged later would be several chains, and until the merge nobody could tell whether a node's
rows are all there. So one process on the head, beside the queue, is the only writer. It also holds
the private keys: a node gets the public halves and the watermark's secret, which it needs for every
frame, and has labels and Content Credentials signed. What it may have signed and appended is
limited to what making an item needs.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import psutil
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from heygem.core.errors import HeygemError, OutputError, PolicyError
from heygem.provenance import binding, keys, ledger
from heygem.provenance.keys import Keys
from heygem.provenance.ledger import Entry, Ledger
from heygem.provenance.ledger.check import ABANDONED, BEGUN, MADE

#: Rows that making an item may append; blocks, withdrawals and changes of keys are the head's own.
ITEM_ROWS = frozenset({BEGUN, MADE, ABANDONED, "refused", "consent", "likeness"})
_COSE_SIGNATURE = b"\x84\x6aSignature1"  # how every message begins that Content Credentials sign
_METHODS = frozenset({"facts", "append", "entries", "consent_basis", "sign_label", "sign_c2pa"})

#: Calls a method of `Records` on the head: `ask(name, *arguments, **named)`.
Ask = Callable[..., Any]


class HeadError(HeygemError):
    """The head, which holds ledger and keys, does not answer; the item is tried again."""

    code = "HEAD"


class Records:
    """Ledger and keys of the head, for the nodes.

    Parameters
    ----------
    folder : str, optional
        Folder of ledger and keys; default: this installation's.
    """

    def __init__(self, folder: str | None = None) -> None:
        home = Path(folder) if folder is not None else ledger.home()
        self._keys = keys.ensure(home / "keys")
        self._ledger = Ledger(home / ledger.FILE_NAME, keys=self._keys)
        process = psutil.Process()
        self._process = {"id": process.pid, "started_s": process.create_time()}

    def answer(
        self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[Any, HeygemError | None]:
        """The result of a method, or the error that it raised.

        Errors are returned and not raised, since Ray wraps what is raised into classes of its own.
        """
        if method not in _METHODS:
            return None, PolicyError("nodes may not ask this of the head", seen=method)
        try:
            return getattr(self, method)(*arguments, **named), None
        except HeygemError as error:
            return None, error

    def facts(self) -> dict[str, Any]:
        """What a node needs to know: certificates, public keys, watermark secrets."""
        own = self._keys
        return {
            "folder": str(own.folder),
            "chain_pem": own.chain_pem,
            "anchors_pem": own.anchors_pem,
            "watermark_secret": own.watermark_secret,
            "watermark_secrets": own.watermark_secrets,
            "public": own.public,
            "ledger": str(self._ledger.path),
            "process": self._process,
        }

    def append(
        self, kind: str, subject: str, body: dict[str, Any], *, watermark_id: int | None = None
    ) -> Entry:
        """Append a row that making an item needs."""
        if kind not in ITEM_ROWS:
            raise PolicyError("nodes may not append this kind of row", seen=kind)
        return self._ledger.append(kind, subject, body, watermark_id=watermark_id)

    def entries(self, **conditions: Any) -> list[Entry]:
        """Rows; see `Ledger.entries`."""
        return self._ledger.entries(**conditions)

    def consent_basis(self, stated: str | None) -> str:
        """The basis that holds by the rules of this installation."""
        return self._ledger.consent_basis(stated)

    def sign_label(self, message: bytes) -> bytes:
        """The signature under a label that is bound to a file's content."""
        if not message.startswith(binding.DOMAIN):
            raise PolicyError("nodes may have labels signed, and nothing else")
        return self._keys.signer.sign(message)

    def sign_c2pa(self, message: bytes) -> bytes:
        """The signature of Content Credentials, ECDSA in DER."""
        if not message.startswith(_COSE_SIGNATURE):
            raise PolicyError("nodes may have Content Credentials signed, and nothing else")
        return self._keys.c2pa_key.sign(message, ec.ECDSA(hashes.SHA256()))


class HeadLedger(Ledger):
    """The head's ledger as a node sees it: rows can be read and appended, the file is not here.

    Parameters
    ----------
    ask : callable
        See `Ask`.
    facts : dict
        Of `Records.facts`.
    """

    def __init__(self, ask: Ask, facts: dict[str, Any]) -> None:
        self.path = Path(facts["ledger"])
        self._keys = facts["public"]
        self._ask = ask
        self._process = facts["process"]

    def append(
        self,
        kind: str,
        subject: str,
        body: dict[str, Any] | Callable[[], dict[str, Any]],
        *,
        watermark_id: int | None = None,
    ) -> Entry:
        """As `Ledger.append`; it is on the head's disk when this returns."""
        if callable(body):
            raise TypeError("a function cannot run under the lock of a ledger on another machine")
        return self._ask("append", kind, subject, body, watermark_id=watermark_id)

    def begin(
        self, produce_id: str, body: dict[str, Any], *, watermark_id: int | None = None
    ) -> Entry:
        """As `Ledger.begin`; the process is the head's, whose end is that of all runs on nodes."""
        facts = {
            "produce_id": produce_id,
            "user": ledger.current_user(),
            "process": self._process,
            "node": {"host": socket.gethostname(), "process": os.getpid()},
        }
        return self.append(BEGUN, produce_id, facts | body, watermark_id=watermark_id)

    def entries(self, **conditions: Any) -> list[Entry]:
        """As `Ledger.entries`."""
        return self._ask("entries", **conditions)

    def consent_basis(self, stated: str | None) -> str:
        """As `Ledger.consent_basis`, by the rules of the head's installation."""
        return self._ask("consent_basis", stated)

    def _connect(self) -> NoReturn:
        raise OutputError(
            "the ledger is on the head of the cluster",
            seen=self.path,
            remedy="run this command there",
        )


def head_keys(ask: Ask, facts: dict[str, Any]) -> Keys:
    """Keys that have the head sign; the private halves are not on this node."""
    return Keys(
        folder=Path(facts["folder"]),
        signer=_LabelSigner(ask),  # type: ignore[arg-type]
        c2pa_key=_CredentialsSigner(ask),  # type: ignore[arg-type]
        chain_pem=facts["chain_pem"],
        anchors_pem=facts["anchors_pem"],
        watermark_secret=facts["watermark_secret"],
        watermark_secrets=facts["watermark_secrets"],
        public=facts["public"],
    )


class _LabelSigner:
    """In place of an Ed25519 private key."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def sign(self, message: bytes) -> bytes:
        return self._ask("sign_label", message)


class _CredentialsSigner:
    """In place of a P-256 private key; always ECDSA with SHA-256."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def sign(self, message: bytes, _algorithm: ec.ECDSA) -> bytes:
        return self._ask("sign_c2pa", message)
