"""The secrets of one installation: what it signs with, and what its invisible mark is spread by.

Four files in one folder, readable by their owner alone: an Ed25519 key that signs the metadata
label, a P-256 key with its certificate chain for Content Credentials (C2PA, certificate profile:
leaf with digitalSignature, emailProtection, key identifiers and an organisation), and 32 random
bytes for the mark. The chain's root signs once and its private half is thrown away, so nobody can
issue a second certificate under it.
"""

import datetime
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from heygem.core.errors import AssetError, InputError, OutputError
from heygem.provenance import ledger

SIGN_KEY = "sign.key"
MARK_KEY = "mark.key"
C2PA_KEY = "c2pa.key"
C2PA_CHAIN = "c2pa-chain.pem"
ANCHORS = "anchors.pem"
_LEAF_DAYS = 825
_ROOT_DAYS = 3650
_PEM = serialization.Encoding.PEM
_DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
_C2PA_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")


@dataclass(frozen=True)
class Keys:
    """The opened keys of this installation.

    Attributes
    ----------
    folder : Path
    chain_pem, anchors_pem : str
        Certificates, leaf first; the roots this installation trusts.
    mark_secret : bytes [32]
    """

    folder: Path
    signer: ed25519.Ed25519PrivateKey
    c2pa_key: ec.EllipticCurvePrivateKey
    chain_pem: str
    anchors_pem: str
    mark_secret: bytes

    @property
    def public_hex(self):
        """The public half of the signing key, 64 hexadecimal digits."""
        raw = self.signer.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        return raw.hex()

    @property
    def name(self):
        """Sixteen hexadecimal digits that tell this installation's key from another's."""
        return self.public_hex[:16]

    def sign(self, message):
        """`ed25519:<key name>:<signature>` over `message : bytes`."""
        return f"ed25519:{self.name}:{self.signer.sign(message).hex()}"

    def verify(self, message, signature):
        """Whether `signature` is this installation's over `message`; None for another's key."""
        kind, _, rest = signature.partition(":")
        name, _, digits = rest.partition(":")
        if kind != "ed25519" or name != self.name:
            return None
        try:
            self.signer.public_key().verify(bytes.fromhex(digits), message)
        except (InvalidSignature, ValueError):
            return False
        return True


def folder():
    """Where the keys lie: `keys` in the folder of the ledger, see `heygem.provenance.ledger.home`."""
    return ledger.home() / "keys"


def init(path=None, *, organisation="heygem local", days=_LEAF_DAYS):
    """Make the keys of a new installation; refuses where there are some already.

    Parameters
    ----------
    path : path-like, optional
        Folder; see `folder`.
    organisation : str
        Name put into the certificates.
    days : int
        How long the signing certificate is good for.

    Returns
    -------
    Keys
    """
    path = Path(path) if path is not None else folder()
    present = [n for n in (SIGN_KEY, MARK_KEY, C2PA_KEY, C2PA_CHAIN) if (path / n).exists()]
    if present:
        raise OutputError(
            "this installation has keys already, and files labelled with them",
            seen=f"{path}: {', '.join(present)}",
            remedy="keep them; `heygem keys renew` makes a new certificate only",
        )
    _make_folder(path)
    sign_key = ed25519.Ed25519PrivateKey.generate()
    _write(path / SIGN_KEY, _private(sign_key))
    _write(path / MARK_KEY, secrets.token_hex(32).encode() + b"\n")
    _write_chain(path, organisation, days)
    return load(path)


def renew(path=None, *, organisation="heygem local", days=_LEAF_DAYS):
    """A new certificate for Content Credentials; the old root stays trusted, other keys stay."""
    path = Path(path) if path is not None else folder()
    load(path)
    _write_chain(path, organisation, days)
    return load(path)


def adopt(chain, key, path=None):
    """Sign Content Credentials with a certificate of one's own from now on; other keys stay.

    Parameters
    ----------
    chain, key : path-like
        PEM files: certificates, leaf first, with the root last or left out; the leaf's private
        key, P-256 and not encrypted.
    path : path-like, optional
        Folder of the keys; see `folder`.

    Raises
    ------
    InputError
        They cannot be read, do not belong together, or readers would refuse the signature.
    """
    path = Path(path) if path is not None else folder()
    load(path)
    try:
        certificates = x509.load_pem_x509_certificates(Path(chain).read_bytes())
        private = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    except (OSError, ValueError, TypeError) as e:
        raise InputError(
            "the certificate cannot be opened",
            seen=f"{chain}, {key}: {e}",
            remedy="give PEM files, the key without a password",
        ) from e
    leaf = certificates[0]
    problem = _unfit(leaf, private)
    if problem is not None:
        raise InputError("this certificate cannot sign Content Credentials", seen=problem)
    anchors = path / ANCHORS
    # The last of the chain is what this installation itself trusts from now on.
    _write(anchors, anchors.read_bytes() + certificates[-1].public_bytes(_PEM))
    _write(path / C2PA_KEY, _private(private))
    _write(path / C2PA_CHAIN, b"".join(each.public_bytes(_PEM) for each in certificates))
    return load(path)


