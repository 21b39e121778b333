"""Backups of the key ring: one file, encrypted with a passphrase or not.

Encrypted with Fernet (AES-128-CBC and HMAC-SHA-256) under a key that scrypt derives from the
passphrase. The file also holds the ledger's newest head, so that a restored installation knows how
many rows its ledger must have.
"""

import base64
import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from heygem.core.errors import AssetError, InputError
from heygem.core.types import PathLike
from heygem.provenance.keys import installed
from heygem.provenance.keys import ring as key_ring
from heygem.provenance.keys import succession as key_succession
from heygem.provenance.keys.installed import Keys
from heygem.provenance.keys.ring import KeyRing, RingKey
from heygem.provenance.ledger import heads as ledger_heads
from heygem.provenance.ledger.export import write_new
from heygem.provenance.ledger.heads import Head

_FORMAT = {"format": "heygem keys backup", "version": 1}
# Costs of scrypt: 128 MB and 0.7 s of processor time. Fixed: a file cannot ask for more.
_SCRYPT = {"length": 32, "n": 2**17, "r": 8, "p": 1}


def backup(
    out: PathLike, *, passphrase: str | None = None, path: PathLike | None = None
) -> KeyRing:
    """Write all keys, retired ones too, to a new private file, and read it back.

    Parameters
    ----------
    out
        Never overwritten.
    passphrase
        None: not encrypted; whoever has the file can sign as this installation.
    path
        Folder of the keys, by default `installed.folder`.

    Raises
    ------
    AssetError
        There are no keys, or they cannot be opened.
    OutputError
        The file exists, or cannot be written.
    """
    folder = Path(path) if path is not None else installed.folder()
    installed.load(folder)  # says what is missing
    ring = key_ring.read(folder)
    assert ring is not None
    head = ledger_heads.newest(key_succession.head_paths(folder), None)
    content = json.dumps({"ring": ring.to_json(), "head": head.to_json()})
    data: dict[str, Any] = _FORMAT | {"encrypted": passphrase is not None}
    if passphrase is None:
        data["content"] = content
    else:
        salt = secrets.token_bytes(16)
        data["salt"] = salt.hex()
        data["content"] = _cipher(passphrase, salt).encrypt(content.encode()).decode()
    write_new(out, json.dumps(data, indent=1) + "\n")
    written, _ = _read(out, passphrase)
    assert written == ring
    return ring


def is_encrypted(path: PathLike) -> bool:
    """Whether a backup needs a passphrase.

    Raises
    ------
    InputError
        It cannot be read, or is not a backup.
    """
    return bool(_outer(path)["encrypted"])


def restore(
    source: PathLike, *, passphrase: str | None = None, path: PathLike | None = None
) -> tuple[Keys, list[str]]:
    """Put the keys of a backup back.

    Where there are keys, they stay in use, and those that only the backup has become retired ones.
    Where the ledger was signed with newer keys than the backup has, new keys continue it. A damaged
    file of keys is set aside.

    Parameters
    ----------
    source
        Of `backup`.
    passphrase
        For an encrypted one.
    path
        Folder of the keys, by default `installed.folder`.

    Returns
    -------
    keys : Keys
        As they are now.
    names : list of str
        Keys that were put back; none where all of them were there.

    Raises
    ------
    InputError
        It cannot be read, the passphrase is wrong, or it is of another installation.
    OutputError
        The keys cannot be written.
    """
    folder = Path(path) if path is not None else installed.folder()
    saved, head = _read(source, passphrase)
    with key_ring.locked(folder):
        try:
            present = key_ring.read(folder)
        except AssetError:
            key_ring.set_aside(folder, "damaged")
            present = None
        if present is not None:
            merged, names = _merged(present, saved)
            return (installed.write(folder, merged) if names else installed.load(folder)), names
        return _restore_all(folder, saved, head), [key.name for key in saved.keys]


def _restore_all(folder: Path, saved: KeyRing, head: Head) -> Keys:
    """Write the ring of a backup where there is none; call it with the folder locked."""
    own_names = {key.name for key in saved.keys}
    signers = key_succession.signing_names(folder)
    if signers and not own_names & set(signers):
        raise InputError(
            "this backup is of another installation",
            seen=f"keys {', '.join(sorted(own_names))}; the ledger is signed by {signers[-1]}",
            remedy="set HEYGEM_RECORDS to the folder of the installation that it belongs to",
        )
    key_succession.restore_head(folder, head)
    if not signers or signers[-1] in own_names:
        return installed.write(folder, saved)
    recorded = key_succession.recorded_keys(folder).keys
    newer = [
        RingKey(key.public_hex).retired("lost") for key in recorded if key.name not in own_names
    ]
    return installed.continue_with_new(folder, replace(saved, keys=(*newer, *saved.keys)))


def _merged(present: KeyRing, saved: KeyRing) -> tuple[KeyRing, list[str]]:
    """A ring with the keys of a backup that it lacks, as retired ones, and the names of these."""
    by_name = {key.name: key for key in present.keys}
    added = []
    for key in saved.keys:
        known = by_name.get(key.name)
        if key.is_lost or (known is not None and not known.is_lost):
            continue
        former = known if known is not None else key.retired("restored from a backup")
        by_name[key.name] = replace(former, sign_pem=key.sign_pem, watermark_hex=key.watermark_hex)
        added.append(key.name)
    missing = [pem for pem in _certificates(saved.anchors_pem) if pem not in present.anchors_pem]
    anchors_pem = present.anchors_pem + "".join(missing)
    return replace(present, keys=tuple(by_name.values()), anchors_pem=anchors_pem), added


def _certificates(pem: str) -> list[str]:
    end = "-----END CERTIFICATE-----\n"
    return [f"{text}{end}" for text in pem.split(end) if text.strip()]


def _read(path: PathLike, passphrase: str | None) -> tuple[KeyRing, Head]:
    data = _outer(path)
    try:
        content = data["content"]
        if data["encrypted"]:
            cipher = _cipher(passphrase or "", bytes.fromhex(data["salt"]))
            content = cipher.decrypt(content).decode()
        inner = json.loads(content)
        return KeyRing.from_json(inner["ring"]), ledger_heads.parse(inner["head"])
    except InvalidToken as error:
        raise InputError(
            "the passphrase is wrong, or the backup is damaged",
            seen=path,
            remedy="try again, or use another backup",
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "the backup of the keys is damaged", seen=f"{path}: {error}", remedy="use another one"
        ) from error


def _outer(path: PathLike) -> dict[str, Any]:
    """The file as JSON, without what is encrypted in it."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(data, dict) or {k: data.get(k) for k in _FORMAT} != _FORMAT:
            raise ValueError("not a backup of this version")
        if not isinstance(data.get("encrypted"), bool):
            raise ValueError("it does not say whether it is encrypted")
    except (OSError, ValueError) as error:
        raise InputError(
            "this is not a backup of keys",
            seen=f"{path}: {error}",
            remedy="give a file that `heygem keys backup` wrote",
        ) from error
    return data


def _cipher(passphrase: str, salt: bytes) -> Fernet:
    derived = Scrypt(salt=salt, **_SCRYPT).derive(passphrase.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
