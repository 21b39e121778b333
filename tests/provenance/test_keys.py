"""The secret keys of an installation: made whole, kept, replaced, and imported certificates."""

import os
import shutil
import sqlite3

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from helpers.certificates import write_certificate
from helpers.earlier_installation import write_keys, write_ledger
from helpers.killing import run_at_once, run_killed, run_with_full_disk

from heygem.core.errors import AssetError, HeygemError, InputError, OutputError
from heygem.provenance import keys
from heygem.provenance.keys import changes as key_changes
from heygem.provenance.keys.public import PublicKeys, read_public_keys
from heygem.provenance.ledger import Ledger


@pytest.fixture
def quick_disk(monkeypatch):
    """Skip waiting for the disk, which a killed process does not need."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def kill_everywhere(tmp_path, prepare, action, check):
    """Kill `action(home)` before each of its file operations in turn; `check` what is left."""
    operation = 0
    while True:
        operation += 1
        home = tmp_path / str(operation)
        home.mkdir()
        prepare(home)
        was_killed = run_killed(lambda home=home: action(home), operation)
        check(home)
        if not was_killed:
            break
        shutil.rmtree(home)
    assert operation > 5, "hardly any file operation was seen"


def test_keys_are_private_and_never_replaced(tmp_path):
    first = keys.ensure(tmp_path / "k")
    assert keys.ensure(tmp_path / "k").public_hex == first.public_hex
    assert all((p.stat().st_mode & 0o077) == 0 for p in (tmp_path / "k").iterdir())
    with pytest.raises(HeygemError, match="has keys already"):
        keys.init(tmp_path / "k")


@pytest.mark.fault
@pytest.mark.parametrize("content", ["", "{}", '{"format": "heygem key ring", "version": 1}'])
def test_a_damaged_key_ring_is_named_and_never_replaced(tmp_path, content):
    keys.init(tmp_path / "k")
    (tmp_path / "k" / "ring.json").write_text(content)
    for attempt in (keys.load, keys.ensure, keys.init, key_changes.renew):
        with pytest.raises(AssetError, match="heygem keys restore"):
            attempt(tmp_path / "k")
    assert (tmp_path / "k" / "ring.json").read_text() == content


def test_keys_that_others_can_read_are_refused(tmp_path):
    keys.init(tmp_path / "k")
    (tmp_path / "k" / "ring.json").chmod(0o644)
    with pytest.raises(HeygemError, match="chmod 600"):
        keys.load(tmp_path / "k")


@pytest.mark.slow
@pytest.mark.fault
def test_wherever_making_keys_is_killed_the_next_command_has_one_whole_set(tmp_path, quick_disk):
    def next_command_works(home):
        made = keys.ensure(home / "keys")
        assert list(home.rglob("*.part")) == []
        assert keys.load(home / "keys").public_hex == made.public_hex
        ledger = Ledger(home / "ledger.db", keys=made)
        ledger.append("made", "a", {})
        assert ledger.verify() == []

    kill_everywhere(
        tmp_path, lambda home: None, lambda home: keys.ensure(home / "keys"), next_command_works
    )


@pytest.mark.fault
@pytest.mark.parametrize("free_bytes", [0, 10, 300, 1500])
def test_a_full_disk_while_keys_are_made_leaves_none(tmp_path, free_bytes):
    error = run_with_full_disk(lambda: keys.ensure(tmp_path / "keys"), free_bytes)
    assert "Error: the keys cannot be written" in error and "free some space" in error
    keys.ensure(tmp_path / "keys")


@pytest.mark.slow
@pytest.mark.fault
def test_first_runs_at_once_make_one_set(tmp_path):
    def first_run(i):
        (tmp_path / f"name{i}").write_text(keys.ensure(tmp_path / "home" / "keys").public_hex)

    assert run_at_once(first_run, 12) == [""] * 12
    assert len({(tmp_path / f"name{i}").read_text() for i in range(12)}) == 1


@pytest.mark.fault
@pytest.mark.parametrize("present", ["", "sign.key", "sign.key mark.key c2pa.key"])
def test_a_set_that_the_earlier_version_left_half_made_is_mended_by_the_command_it_names(
    tmp_path, present
):
    whole = write_keys(tmp_path / "keys")
    for path in (tmp_path / "keys").iterdir():
        if path.name not in present.split():
            path.unlink()
    if not present:
        (tmp_path / "keys" / "sign.key").touch(mode=0o600)  # killed before its content was written
    with pytest.raises(AssetError) as refusal:
        keys.ensure(tmp_path / "keys")
    command = "renew" if "c2pa.key" in present else "init"
    assert f"heygem keys {command}" in str(refusal.value)
    mend = key_changes.renew if command == "renew" else keys.init
    mended = mend(tmp_path / "keys")
    assert keys.ensure(tmp_path / "keys").public_hex == mended.public_hex
    raw = whole.public_key().public_bytes_raw().hex()
    assert (mended.public_hex == raw) == (command == "renew")
    aside = list(tmp_path.glob("keys-incomplete-*/sign.key"))
    assert len(aside) == (command == "init"), "a key was deleted"


@pytest.mark.fault
def test_keys_that_are_gone_while_the_ledger_is_there_are_not_replaced_silently(tmp_path):
    lost = keys.ensure(tmp_path / "keys")
    ledger = Ledger(tmp_path / "ledger.db", keys=lost)
    ledger.append("made", "a", {})
    shutil.rmtree(tmp_path / "keys")
    for attempt in (keys.ensure, keys.load, keys.init):
        with pytest.raises(AssetError, match=f"{lost.name}; restore them with `heygem keys restor"):
            attempt(tmp_path / "keys")
    ledger.path.unlink()  # its head alone says as much
    with pytest.raises(AssetError, match="the keys are gone"):
        keys.ensure(tmp_path / "keys")
    assert not (tmp_path / "keys").exists()


@pytest.mark.fault
def test_lost_keys_are_replaced_on_request_and_what_they_signed_is_still_recognised(tmp_path):
    lost = keys.ensure(tmp_path / "keys")
    Ledger(tmp_path / "ledger.db", keys=lost).append("made", "a", {})
    shutil.rmtree(tmp_path / "keys")
    public = keys.load_for_reading(tmp_path / "keys")
    assert isinstance(public, PublicKeys) and public.anchors_pem == lost.anchors_pem
    assert public.verify(b"text", lost.sign(b"text")) is True
    with pytest.raises(AssetError, match="the keys that sign the ledger are missing"):
        Ledger(tmp_path / "ledger.db", keys=public).append("made", "b", {})

    new = keys.init(tmp_path / "keys", replace_lost=True)
    assert new.name != lost.name and new.public.find(lost.sign(b"")).reason == "lost"
    assert new.verify(b"text", lost.sign(b"text")) is True
    assert new.anchors_pem.startswith(lost.anchors_pem)
    ledger = Ledger(tmp_path / "ledger.db", keys=new)
    ledger.append("made", "b", {})
    assert [e.kind for e in ledger.entries()] == ["made", "keys replaced", "made"]
    assert ledger.verify() == []


def test_rotated_keys_sign_and_the_retired_ones_are_recognised(tmp_path):
    first = keys.ensure(tmp_path / "keys")
    ledger = Ledger(tmp_path / "ledger.db", keys=first)
    ledger.append("made", "a", {})
    second = key_changes.rotate(tmp_path / "keys", reason="yearly")
    third = key_changes.rotate(tmp_path / "keys", reason="again")
    assert len({first.name, second.name, third.name}) == 3
    for retired, reason in ((first, "yearly"), (second, "again")):
        signature = retired.sign(b"text")
        assert third.verify(b"text", signature) is True
        assert third.verify(b"other", signature) is False
        assert third.public.find(signature).reason == reason
        assert third.watermark_secrets[retired.name] == retired.watermark_secret
        assert third.anchors_pem.startswith(retired.anchors_pem)
    assert list(third.watermark_secrets) == [third.name, second.name, first.name]
    assert keys.load(tmp_path / "keys").watermark_secret == third.watermark_secret
    ledger = Ledger(tmp_path / "ledger.db", keys=third)
    ledger.append("made", "b", {})
    assert [e.kind for e in ledger.entries()] == ["made", "keys rotated", "keys rotated", "made"]
    assert ledger.verify() == []


@pytest.mark.fault
def test_a_retired_key_signs_no_more_rows(tmp_path):
    stolen = keys.ensure(tmp_path / "keys")
    begun = Ledger(tmp_path / "ledger.db", keys=stolen).begin("c0ffee", {})
    new = key_changes.rotate(tmp_path / "keys", reason="laptop stolen", is_stolen=True)
    assert new.public.find(stolen.sign(b"")).is_stolen
    assert stolen.anchors_pem not in new.anchors_pem
    Ledger(tmp_path / "ledger.db", keys=new).append("made", "b", {})
    thief = Ledger(tmp_path / "ledger.db", keys=stolen)
    with pytest.raises(AssetError, match="the keys were replaced while this program was running"):
        thief.append("made", "forged", {})
    with sqlite3.connect(thief.path) as db:
        db.execute("DELETE FROM signers")
    thief.append("made", "forged", {})
    thief.finish(begun, "forged", {})
    first, second = Ledger(tmp_path / "ledger.db", keys=new).verify()
    assert (first.number, second.number) == (4, 5) and "replaced before" in first.problem


@pytest.mark.fault
def test_a_run_that_was_begun_before_a_rotation_ends_with_its_own_key(tmp_path):
    old = keys.ensure(tmp_path / "keys")
    running = Ledger(tmp_path / "ledger.db", keys=old)
    begun = [running.begin(name, {}) for name in ("c0ffee", "decaf")]
    new = key_changes.rotate(tmp_path / "keys", reason="yearly")
    ledger = Ledger(tmp_path / "ledger.db", keys=new)
    ledger.append("made", "b", {})
    running.finish(begun[0], "f" * 64, {})
    running.abandon(begun[1], "stopped")
    ledger.append("made", "c", {})
    assert ledger.verify() == []
    with pytest.raises(AssetError, match="start it again"):
        running.begin("facade", {})
    assert ledger.verify() == [] and len(ledger.entries()) == 7


@pytest.mark.fault
def test_a_key_that_no_row_announces_is_a_fault(tmp_path):
    first = keys.ensure(tmp_path / "keys")
    Ledger(tmp_path / "ledger.db", keys=first).append("made", "a", {})
    other = keys.ensure(tmp_path / "other" / "keys")
    Ledger(tmp_path / "ledger.db", keys=other).append("made", "b", {})
    both = PublicKeys((*other.public.keys, *first.public.keys), "")
    (fault,) = Ledger(tmp_path / "ledger.db", keys=both).verify()
    assert fault.number == 2 and "no row says why" in fault.problem


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("is_earlier", [False, True])
def test_wherever_rotation_is_killed_one_whole_set_is_in_use(tmp_path, quick_disk, is_earlier):
    def prepare(home):
        shutil.copytree(tmp_path / "before", home, dirs_exist_ok=True)

    def check(home):
        after = keys.ensure(home / "keys")
        is_rotated = after.name != before.name
        assert len(after.public.keys) == 1 + is_rotated
        assert before.watermark_secret in after.watermark_secrets.values()
        ledger = Ledger(home / "ledger.db", keys=after)
        ledger.append("made", "b", {})
        assert ledger.verify() == []

    home = tmp_path / "before"
    if is_earlier:
        write_ledger(home / "ledger.db", write_keys(home / "keys"), 2)
    else:
        Ledger(home / "ledger.db", keys=keys.ensure(home / "keys")).append("made", "a", {})
    before = keys.load(home / "keys")
    kill_everywhere(
        tmp_path, prepare, lambda home: key_changes.rotate(home / "keys", reason="yearly"), check
    )


@pytest.mark.fault
@pytest.mark.parametrize("free_bytes", [0, 300])
def test_a_full_disk_while_keys_are_rotated_keeps_the_old_ones(tmp_path, free_bytes):
    old = keys.ensure(tmp_path / "keys")
    error = run_with_full_disk(
        lambda: key_changes.rotate(tmp_path / "keys", reason="x"), free_bytes
    )
    assert "Error: the ledger cannot be opened: the disk" in error
    assert keys.load(tmp_path / "keys").name == old.name


def test_keys_of_the_earlier_version_are_read_and_become_a_ring_at_the_first_change(tmp_path):
    signer = write_keys(tmp_path / "keys")
    secret = bytes.fromhex((tmp_path / "keys" / "mark.key").read_text().strip())
    before = keys.ensure(tmp_path / "keys")
    ledger = Ledger(tmp_path / "ledger.db", keys=before)
    assert ledger.verify() == [], "nothing was made yet"
    assert before.public_hex == signer.public_key().public_bytes_raw().hex()
    assert before.watermark_secret == secret
    assert (tmp_path / "keys" / "sign.key").exists(), "reading changed it"
    renewed = key_changes.renew(tmp_path / "keys")
    assert renewed.name == before.name and renewed.watermark_secret == secret
    assert renewed.chain_pem != before.chain_pem
    assert renewed.anchors_pem.startswith(before.anchors_pem)
    assert ledger.verify() == []
    names = {path.name for path in (tmp_path / "keys").iterdir()}
    assert names == {"ring.json", "anchors.pem", "ledger.db.head"}


def test_public_keys_are_written_for_others_without_a_secret(tmp_path):
    own = keys.init(tmp_path / "keys")
    (tmp_path / "public.json").write_text(own.public.to_json())
    public = read_public_keys(tmp_path / "public.json")
    assert public == own.public and public.verify(b"text", own.sign(b"text")) is True
    assert "PRIVATE" not in (tmp_path / "public.json").read_text()
    (tmp_path / "public.json").write_text('{"keys": []}')
    with pytest.raises(InputError, match="public keys cannot be read"):
        read_public_keys(tmp_path / "public.json")


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
        key_changes.import_certificate(
            *write_certificate(tmp_path / "own", **wrong), tmp_path / "keys"
        )
    chain, _ = write_certificate(tmp_path / "one")
    _, key = write_certificate(tmp_path / "two")
    with pytest.raises(InputError, match="not the certificate's"):
        key_changes.import_certificate(chain, key, tmp_path / "keys")
    assert keys.load(tmp_path / "keys").chain_pem == before.chain_pem


def test_an_imported_certificate_survives_a_rotation_unless_it_is_stolen(tmp_path):
    keys.init(tmp_path / "keys")
    imported = key_changes.import_certificate(
        *write_certificate(tmp_path / "own"), tmp_path / "keys"
    )
    rotated = key_changes.rotate(tmp_path / "keys", reason="yearly")
    assert rotated.chain_pem == imported.chain_pem and rotated.name != imported.name
    stolen = key_changes.rotate(tmp_path / "keys", reason="stolen", is_stolen=True)
    assert stolen.chain_pem != imported.chain_pem


def test_keys_that_cannot_be_written_are_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="HEYGEM_RECORDS"):
        keys.ensure(tmp_path / "file" / "keys")