def _unfit(leaf, private):
    """Why readers would refuse a signature by this leaf, or None (C2PA 2.2, 14.5.1)."""
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name != "secp256r1":
        return "the key is not P-256"
    if private.public_key() != leaf.public_key():
        return "the key is not the certificate's"
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not start < datetime.datetime.now(datetime.UTC) < end:
        return f"it holds from {start:%Y-%m-%d} to {end:%Y-%m-%d}"
    if not leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME):
        return "its subject names no organisation"
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound as e:
        return str(e)
    if not usage.digital_signature or usage.key_cert_sign:
        return "its key usage is not signing alone"
    fit = {ExtendedKeyUsageOID.EMAIL_PROTECTION, _DOCUMENT_SIGNING, _C2PA_SIGNING}
    return None if fit & set(purposes) else "it is for other purposes than signing documents"


def load(path=None):
    """Open the keys.

    Raises
    ------
    AssetError
        There are none, one is missing, or one is readable by others.
    """
    path = Path(path) if path is not None else folder()
    remedy = "run `heygem keys init`, or set HEYGEM_RECORDS to the folder that holds them"
    if not path.is_dir():
        raise AssetError("there are no keys to label with", seen=path, remedy=remedy)
    for name in (SIGN_KEY, MARK_KEY, C2PA_KEY):
        file = path / name
        if not file.exists():
            raise AssetError(
                "a key is missing",
                seen=file,
                remedy="restore it from a backup: files made before were labelled with it",
            )
        if os.name == "posix" and file.stat().st_mode & 0o077:
            raise AssetError(
                "a secret key can be read by others", seen=file, remedy=f"run: chmod 600 {file}"
            )
    try:
        return Keys(
            folder=path,
            signer=serialization.load_pem_private_key((path / SIGN_KEY).read_bytes(), None),
            c2pa_key=serialization.load_pem_private_key((path / C2PA_KEY).read_bytes(), None),
            chain_pem=(path / C2PA_CHAIN).read_text(),
            anchors_pem=(path / ANCHORS).read_text(),
            mark_secret=bytes.fromhex((path / MARK_KEY).read_text().strip()),
        )
    except (OSError, ValueError) as e:
        raise AssetError("a key cannot be opened", seen=f"{path}: {e}", remedy=remedy) from e


def ensure(path=None):
    """The keys, made on an installation's first use; a damaged set is an error, never remade."""
    path = Path(path) if path is not None else folder()
    if not path.exists() or not any(path.iterdir()):
        return init(path)
    return load(path)


def _make_folder(path):
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.name == "posix":
            path.chmod(0o700)
    except OSError as e:
        raise OutputError(
            "the folder for the keys cannot be made",
            seen=path,
            remedy="set HEYGEM_RECORDS to a folder you may write",
        ) from e


def _write(path, data):
    # Made with its final rights: never readable by others, not even for a moment.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())


def _private(key):
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write_chain(path, organisation, days):
    root_key = ec.generate_private_key(ec.SECP256R1())
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    root_name = _name(organisation, "heygem local root")
    root = (
        _certificate(root_name, root_name, root_key.public_key(), _ROOT_DAYS)
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(_usage(issuer=True), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), False)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(_name(organisation, "heygem signer"), root_name, leaf_key.public_key(), days)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(_usage(issuer=False), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(leaf_key.public_key()), False)
        .sign(root_key, hashes.SHA256())
    )
    anchors = path / ANCHORS
    before = anchors.read_bytes() if anchors.exists() else b""
    _write(path / C2PA_KEY, _private(leaf_key))
    _write(path / C2PA_CHAIN, leaf.public_bytes(_PEM) + root.public_bytes(_PEM))
    _write(anchors, before + root.public_bytes(_PEM))


def _name(organisation, common):
    # The organisation must be there: validators refuse the signature without it.
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _certificate(subject, issuer, public_key, days):
    # Begins an hour early, for clocks that are a little behind.
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=days))
    )


def _usage(*, issuer):
    return x509.KeyUsage(
        digital_signature=not issuer,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issuer,
        crl_sign=issuer,
        encipher_only=False,
        decipher_only=False,
    )
