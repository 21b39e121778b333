"""The secret keys of one installation: for signatures and for the invisible watermark.

An Ed25519 key signs the metadata label and the ledger, a P-256 key with its certificate chain signs
Content Credentials (C2PA), and 32 random bytes seed the watermark's pattern. Keys that were
replaced stay in the key ring (`heygem.provenance.keys.ring`), so that what was labelled with them
is still recognised. Without the secrets, `load_for_reading` returns the public halves that the
ledger holds.
"""

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from heygem.core.errors import AssetError, OutputError
from heygem.core.types import PathLike
from heygem.provenance import ledger
from heygem.provenance.keys import ring as key_ring
from heygem.provenance.keys import succession as key_succession
from heygem.provenance.keys.certificates import PEM, issue_chain
from heygem.provenance.keys.public import PublicKeys, public_half
from heygem.provenance.keys.ring import KeyRing, RingKey

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
    path = folder_or_default(path)
    ring = key_ring.read(path)
    if ring is None:
        key_succession.require_no_ledger(path)
        raise AssetError(
            "there are no keys to label with",
            seen=path,
            remedy="run `heygem keys init`, or set HEYGEM_RECORDS to the folder that holds them",
        )
    return opened(path, ring)


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
    path = folder_or_default(path)
    ring = key_ring.read(path)
    if ring is not None:
        return opened(path, ring)
    with key_ring.locked(path):
        ring = key_ring.read(path)  # by another process, in the meantime
        if ring is not None:
            return opened(path, ring)
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
    path = folder_or_default(path)
    ring = key_ring.read(path)
    if ring is not None:
        return opened(path, ring)
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
    path = folder_or_default(path)
    with key_ring.locked(path):
        _require_no_keys(path)
        if not replace_lost:
            key_succession.require_no_ledger(path)
        if key_ring.is_incomplete(path):
            key_ring.set_aside(path, "incomplete")
        if not replace_lost:
            return _create(path, organisation, days)
        lost = key_succession.recorded_keys(path)
        retired = tuple(RingKey(key.public_hex).retired("lost") for key in lost.keys)
        ring = KeyRing(retired, "", "", lost.anchors_pem)
        return continue_with_new(path, ring, organisation=organisation, days=days)


def continue_with_new(
    path: Path, ring: KeyRing, *, organisation: str = "heygem local", days: int = LEAF_DAYS
) -> Keys:
    """Make new keys that continue a ledger whose last key is lost; call it with the folder locked.

    Parameters
    ----------
    path
    ring
        What is left of the former ring.
    organisation, days
        As for `init`.

    Raises
    ------
    OutputError
    """
    new, lost = new_key(), [key for key in ring.keys if key.is_lost]
    retired = (key if key.retired_utc else key.retired("restored") for key in ring.keys)
    ring = with_new_chain(replace(ring, keys=(new, *retired)), organisation, days)
    try:
        key_ring.make_folder(path)
    except OSError as error:
        raise key_ring.cannot_write(path, error) from error
    key_succession.record_replacement(path, opened(path, ring), lost)
    return write(path, ring)


def write(path: Path, ring: KeyRing) -> Keys:
    """Replace the ring in a folder by a checked one; call it with the folder locked.

    Raises
    ------
    OutputError
    """
    ring.check()
    keys = opened(path, ring)
    if key_ring.has_earlier_files(path) and not key_succession.has_ledger(path):
        _write_empty_head(path, keys)  # which the earlier version did not
    key_ring.write(path, ring)
    return keys


def folder_or_default(path: PathLike | None) -> Path:
    """A folder of keys as given, or this installation's."""
    return Path(path) if path is not None else folder()


def opened(path: Path, ring: KeyRing) -> Keys:
    """The keys of a ring, loaded."""
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


def new_key() -> RingKey:
    """A new signing key with a watermark's secret."""
    signer = ed25519.Ed25519PrivateKey.generate()
    return RingKey(
        key_ring.public_hex(signer),
        key_ring.now_utc(),
        sign_pem=key_ring.private_pem(signer),
        watermark_hex=secrets.token_hex(32),
    )


def with_new_chain(ring: KeyRing, organisation: str, days: int) -> KeyRing:
    """A ring with a new certificate of its own; it trusts the new root and the former ones."""
    leaf_key, leaf, root = issue_chain(organisation, days)
    leaf_pem, root_pem = (each.public_bytes(PEM).decode() for each in (leaf, root))
    return replace(
        ring,
        c2pa_pem=key_ring.private_pem(leaf_key),
        chain_pem=leaf_pem + root_pem,
        anchors_pem=ring.anchors_pem + root_pem,
    )


def _create(path: Path, organisation: str, days: int) -> Keys:
    """Make and store the first keys; call it with the folder locked and without keys."""
    ring = with_new_chain(KeyRing((new_key(),), "", "", ""), organisation, days)
    _write_empty_head(path, opened(path, ring))  # where the ring is written, its head is there
    return write(path, ring)


def _write_empty_head(path: Path, keys: Keys) -> None:
    try:
        key_ring.make_folder(path)
        key_succession.write_empty_head(path, keys)
    except OSError as error:
        raise key_ring.cannot_write(path, error) from error


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
