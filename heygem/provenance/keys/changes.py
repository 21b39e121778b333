"""Changes to the keys of an installation: a new certificate, another one, new keys."""

from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from heygem.core.errors import AssetError, InputError
from heygem.core.types import PathLike
from heygem.provenance.keys import installed
from heygem.provenance.keys import ring as key_ring
from heygem.provenance.keys import succession as key_succession
from heygem.provenance.keys.certificates import PEM, is_self_issued, rejection_reason
from heygem.provenance.keys.installed import LEAF_DAYS, Keys
from heygem.provenance.keys.ring import KeyRing


def renew(
    path: PathLike | None = None, *, organisation: str = "heygem local", days: int = LEAF_DAYS
) -> Keys:
    """Issue a new certificate for Content Credentials; old roots stay trusted, other keys stay.

    Also mends a set of the earlier version whose certificate is missing or damaged.
    """
    path = installed.folder_or_default(path)
    with key_ring.locked(path):
        ring = _read_without_certificate(path)
        return installed.write(path, installed.with_new_chain(ring, organisation, days))


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
        Folder, by default `installed.folder`.
    reason
        Why, for the ring and for the ledger.
    is_stolen
        Somebody else may have the keys: their certificates are no longer trusted, and signatures
        with them prove nothing without a row in the ledger.
    organisation, days
        As for `installed.init`.

    Raises
    ------
    AssetError
        The keys cannot be loaded.
    OutputError
        The ledger or the keys cannot be written; then the old keys are still in use.
    """
    path = installed.folder_or_default(path)
    with key_ring.locked(path):
        ring = key_ring.read(path)
        if ring is None:
            return installed.load(path)  # raises, and says what is missing
        old, new = installed.opened(path, ring), installed.new_key()
        certificates = x509.load_pem_x509_certificates(ring.chain_pem.encode())
        if is_stolen or is_self_issued(certificates[0]):
            trusted = "" if is_stolen else ring.anchors_pem
            ring = installed.with_new_chain(replace(ring, anchors_pem=trusted), organisation, days)
        retired = ring.keys[0].retired(reason, is_stolen=is_stolen)
        ring = replace(ring, keys=(new, retired, *ring.keys[1:]))
        key_succession.record_rotation(path, old, new, retired)
        return installed.write(path, ring)


def import_certificate(chain: PathLike, key: PathLike, path: PathLike | None = None) -> Keys:
    """Sign Content Credentials with a certificate from elsewhere; other keys stay.

    Parameters
    ----------
    chain, key
        PEM files: certificates, leaf first, with or without the root; the leaf's private key,
        P-256 and not encrypted.
    path
        Folder of the keys, by default `installed.folder`.

    Raises
    ------
    InputError
        They cannot be read, do not belong together, or readers would reject the signature.
    """
    path = installed.folder_or_default(path)
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
        return installed.write(
            path,
            replace(
                ring,
                c2pa_pem=key_ring.private_pem(private_key),
                chain_pem="".join(pems),
                anchors_pem=ring.anchors_pem + pems[-1],
            ),
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
        installed.load(path)  # raises, and says what is missing
    assert ring is not None
    return ring
