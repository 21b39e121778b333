"""The secret keys of one installation: for signatures and for the invisible watermark.

An Ed25519 key signs the metadata label and the ledger, a P-256 key with its certificate chain signs
Content Credentials (C2PA), and 32 random bytes seed the watermark's pattern. Keys that were
replaced stay in the key ring (`heygem.provenance.key_ring`), so that what was labelled with them is
still recognised. Without the secrets, `load_for_reading` returns the public halves that the ledger
holds.
"""

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from heygem.core.errors import AssetError, InputError, OutputError
from heygem.core.types import PathLike
from heygem.provenance import key_ring, key_succession, ledger
from heygem.provenance.certificates import PEM, is_self_issued, issue_chain, rejection_reason
from heygem.provenance.key_ring import KeyRing, RingKey
from heygem.provenance.public_keys import PublicKeys, public_half

LEAF_DAYS = 825


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
        The one in use.
    watermark_secrets : dict of str to bytes [32]
        All, by the name of the signing key of their time; the one in use first.
    public : PublicKeys
        The public halves, also of retired keys.
    """

    folder: Path
    signer: ed25519.Ed25519PrivateKey
    c2pa_key: ec.EllipticCurvePrivateKey
    chain_pem: str
    anchors_pem: str
    watermark_secret: bytes
    watermark_secrets: dict[str, bytes]
    public: PublicKeys

    @property
    def public_hex(self) -> str:
        """The public half of the signing key, 64 hexadecimal digits."""
        return self.public.keys[0].public_hex

    @property
    def name(self) -> str:
        """Sixteen hexadecimal digits that identify this installation's key."""
        return self.public_hex[:16]

    def sign(self, message: bytes) -> str:
        """`ed25519:<key name>:<signature>` over `message`."""
        return f"ed25519:{self.name}:{self.signer.sign(message).hex()}"

    def verify(self, message: bytes, signature: str) -> bool | None:
        """Whether `signature` is by a key of this installation, in use or retired, over `message`.

        None for another installation's.
        """
        return self.public.verify(message, signature)


def folder() -> Path:
    """The default folder of the keys: `keys` beside the ledger, see `ledger.home`."""
    return ledger.home() / "keys"


def load(path: PathLike | None = None) -> Keys:
    """Load the keys.

    Raises
    ------
    AssetError
        There are none, one is missing or damaged, or other users can read one.
    """
    path = _folder(path)
    ring = key_ring.read(path)
    if ring is None:
        key_succession.require_no_ledger(path)
        raise AssetError(
            "there are no keys to label with",
            seen=path,
            remedy="run `heygem keys init`, or set HEYGEM_RECORDS to the folder that holds them",
        )
    return _loaded(path, ring)


def ensure(path: PathLike | None = None) -> Keys:
    """Load the keys, or create them on first use.

    Of several processes that do this at once, one creates them. Keys that are incomplete are never
    replaced, nor those of a ledger that is there without them.

    Raises
    ------
    AssetError
        They cannot be loaded, or are gone while the ledger is there.
    OutputError
        They cannot be written.
    """
    path = _folder(path)
    ring = key_ring.read(path)
    if ring is not None:
        return _loaded(path, ring)
    with key_ring.locked(path):
        ring = key_ring.read(path)  # by another process, in the meantime
        if ring is not None:
            return _loaded(path, ring)
        key_succession.require_no_ledger(path)
        return _create(path, "heygem local", LEAF_DAYS)


def load_for_reading(path: PathLike | None = None) -> Keys | PublicKeys | None:
    """What there is to check labels with.

    Returns
    -------
    Keys, PublicKeys or None
        The keys; without them the public halves that the ledger beside them holds, perhaps none;
        None where there is no ledger either.

    Raises
    ------
    AssetError
        There are keys that cannot be opened.
    """
    path = _folder(path)
    ring = key_ring.read(path)
    if ring is not None:
        return _loaded(path, ring)
    if not key_succession.ledger_path(path).exists():
        return None
    return key_succession.recorded_keys(path)


def init(
    path: PathLike | None = None,
    *,
    organisation: str = "heygem local",
    days: int = LEAF_DAYS,
    replace_lost: bool = False,
) -> Keys:
    """Create the keys of a new installation.

    An incomplete set, which the earlier version left when it was killed, is set aside if nothing
    was made with it.

    Parameters
    ----------
    path
        Folder, by default `folder`.
    organisation
        Name in the certificates.
    days
        Validity of the signing certificate.
    replace_lost
        The ledger beside the folder was signed with keys that are lost: make new ones, which
        continue it.

    Raises
    ------
    OutputError
        There are keys already, or the folder cannot be written.
    AssetError
        There is a ledger, and the keys that signed it are missing.
    """
    path = _folder(path)
    with key_ring.locked(path):
        _require_no_keys(path)
        if not replace_lost:
            key_succession.require_no_ledger(path)
        key_ring.set_aside_incomplete(path)
        lost = key_succession.recorded_keys(path) if replace_lost else None
        return _create(path, organisation, days, lost)


def renew(
    path: PathLike | None = None, *, organisation: str = "heygem local", days: int = LEAF_DAYS
) -> Keys:
    """Issue a new certificate for Content Credentials; old roots stay trusted, other keys stay.

    Also mends a set of the earlier version whose certificate is missing or damaged.
    """
    path = _folder(path)
    with key_ring.locked(path):
        ring = _read_without_certificate(path)
        return _write(path, _with_new_chain(ring, organisation, days))


