"""`heygem keys` and `heygem ledger`, as a user types them."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from heygem.cli.main import app
from heygem.core.errors import AssetError, HeygemError, InputError
from heygem.provenance import keys
from heygem.provenance.ledger import Ledger


@pytest.fixture
def records(tmp_path, monkeypatch):
    """The folder of keys and ledger of an installation of its own."""
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    return tmp_path / "records"


def run(*words, code=0, typed=None):
    """Run a command; its output, or the error that it raised for the user."""
    done = CliRunner().invoke(app, [str(word) for word in words], input=typed)
    if isinstance(done.exception, HeygemError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def append(title="a.mp4", kind="made"):
    return Ledger(keys=keys.ensure()).append(kind, "f" * 64, {"title": title})


@pytest.mark.slow
@pytest.mark.fault
def test_the_drill_keys_lost_and_restored(records, tmp_path):
    (tmp_path / "passphrase").write_text("correct horse\n")
    run("keys", "init")
    append()
    out = run("keys", "backup", tmp_path / "saved", "--passphrase-file", tmp_path / "passphrase")
    assert "1 keys in" in out and "encrypted" in out
    run("ledger", "backup", tmp_path / "ledger-saved.db")
    shutil.rmtree(records / "keys")
    with pytest.raises(AssetError, match="heygem keys restore BACKUP"):
        run("consent", "block", "--sha256", "a" * 64, "--reason", "x")
    assert "the keys are gone" in run("ledger", "verify")
    assert not (records / "keys").exists()
    out = run("keys", "restore", tmp_path / "saved", "--passphrase-file", tmp_path / "passphrase")
    assert "restored" in out
    assert "1 rows, every one as it was written" in run("ledger", "verify")


@pytest.mark.slow
@pytest.mark.fault
def test_the_drill_on_another_machine(records, tmp_path, monkeypatch):
    for title in ("a.mp4", "b.mp4"):
        append(title)
    run("keys", "backup", tmp_path / "saved", "--no-passphrase")
    run("ledger", "backup", tmp_path / "saved.db")
    append("c.mp4")
    run("ledger", "anchor", tmp_path / "anchor.json")
    drill = tmp_path / "drill"
    drill.mkdir()
    shutil.copy(tmp_path / "saved.db", drill / "ledger.db")
    monkeypatch.setenv("HEYGEM_RECORDS", str(drill))
    run("keys", "restore", tmp_path / "saved")
    assert "2 rows, every one" in run("ledger", "verify")
    out = run("ledger", "verify", "--anchor", tmp_path / "anchor.json", code=1)
    assert "row 3: it was cut off the end" in out
    with Ledger(drill / "ledger.db")._connect() as db:
        db.execute("DROP TRIGGER never_removed")
        db.execute("DELETE FROM entries WHERE number = 2")
    assert "row 2: it was cut off the end" in run("ledger", "verify", code=1)


@pytest.mark.fault
@pytest.mark.slow
def test_lost_keys_are_replaced_only_on_request(records):
    run("keys", "init")
    append()
    shutil.rmtree(records / "keys")
    with pytest.raises(AssetError, match="--replace-lost"):
        run("keys", "init")
    run("keys", "init", "--replace-lost")
    out = run("keys", "show")
    assert "lost, secrets lost" in out
    assert "2 rows, every one" in run("ledger", "verify")


@pytest.mark.slow
def test_rotated_keys_are_shown(records):
    run("keys", "init")
    first = keys.load().name
    assert f"replaces {first}" in run("keys", "rotate", "--reason", "yearly")
    run("keys", "rotate", "--reason", "laptop", "--stolen")
    shown = run("keys", "show")
    assert f"retired      {first}" in shown and "yearly" in shown and "laptop, stolen" in shown


def test_a_passphrase_that_cannot_be_asked_for_is_an_error(records, tmp_path):
    run("keys", "init")
    with pytest.raises(InputError, match="--passphrase-file FILE, or --no-passphrase"):
        run("keys", "backup", tmp_path / "saved")
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="the passphrase is empty"):
        run("keys", "backup", tmp_path / "saved", "--passphrase-file", tmp_path / "empty")
    assert not (tmp_path / "saved").exists()
    assert "not encrypted" in run("keys", "backup", tmp_path / "saved", "--no-passphrase")


@pytest.mark.fault
@pytest.mark.slow
def test_an_authority_checks_an_export_with_the_public_keys_and_an_anchor(
    records, tmp_path, monkeypatch
):
    for title in ("a.mp4", "b.mp4", "c.mp4"):
        append(title)
    for words in (
        ("keys", "public", tmp_path / "public.json"),
        ("ledger", "export", tmp_path / "rows.jsonl"),
        ("ledger", "anchor", tmp_path / "anchor.json"),
    ):
        run(*words)
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "elsewhere"))
    check = ("--public-keys", tmp_path / "public.json", "--anchor", tmp_path / "anchor.json")
    assert "3 rows (1 to 3), every one" in run("ledger", "check", tmp_path / "rows.jsonl", *check)
    lines = (tmp_path / "rows.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cut.jsonl").write_text("".join(lines[:2]))
    out = run("ledger", "check", tmp_path / "cut.jsonl", *check, code=1)
    assert "row 3: it was cut off the end" in out
    changed = json.loads(lines[1]) | {"kind": "other"}
    (tmp_path / "changed.jsonl").write_text(lines[0] + json.dumps(changed) + "\n" + lines[2])
    assert "changed after it was written" in run(
        "ledger", "check", tmp_path / "changed.jsonl", *check, code=1
    )


@pytest.mark.fault
def test_a_removed_ledger_is_named(records):
    append()
    for path in records.glob("ledger.db*"):
        path.unlink()
    assert "cut off the end" in run("ledger", "verify", code=1)


def test_a_run_without_an_end_is_shown(records):
    ledger = Ledger(keys=keys.ensure())
    ledger.begin("c0ffee", {"title": "a.mp4"})
    assert "is being made by process" in run("ledger", "list")
    assert "row 1 (a.mp4) is being made by process" in run("ledger", "verify")


@pytest.mark.fault
def test_rows_lost_with_a_disk_are_stated_once(records):
    append()
    saved = [(path, path.read_bytes()) for path in records.glob("ledger.db*")]
    append("b.mp4")
    for path, content in saved:  # an older backup
        path.write_bytes(content)
    assert "row 2: it was cut off the end" in run("ledger", "verify", code=1)
    people = ("--requester", "Anna", "--approver", "Ben")
    run("ledger", "state-loss", "--reason", "disk broke", *people)
    out = run("ledger", "verify")
    assert "row 2 is missing: disk broke (row 3)" in out
