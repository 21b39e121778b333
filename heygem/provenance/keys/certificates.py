"""Certificates for Content Credentials: an issuer's own chain, and checks of an imported one.

The profile is that of C2PA 2.2, section 14.5.1: a P-256 leaf with digitalSignature,
emailProtection, key identifiers and an organisation.
"""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
_ROOT_NAME = "heygem local root"
_ROOT_DAYS = 3650
_DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
_C2PA_SIGNING = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")


def issue_chain(
    organisation: str, days: int
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate, x509.Certificate]:
    """A new leaf key with its certificate, valid for `days`, and the root that signed it.

    The root's private key is discarded, so that nobody can issue a second certificate under it.

    Returns
    -------
    leaf_key, leaf, root
    """
    root_key = ec.generate_private_key(ec.SECP256R1())
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    root_name = _name(organisation, _ROOT_NAME)
    root = (
        _builder(root_name, root_name, root_key.public_key(), _ROOT_DAYS)
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(_key_usage(is_issuer=True), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), False)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _builder(_name(organisation, "heygem signer"), root_name, leaf_key.public_key(), days)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(_key_usage(is_issuer=False), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(leaf_key.public_key()), False)
        .sign(root_key, hashes.SHA256())
    )
    return leaf_key, leaf, root


def is_self_issued(leaf: x509.Certificate) -> bool:
    """Whether `issue_chain` made a certificate, rather than an authority elsewhere."""
    names = leaf.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [name.value for name in names] == [_ROOT_NAME]


def rejection_reason(leaf: x509.Certificate, private_key: object) -> str | None:
    """Why readers would reject a signature by this leaf and key, or None."""
    if not isinstance(private_key, ec.EllipticCurvePrivateKey):
        return "the key is not P-256"
    if private_key.curve.name != "secp256r1":
        return "the key is not P-256"
    if private_key.public_key() != leaf.public_key():
        return "the key is not the certificate's"
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not start < datetime.datetime.now(datetime.UTC) < end:
        return f"it is valid from {start:%Y-%m-%d} to {end:%Y-%m-%d}"
    if not leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME):
        return "its subject names no organisation"
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound as error:
        return str(error)
    if not usage.digital_signature or usage.key_cert_sign:
        return "its key usage is not signing alone"
    accepted = {ExtendedKeyUsageOID.EMAIL_PROTECTION, _DOCUMENT_SIGNING, _C2PA_SIGNING}
    return None if accepted & set(purposes) else "it is for other purposes than signing documents"


def _name(organisation: str, common_name: str) -> x509.Name:
    # Validators reject a signature without an organisation.
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    # Valid from an hour ago, for clocks that are a little slow.
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


def _key_usage(*, is_issuer: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_issuer,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_issuer,
        crl_sign=is_issuer,
        encipher_only=False,
        decipher_only=False,
    )
