"""The secret keys of an installation, and imported certificates."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from helpers.certificates import write_certificate

from heygem.core.errors import HeygemError, InputError
from heygem.provenance import keys


def test_keys_are_private_and_never_replaced(tmp_path):
    first = keys.ensure(tmp_path / "k")
    assert keys.ensure(tmp_path / "k").public_hex == first.public_hex
    assert all((p.stat().st_mode & 0o077) == 0 for p in (tmp_path / "k").iterdir())
    with pytest.raises(HeygemError, match="has keys already"):
        keys.init(tmp_path / "k")
    (tmp_path / "k" / "mark.key").unlink()
    with pytest.raises(HeygemError, match="missing"):
        keys.ensure(tmp_path / "k")


def test_keys_that_others_can_read_are_refused(tmp_path):
    keys.init(tmp_path / "k")
    (tmp_path / "k" / "sign.key").chmod(0o644)
    with pytest.raises(HeygemError, match="chmod 600"):
        keys.load(tmp_path / "k")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"curve": ec.SECP384R1()}, "not P-256"),
        ({"name": ""}, "no organisation"),
        ({"purpose": ExtendedKeyUsageOID.SERVER_AUTH}, "other purposes"),
    ],
)
def test_a_certificate_that_readers_would_reject_is_refused(tmp_path, wrong, message):
    before = keys.init(tmp_path / "keys")
    with pytest.raises(InputError, match=message):
        keys.import_certificate(*write_certificate(tmp_path / "own", **wrong), tmp_path / "keys")
    chain, _ = write_certificate(tmp_path / "one")
    _, key = write_certificate(tmp_path / "two")
    with pytest.raises(InputError, match="not the certificate's"):
        keys.import_certificate(chain, key, tmp_path / "keys")
    assert keys.load(tmp_path / "keys").chain_pem == before.chain_pem
