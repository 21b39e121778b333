"""What the ledger knows of the keys that signed it: lost keys, and changes from one to another."""

from collections.abc import Sequence
from pathlib import Path

from heygem.core.errors import AssetError, OutputError
from heygem.provenance import ledger
from heygem.provenance.keys import ring as key_ring
from heygem.provenance.keys.public import PublicKey, PublicKeys
from heygem.provenance.ledger import Ledger, current_user
from heygem.provenance.ledger import heads as ledger_heads
from heygem.provenance.ledger.check import REPLACED, ROTATED
from heygem.provenance.ledger.heads import Head
from heygem.provenance.ledger.rows import GENESIS_HASH, Signer


def ledger_path(folder: Path) -> Path:
    """The ledger that the keys in a folder sign: beside it."""
    return folder.with_name(ledger.FILE_NAME)


def has_ledger(folder: Path) -> bool:
    """Whether the ledger beside a folder has a row, or a head that says that it had one."""
    path = ledger_path(folder)
    has_head = any(head.exists() for head in head_paths(folder))
    return has_head or (path.exists() and Ledger(path).newest() is not None)


def require_no_ledger(folder: Path) -> None:
    """Refuse to make new keys where rows were signed with keys that are not there.

    Raises
    ------
    AssetError
    """
    signed_by = _last_signer(folder)
    if signed_by is None:
        return
    raise AssetError(
        "the keys are gone, but the ledger that they signed is there",
        seen=f"{folder}; the newest row is signed by key {signed_by or 'unknown'}",
        remedy="restore them with `heygem keys restore BACKUP`, or put the folder back; only if"
        " they are lost for good, continue with new ones: `heygem keys init --replace-lost`",
    )


def recorded_keys(folder: Path) -> PublicKeys:
    """The public halves of the keys that signed the ledger beside a folder, the newest first."""
    path = ledger_path(folder)
    if not path.exists():
        return PublicKeys((), "")
    signers = Ledger(path).recorded_signers()[::-1]
    keys = tuple(PublicKey(public_hex) for public_hex, _ in signers)
    # Each key's roots include those of the keys before it, but for stolen ones.
    return PublicKeys(keys, signers[0][1] if signers else "")


def signing_names(folder: Path) -> list[str]:
    """Names of the keys that signed the ledger beside a folder, in the order of their last row."""
    path = ledger_path(folder)
    return Ledger(path).signing_names() if path.exists() else []


def head_paths(folder: Path) -> list[Path]:
    """The head files of the ledger: beside it, and in the folder of the keys."""
    name = f"{ledger.FILE_NAME}.head"
    return [folder.with_name(name), folder / name]


def restore_head(folder: Path, head: Head) -> None:
    """Put the head of a backup into the folder of the keys, unless a newer one is there.

    Raises
    ------
    OutputError
    """
    present = ledger_heads.newest(head_paths(folder), None)
    if present.number > head.number or not head.signature:
        return
    try:
        key_ring.make_folder(folder)
        ledger_heads.write(head_paths(folder)[1], head)
    except OSError as error:
        raise key_ring.cannot_write(folder, error) from error


def record_rotation(folder: Path, signer: Signer, new: PublicKey, old: PublicKey) -> None:
    """Append the last row of a retired key, which names the key that follows it."""
    body = {
        "user": current_user(),
        "public_key": new.public_hex,
        "retired": old.name,
        "reason": old.reason,
        "stolen": old.is_stolen,
    }
    Ledger(ledger_path(folder), keys=signer).append(ROTATED, new.public_hex, body)


def record_replacement(folder: Path, signer: Signer, lost: Sequence[PublicKey]) -> None:
    """Append the first row of a key that replaces lost ones."""
    body = {
        "user": current_user(),
        "public_key": signer.public_hex,
        "lost": [key.public_hex for key in lost],
    }
    Ledger(ledger_path(folder), keys=signer).append(REPLACED, signer.public_hex, body)


def write_empty_head(folder: Path, signer: Signer) -> None:
    """Store with new keys that the ledger has no row yet: until then, none can have been removed.

    Raises
    ------
    OSError
    """
    head = ledger_heads.sign(0, GENESIS_HASH, signer)
    ledger_heads.write(head_paths(folder)[1], head)


def _last_signer(folder: Path) -> str | None:
    """Name of the key of the ledger's newest row, None without a ledger that was signed."""
    path = ledger_path(folder)
    try:
        head = ledger_heads.read(head_paths(folder)[0])
    except (OSError, ValueError):
        return ""
    if path.exists():
        try:
            newest = Ledger(path).newest()
        except OutputError:
            return ""
        if newest is not None:
            return newest.key_name or None
    return head.public_key[:16] if head is not None and head.number else None
