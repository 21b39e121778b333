"""The secret keys of one installation: for signatures and for the invisible watermark.

Files in one folder, readable by their owner alone: an Ed25519 key that signs the metadata label, a
P-256 key with its certificate chain for Content Credentials (C2PA), and 32 random bytes that
seed the watermark's pattern.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from heygem.core.errors import AssetError, InputError, OutputError
from heygem.core.types import PathLike
from heygem.provenance import ledger
from heygem.provenance.certificates import PEM, issue_chain, rejection_reason

SIGNING_KEY = "sign.key"
WATERMARK_KEY = "mark.key"
C2PA_KEY = "c2pa.key"
C2PA_CHAIN = "c2pa-chain.pem"
ANCHORS = "anchors.pem"
_LEAF_DAYS = 825


@dataclass(frozen=True)
class Keys:
    """The loaded keys of this installation.

    Attributes
    ----------
    folder : Path
    signer, c2pa_key
        Private keys, for the metadata label and for Content Credentials.
    chain_pem, anchors_pem : str
        Certificates, leaf first; the roots this installation trusts.
    watermark_secret : bytes [32]
    """

    folder: Path
    signer: ed25519.Ed25519PrivateKey
    c2pa_key: ec.EllipticCurvePrivateKey
    chain_pem: str
    anchors_pem: str
    watermark_secret: bytes

    @property
    def public_hex(self) -> str:
        """The public half of the signing key, 64 hexadecimal digits."""
        raw = self.signer.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        return raw.hex()

    @property
    def name(self) -> str:
        """Sixteen hexadecimal digits that identify this installation's key."""
        return self.public_hex[:16]

    def sign(self, message: bytes) -> str:
        """`ed25519:<key name>:<signature>` over `message`."""
        return f"ed25519:{self.name}:{self.signer.sign(message).hex()}"

    def verify(self, message: bytes, signature: str) -> bool | None:
        """Whether `signature` is this installation's over `message`; None for another key's."""
        kind, _, rest = signature.partition(":")
        name, _, digits = rest.partition(":")
        if kind != "ed25519" or name != self.name:
            return None
        try:
            self.signer.public_key().verify(bytes.fromhex(digits), message)
        except (InvalidSignature, ValueError):
            return False
        return True


def folder() -> Path:
    """The default folder of the keys: `keys` beside the ledger, see `ledger.home`."""
    return ledger.home() / "keys"


def init(
    path: PathLike | None = None, *, organisation: str = "heygem local", days: int = _LEAF_DAYS
) -> Keys:
    """Create the keys of a new installation.

    Parameters
    ----------
    path
        Folder, by default `folder`.
    organisation
        Name in the certificates.
    days
        Validity of the signing certificate.

    Raises
    ------
    OutputError
        There are keys already, or the folder cannot be created.
    """
    path = Path(path) if path is not None else folder()
    names = (SIGNING_KEY, WATERMARK_KEY, C2PA_KEY, C2PA_CHAIN)
    existing = [name for name in names if (path / name).exists()]
    if existing:
        raise OutputError(
            "this installation has keys already, and files labelled with them",
            seen=f"{path}: {', '.join(existing)}",
            remedy="keep them; `heygem keys renew` issues a new certificate only",
        )
    _create_folder(path)
    _write_secret(path / SIGNING_KEY, _private_pem(ed25519.Ed25519PrivateKey.generate()))
    _write_secret(path / WATERMARK_KEY, secrets.token_hex(32).encode() + b"\n")
    _write_chain(path, organisation, days)
    return load(path)


def renew(
    path: PathLike | None = None, *, organisation: str = "heygem local", days: int = _LEAF_DAYS
) -> Keys:
    """Issue a new certificate for Content Credentials; old roots stay trusted, other keys stay."""
    path = Path(path) if path is not None else folder()
    load(path)
    _write_chain(path, organisation, days)
    return load(path)