def rotate(
    path: PathLike | None = None,
    *,
    reason: str,
    is_stolen: bool = False,
    organisation: str = "heygem local",
    days: int = LEAF_DAYS,
) -> Keys:
    """Replace the keys in use with new ones; the old ones stay in the ring, to recognise by.

    The last row that the old key signs in the ledger names the new one. A certificate that was
    imported stays, unless it is stolen too: only its issuer can replace it.

    Parameters
    ----------
    path
        Folder, by default `folder`.
    reason
        Why, for the ring and for the ledger.
    is_stolen
        Somebody else may have the keys: their certificates are no longer trusted, and signatures
        with them prove nothing without a row in the ledger.
    organisation, days
        As for `init`.

    Raises
    ------
    AssetError
        The keys cannot be loaded.
    OutputError
        The ledger or the keys cannot be written; then the old keys are still in use.
    """
    path = _folder(path)
    with key_ring.locked(path):
        ring = key_ring.read(path)
        if ring is None:
            return load(path)  # raises, and says what is missing
        old, new = _loaded(path, ring), _new_key()
        certificates = x509.load_pem_x509_certificates(ring.chain_pem.encode())
        if is_stolen or is_self_issued(certificates[0]):
            trusted = "" if is_stolen else ring.anchors_pem
            ring = _with_new_chain(replace(ring, anchors_pem=trusted), organisation, days)
        retired = ring.keys[0].retired(reason, is_stolen=is_stolen)
        ring = replace(ring, keys=(new, retired, *ring.keys[1:]))
        key_succession.record_rotation(path, old, new, retired)
        return _write(path, ring)


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
    path = _folder(path)
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
    if problem is not None or not isinstance(private_key, ec.EllipticCurvePrivateKey):
        raise InputError("this certificate cannot sign Content Credentials", seen=problem)
    pems = [each.public_bytes(PEM).decode() for each in certificates]
    with key_ring.locked(path):
        ring = _read_without_certificate(path)
        # From now on this installation also trusts the last certificate of the chain.
        return _write(
            path,
            replace(
                ring,
                c2pa_pem=key_ring.private_pem(private_key),
                chain_pem="".join(pems),
                anchors_pem=ring.anchors_pem + pems[-1],
            ),
        )


def _folder(path: PathLike | None) -> Path:
    return Path(path) if path is not None else folder()


def _loaded(path: Path, ring: KeyRing) -> Keys:
    secrets_by_name = {
        key.name: bytes.fromhex(key.watermark_hex) for key in ring.keys if not key.is_lost
    }
    return Keys(
        folder=path,
        signer=key_ring.open_signer(ring.keys[0].sign_pem),
        c2pa_key=key_ring.open_certificate_key(ring.c2pa_pem, ring.chain_pem),
        chain_pem=ring.chain_pem,
        anchors_pem=ring.anchors_pem,
        watermark_secret=secrets_by_name[ring.keys[0].name],
        watermark_secrets=secrets_by_name,
        public=PublicKeys(tuple(map(public_half, ring.keys)), ring.anchors_pem),
    )


def _write(path: Path, ring: KeyRing) -> Keys:
    ring.check()
    key_ring.write(path, ring)
    return _loaded(path, ring)


def _new_key() -> RingKey:
    signer = ed25519.Ed25519PrivateKey.generate()
    return RingKey(
        key_ring.public_hex(signer),
        key_ring.now_utc(),
        sign_pem=key_ring.private_pem(signer),
        watermark_hex=secrets.token_hex(32),
    )


def _with_new_chain(ring: KeyRing, organisation: str, days: int) -> KeyRing:
    leaf_key, leaf, root = issue_chain(organisation, days)
    leaf_pem, root_pem = (each.public_bytes(PEM).decode() for each in (leaf, root))
    return replace(
        ring,
        c2pa_pem=key_ring.private_pem(leaf_key),
        chain_pem=leaf_pem + root_pem,
        anchors_pem=ring.anchors_pem + root_pem,
    )


def _create(path: Path, organisation: str, days: int, lost: PublicKeys | None = None) -> Keys:
    """Make and store new keys; call it with the folder locked and without keys."""
    new = _new_key()
    ring = KeyRing((new,), "", "", "")
    if lost is not None:
        retired = (RingKey(key.public_hex).retired("lost") for key in lost.keys)
        ring = KeyRing((new, *retired), "", "", lost.anchors_pem)
    ring = _with_new_chain(ring, organisation, days)
    keys = _loaded(path, ring)
    try:
        key_ring.make_folder(path)
        # Both before the ring: a process that is killed between leaves no keys without them.
        if lost is None:
            key_succession.write_empty_head(path, keys)
        else:
            key_succession.record_replacement(path, keys, lost.keys)
    except OSError as error:
        raise key_ring.cannot_write(path, error) from error
    return _write(path, ring)


def _require_no_keys(path: Path) -> None:
    try:
        ring = key_ring.read(path)
    except AssetError:
        # Files of the earlier version may be incomplete; a damaged ring is never replaced.
        if not key_ring.is_incomplete(path):
            raise
        return
    if ring is not None:
        raise OutputError(
            "this installation has keys already, and files labelled with them",
            seen=f"{path}: {ring.keys[0].name}",
            remedy="keep them; `heygem keys renew` issues a new certificate only, `heygem keys"
            " rotate` makes new keys and keeps these to recognise earlier files",
        )


def _read_without_certificate(path: Path) -> KeyRing:
    """The ring; from a set of the earlier version whose certificate is damaged, the rest."""
    try:
        ring = key_ring.read(path)
    except AssetError:
        if not key_ring.has_earlier_files(path):
            raise
        anchors = path / key_ring.ANCHORS
        trusted = anchors.read_text(encoding="ascii") if anchors.exists() else ""
        return KeyRing((key_ring.read_earlier_signer(path),), "", "", trusted)
    if ring is None:
        load(path)  # raises, and says what is missing
    assert ring is not None
    return ring
