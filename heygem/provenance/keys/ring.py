"""The key ring on disk: the keys in use and the retired ones, in one file that is replaced whole.

`ring.json` in the folder of the keys holds every secret, readable by its owner alone. One file, so
that no crash and no full disk leaves half of a set: the former ring is there, or the new one. A
lock beside the folder lets one process change it at a time; reading needs no lock.

The earlier version stored one set in five files; it is still read, and becomes a ring at the first
change.
"""

import contextlib
import datetime
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from heygem.core import disk, files
from heygem.core.errors import AssetError, OutputError
from heygem.core.files import replacing
from heygem.core.leftovers import remove_leftovers
from heygem.provenance.keys.certificates import PEM
from heygem.provenance.keys.public import PublicKey
from heygem.provenance.ledger.check import KEY_RING

ANCHORS = "anchors.pem"  # public: what a reader elsewhere needs to trust our certificates
_FORMAT = {"format": "heygem key ring", "version": 1}
# Files of the earlier version.
SIGNING_KEY, WATERMARK_KEY, C2PA_KEY, C2PA_CHAIN = (
    "sign.key", "mark.key", "c2pa.key", "c2pa-chain.pem",
)  # fmt: skip
_EARLIER_FILES = (SIGNING_KEY, WATERMARK_KEY, C2PA_KEY, C2PA_CHAIN, ANCHORS)
_RESTORE_EARLIER = (
    "if nothing was made yet, run `heygem keys init`; otherwise restore it from a backup: earlier"
    " files were labelled with it"
)


@dataclass(frozen=True)
class RingKey(PublicKey):
    """A signing key with the watermark's secret of its time; both are empty for a lost key."""

    sign_pem: str = ""
    watermark_hex: str = ""

    @property
    def is_lost(self) -> bool:
        """Only the public half is known."""
        return not self.sign_pem

    def retired(self, reason: str, *, is_stolen: bool = False) -> "RingKey":
        """The same key, retired now."""
        return replace(self, retired_utc=now_utc(), reason=reason, is_stolen=is_stolen)