def import_certificate(chain: PathLike, key: PathLike, path: PathLike | None = None) -> Keys:
    """Sign Content Credentials with a certificate from elsewhere; other keys stay.

    Parameters
    ----------
    chain, key
        PEM files: certificates, leaf first, with or without the root; the leaf's private key,
        P-256 and not encrypted.
    path
        Folder of the keys, by default `folder`.

    Raises
    ------
    InputError
        They cannot be read, do not belong together, or readers would reject the signature.
    """
    path = Path(path) if path is not None else folder()
    load(path)
    try:
        certificates = x509.load_pem_x509_certificates(Path(chain).read_bytes())
        private_key = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            "the certificate cannot be opened",
            seen=f"{chain}, {key}: {error}",
            remedy="give PEM files, the key without a password",
        ) from error
    problem = rejection_reason(certificates[0], private_key)
    if problem is not None:
        raise InputError("this certificate cannot sign Content Credentials", seen=problem)
    anchors = path / ANCHORS
    # From now on this installation also trusts the last certificate of the chain.
    _write_secret(anchors, anchors.read_bytes() + certificates[-1].public_bytes(PEM))
    _write_secret(path / C2PA_KEY, _private_pem(private_key))
    _write_secret(path / C2PA_CHAIN, b"".join(each.public_bytes(PEM) for each in certificates))
    return load(path)


def load(path: PathLike | None = None) -> Keys:
    """Load the keys.

    Raises
    ------
    AssetError
        There are none, one is missing or damaged, or other users can read one.
    """
    path = Path(path) if path is not None else folder()
    remedy = "run `heygem keys init`, or set HEYGEM_RECORDS to the folder that holds them"
    if not path.is_dir():
        raise AssetError("there are no keys to label with", seen=path, remedy=remedy)
    for name in (SIGNING_KEY, WATERMARK_KEY, C2PA_KEY):
        file = path / name
        if not file.exists():
            raise AssetError(
                "a key is missing",
                seen=file,
                remedy="restore it from a backup: earlier files were labelled with it",
            )
        if os.name == "posix" and file.stat().st_mode & 0o077:
            raise AssetError(
                "a secret key can be read by others", seen=file, remedy=f"run: chmod 600 {file}"
            )
    try:
        signer = serialization.load_pem_private_key((path / SIGNING_KEY).read_bytes(), None)
        c2pa_key = serialization.load_pem_private_key((path / C2PA_KEY).read_bytes(), None)
        if not isinstance(signer, ed25519.Ed25519PrivateKey):
            raise ValueError(f"{SIGNING_KEY} is not an Ed25519 key")
        if not isinstance(c2pa_key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{C2PA_KEY} is not an elliptic-curve key")
        return Keys(
            folder=path,
            signer=signer,
            c2pa_key=c2pa_key,
            chain_pem=(path / C2PA_CHAIN).read_text(),
            anchors_pem=(path / ANCHORS).read_text(),
            watermark_secret=bytes.fromhex((path / WATERMARK_KEY).read_text().strip()),
        )
    except (OSError, ValueError) as error:
        raise AssetError(
            "a key cannot be opened", seen=f"{path}: {error}", remedy=remedy
        ) from error


def ensure(path: PathLike | None = None) -> Keys:
    """Load the keys, or create them on first use; an incomplete set is an error, never replaced."""
    path = Path(path) if path is not None else folder()
    if not path.exists() or not any(path.iterdir()):
        return init(path)
    return load(path)


def _create_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.name == "posix":
            path.chmod(0o700)
    except OSError as error:
        raise OutputError(
            "the folder for the keys cannot be created",
            seen=path,
            remedy="set HEYGEM_RECORDS to a folder you may write",
        ) from error


def _write_secret(path: Path, content: bytes) -> None:
    # Created with its final permissions: other users can never read it, not even for a moment.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())


def _private_pem(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write_chain(path: Path, organisation: str, days: int) -> None:
    leaf_key, leaf, root = issue_chain(organisation, days)
    anchors = path / ANCHORS
    trusted = anchors.read_bytes() if anchors.exists() else b""
    _write_secret(path / C2PA_KEY, _private_pem(leaf_key))
    _write_secret(path / C2PA_CHAIN, leaf.public_bytes(PEM) + root.public_bytes(PEM))
    _write_secret(anchors, trusted + root.public_bytes(PEM))
