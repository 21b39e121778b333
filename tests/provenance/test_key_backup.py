"""Backups of the keys, and what is put back from them."""

import json
import shutil

import pytest
from helpers.earlier_installation import write_keys, write_ledger
from helpers.killing import run_killed

from heygem.core.errors import InputError, OutputError
from heygem.provenance import keys
from heygem.provenance.keys import backup as key_backup
from heygem.provenance.keys import changes as key_changes
from heygem.provenance.ledger import Ledger


@pytest.fixture
def installed(tmp_path):
    """Keys that were rotated once, and a ledger."""
    own = keys.init(tmp_path / "keys")
    Ledger(tmp_path / "ledger.db", keys=own).append("made", "a", {})
    own = key_changes.rotate(tmp_path / "keys", reason="yearly")
    Ledger(tmp_path / "ledger.db", keys=own).append("made", "b", {})
    return own


@pytest.mark.slow
@pytest.mark.parametrize("passphrase", [None, "correct horse battery 电池"])
def test_a_backup_puts_every_key_back(installed, tmp_path, passphrase):
    saved = tmp_path / "saved.json"
    key_backup.backup(saved, passphrase=passphrase, path=tmp_path / "keys")
    assert saved.stat().st_mode & 0o777 == 0o600
    assert key_backup.is_encrypted(saved) == (passphrase is not None)
    assert ("PRIVATE KEY" in saved.read_text()) == (passphrase is None)
    shutil.rmtree(tmp_path / "keys")
    restored, names = key_backup.restore(saved, passphrase=passphrase, path=tmp_path / "keys")
    assert restored.public == installed.public and len(names) == 2
    assert restored.watermark_secrets == installed.watermark_secrets
    assert restored.chain_pem == installed.chain_pem
    ledger = Ledger(tmp_path / "ledger.db", keys=restored)
    ledger.append("made", "c", {})
    assert ledger.verify() == []


@pytest.mark.slow  # scrypt, ten times
@pytest.mark.fault
def test_a_wrong_passphrase_and_a_damaged_backup_are_refused(installed, tmp_path):
    saved, folder = tmp_path / "saved.json", tmp_path / "keys"
    key_backup.backup(saved, passphrase="right", path=folder)
    for wrong in (None, "", "Right"):
        with pytest.raises(InputError, match="the passphrase is wrong"):
            key_backup.restore(saved, passphrase=wrong, path=folder)
    data = json.loads(saved.read_text())
    for damage in (
        {"content": data["content"][:-9]},
        {"salt": "xyz"},
        {"encrypted": False},
        {"encrypted": "no"},
        {"version": 2},
    ):
        saved.write_text(json.dumps(data | damage))
        with pytest.raises(InputError, match="damaged|not a backup"):
            key_backup.restore(saved, passphrase="right", path=folder)
    assert keys.load(folder).public == installed.public
    with pytest.raises(OutputError, match="would overwrite"):
        key_backup.backup(saved, path=folder)


@pytest.mark.fault
def test_a_damaged_file_of_keys_is_set_aside_and_restored(installed, tmp_path):
    key_backup.backup(tmp_path / "saved.json", path=tmp_path / "keys")
    (tmp_path / "keys" / "ring.json").write_text("{")
    restored, _ = key_backup.restore(tmp_path / "saved.json", path=tmp_path / "keys")
    assert restored.public == installed.public
    assert [p.read_text() for p in tmp_path.glob("keys-damaged-*/ring.json")] == ["{"]
    assert Ledger(tmp_path / "ledger.db", keys=restored).verify() == []


@pytest.mark.fault
def test_a_restored_installation_knows_that_rows_are_missing(installed, tmp_path):
    key_backup.backup(tmp_path / "saved.json", path=tmp_path / "keys")
    elsewhere = tmp_path / "new machine"
    restored, _ = key_backup.restore(tmp_path / "saved.json", path=elsewhere / "keys")
    (fault,) = Ledger(elsewhere / "ledger.db", keys=restored).verify()
    assert fault.problem == "rows 1 to 3 were cut off the end"
    shutil.copy(tmp_path / "ledger.db", elsewhere)
    shutil.copy(tmp_path / "ledger.db.head", elsewhere)
    assert Ledger(elsewhere / "ledger.db", keys=restored).verify() == []