@dataclass(frozen=True)
class KeyRing:
    """All keys of an installation, the one in use first, and the certificate in use.

    Attributes
    ----------
    keys : tuple of RingKey
    c2pa_pem, chain_pem, anchors_pem : str
        Private key and certificates for Content Credentials; the roots this installation trusts.
    """

    keys: tuple[RingKey, ...]
    c2pa_pem: str
    chain_pem: str
    anchors_pem: str

    def to_json(self) -> str:
        """The ring as JSON with its format's name; contains every secret."""
        return json.dumps(_FORMAT | asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "KeyRing":
        """The ring in `to_json`'s text, checked.

        Raises
        ------
        ValueError
            It is something else, or a key in it is damaged.
        """
        data = json.loads(text)
        if not isinstance(data, dict) or {k: data.pop(k, None) for k in _FORMAT} != _FORMAT:
            raise ValueError("not a key ring of this version")
        try:
            ring = cls(**data | {"keys": tuple(RingKey(**key) for key in data["keys"])})
            ring.check()
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a key ring: {error}") from error
        return ring

    def check(self) -> None:
        """Check that all keys can be opened, and that what belongs together does.

        Raises
        ------
        ValueError
        """
        if not self.keys or self.keys[0].is_lost:
            raise ValueError("no key is in use")
        for key in self.keys:
            if not key.is_lost and public_hex(open_signer(key.sign_pem)) != key.public_hex:
                raise ValueError(f"the signing key {key.name} is damaged")
            if not key.is_lost and len(bytes.fromhex(key.watermark_hex)) != 32:
                raise ValueError(f"the watermark's secret of key {key.name} is damaged")
        open_certificate_key(self.c2pa_pem, self.chain_pem)
        x509.load_pem_x509_certificates(self.anchors_pem.encode())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the keys in `folder` for one process at a time; the kernel frees a dead process's lock.

    Raises
    ------
    OutputError
        The folder above cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            stack.enter_context(files.locked(folder.with_name(f".{folder.name}.lock")))
        except OSError as error:
            raise cannot_write(folder, error) from error
        remove_leftovers(folder)
        yield


def read(folder: Path) -> KeyRing | None:
    """The ring in a folder, None where there is none, nor keys of the earlier version.

    Raises
    ------
    AssetError
        A key is missing or damaged, or other users can read it.
    """
    path = folder / KEY_RING
    if not path.exists():
        return _read_earlier(folder)
    _require_private(path)
    try:
        return KeyRing.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AssetError(
            "the keys cannot be opened",
            seen=f"{path}: {error}",
            remedy="restore them with `heygem keys restore BACKUP`",
        ) from error


def write(folder: Path, ring: KeyRing) -> None:
    """Replace the ring in a folder, which is made where there is none; call it `locked`.

    Raises
    ------
    OutputError
        The folder cannot be written, or the disk is full; the former ring is still there.
    """
    try:
        make_folder(folder)
        with replacing(folder / ANCHORS, mode=0o600) as staged:
            staged.write_text(ring.anchors_pem, encoding="ascii")
        with replacing(folder / KEY_RING, mode=0o600) as staged:
            staged.write_text(ring.to_json(), encoding="utf-8")
        for name in _EARLIER_FILES:  # now in the ring
            if name != ANCHORS:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error


def make_folder(folder: Path) -> None:
    """Create the folder of the keys, for its owner alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)


def has_earlier_files(folder: Path) -> bool:
    """Whether a folder holds keys of the earlier version, complete or not."""
    return any((folder / name).exists() for name in _EARLIER_FILES[:-1])


def is_incomplete(folder: Path) -> bool:
    """Whether the earlier version was killed before it had written its signing key and secret."""
    if (folder / KEY_RING).exists() or not has_earlier_files(folder):
        return False
    try:
        _parse_earlier_signer(folder)
    except (FileNotFoundError, ValueError):
        return True
    except OSError:
        pass
    return False


def set_aside(folder: Path, why: str) -> None:
    """Rename the folder of the keys; nothing is deleted.

    Raises
    ------
    OutputError
    """
    time = now_utc().replace(":", "").partition("+")[0]
    try:
        folder.rename(folder.with_name(f"{folder.name}-{why}-{time}"))
    except OSError as error:
        raise cannot_write(folder, error) from error


def read_earlier_signer(folder: Path) -> RingKey:
    """The signing key and the watermark's secret in files of the earlier version.

    Raises
    ------
    AssetError
        One is missing or damaged, or other users can read it.
    """
    for name in (SIGNING_KEY, WATERMARK_KEY):
        if not (folder / name).exists():
            raise AssetError(
                "a key is missing",
                seen=folder / name,
                remedy=_RESTORE_EARLIER,
            )
        _require_private(folder / name)
    try:
        return _parse_earlier_signer(folder)
    except (OSError, ValueError) as error:
        raise AssetError(
            "a key cannot be opened",
            seen=f"{folder}: {error}",
            remedy=_RESTORE_EARLIER,
        ) from error


def open_signer(pem: str) -> ed25519.Ed25519PrivateKey:
    """The signing key in a PEM text.

    Raises
    ------
    ValueError
    """
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ValueError("the signing key is not an Ed25519 key")
    return key


def open_certificate_key(pem: str, chain_pem: str) -> ec.EllipticCurvePrivateKey:
    """The key for Content Credentials in a PEM text, checked against the certificate.

    Raises
    ------
    ValueError
        It is not the key of the chain's first certificate, or is damaged.
    """
    key = serialization.load_pem_private_key(pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the certificate's key is not an elliptic-curve key")
    leaf = x509.load_pem_x509_certificates(chain_pem.encode())[0]
    if leaf.public_key() != key.public_key():
        raise ValueError("the certificate does not belong to its key")
    return key


def public_hex(signer: ed25519.Ed25519PrivateKey) -> str:
    """The public half of a signing key, 64 hexadecimal digits."""
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return signer.public_key().public_bytes(*raw).hex()


def private_pem(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> str:
    """A private key as PEM (PKCS 8, not encrypted)."""
    no_password = serialization.NoEncryption()
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, no_password).decode()


def cannot_write(folder: Path, error: OSError) -> OutputError:
    """The error for a folder of keys that cannot be written, or a full disk."""
    return disk.write_error(error, folder, what="the keys cannot be written", place="records")


def now_utc() -> str:
    """The time, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _read_earlier(folder: Path) -> KeyRing | None:
    if not has_earlier_files(folder):
        return None
    signer = read_earlier_signer(folder)
    renew = "run `heygem keys renew`: it makes a new certificate and leaves all else as it is"
    for name in (C2PA_KEY, C2PA_CHAIN, ANCHORS):
        if not (folder / name).exists():
            raise AssetError("a key is missing", seen=folder / name, remedy=renew)
    _require_private(folder / C2PA_KEY)
    try:
        texts = ((folder / name).read_text(encoding="ascii") for name in _EARLIER_FILES[2:])
        ring = KeyRing((signer,), *texts)
        ring.check()
        return ring
    except (OSError, ValueError) as error:
        raise AssetError(
            "a key cannot be opened", seen=f"{folder}: {error}", remedy=renew
        ) from error


def _parse_earlier_signer(folder: Path) -> RingKey:
    sign_pem = (folder / SIGNING_KEY).read_text(encoding="ascii")
    watermark_hex = (folder / WATERMARK_KEY).read_text(encoding="ascii").strip()
    if len(bytes.fromhex(watermark_hex)) != 32:
        raise ValueError(f"{WATERMARK_KEY} is damaged")
    signer_hex = public_hex(open_signer(sign_pem))
    return RingKey(signer_hex, sign_pem=sign_pem, watermark_hex=watermark_hex)


def _require_private(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise AssetError(
            "a secret key can be read by others", seen=path, remedy=f"run: chmod 600 {path}"
        )