@pytest.mark.fault
@pytest.mark.slow
def test_a_backup_from_before_a_rotation_is_continued_with_new_keys(tmp_path):
    folder = tmp_path / "keys"
    first = keys.init(folder)
    Ledger(tmp_path / "ledger.db", keys=first).append("made", "a", {})
    key_backup.backup(tmp_path / "old.json", path=folder)
    second = key_changes.rotate(folder, reason="yearly")
    Ledger(tmp_path / "ledger.db", keys=second).append("made", "b", {})
    shutil.rmtree(folder)
    restored, names = key_backup.restore(tmp_path / "old.json", path=folder)
    assert names == [first.name] and restored.name not in (first.name, second.name)
    assert restored.verify(b"text", second.sign(b"text")) is True
    assert set(restored.watermark_secrets) == {restored.name, first.name}
    ledger = Ledger(tmp_path / "ledger.db", keys=restored)
    ledger.append("made", "c", {})
    assert ledger.verify() == []


def test_keys_found_after_they_were_replaced_as_lost_are_recognised_fully_again(
    installed, tmp_path
):
    folder = tmp_path / "keys"
    key_backup.backup(tmp_path / "saved.json", path=folder)
    shutil.rmtree(folder)
    new = keys.init(folder, replace_lost=True)
    restored, names = key_backup.restore(tmp_path / "saved.json", path=folder)
    assert restored.name == new.name and set(names) == {k.name for k in installed.public.keys}
    assert restored.watermark_secrets.items() >= installed.watermark_secrets.items()
    assert restored.public.find(installed.sign(b"")).reason == "lost"
    assert Ledger(tmp_path / "ledger.db", keys=restored).verify() == []
    assert key_backup.restore(tmp_path / "saved.json", path=folder)[1] == []


@pytest.mark.fault
def test_a_backup_of_another_installation_is_refused(installed, tmp_path):
    keys.init(tmp_path / "other" / "keys")
    key_backup.backup(tmp_path / "other.json", path=tmp_path / "other" / "keys")
    shutil.rmtree(tmp_path / "keys")
    with pytest.raises(InputError, match="of another installation"):
        key_backup.restore(tmp_path / "other.json", path=tmp_path / "keys")
    assert not (tmp_path / "keys").exists()


def test_keys_of_the_earlier_version_are_backed_up_and_restored_as_a_ring(tmp_path):
    write_ledger(tmp_path / "ledger.db", write_keys(tmp_path / "keys"), 3)
    before = keys.load(tmp_path / "keys")
    key_backup.backup(tmp_path / "saved.json", path=tmp_path / "keys")
    shutil.rmtree(tmp_path / "keys")
    restored, _ = key_backup.restore(tmp_path / "saved.json", path=tmp_path / "keys")
    assert restored.public_hex == before.public_hex
    assert restored.watermark_secrets == before.watermark_secrets
    assert Ledger(tmp_path / "ledger.db", keys=restored).verify() == []


@pytest.mark.slow
@pytest.mark.fault
def test_wherever_a_restore_is_killed_it_can_be_done_again(installed, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    key_backup.backup(tmp_path / "saved.json", path=tmp_path / "keys")
    operation, was_killed = 0, True
    while was_killed:
        operation += 1
        shutil.rmtree(tmp_path / "keys")
        was_killed = run_killed(
            lambda: key_backup.restore(tmp_path / "saved.json", path=tmp_path / "keys"), operation
        )
        key_backup.restore(tmp_path / "saved.json", path=tmp_path / "keys")
        restored = keys.load(tmp_path / "keys")
        assert restored.public == installed.public
        assert Ledger(tmp_path / "ledger.db", keys=restored).verify() == []
    assert operation > 5
