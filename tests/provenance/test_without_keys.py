"""What can be verified without the secret keys."""

import shutil
from dataclasses import replace

import pytest
from helpers.labelled import remux, trace_in, write_clip

from heygem.provenance import trace
from heygem.provenance.keys import changes as key_changes
from heygem.provenance.ledger import Ledger

pytestmark = pytest.mark.slow


@pytest.fixture
def records(installation, tmp_path, monkeypatch):
    """A copy of the installation's records, whose keys a test may remove."""
    folder = tmp_path / "records"
    shutil.copytree(installation.root, folder)
    monkeypatch.setenv("HEYGEM_RECORDS", str(folder))
    return folder


@pytest.mark.fault
def test_without_keys_the_ledger_still_knows_the_file_and_its_signature(installation, records):
    shutil.rmtree(records / "keys")
    traced = trace.trace_file(installation.result, search=False)
    assert traced.conclusion == trace.UNCHANGED and traced.certainty == trace.PROVEN
    assert traced.origin.evidence[:2] == ["hash", "binding"]
    assert traced.faults == []
    assert any("the watermark: it takes the secret keys" in each for each in traced.unchecked)
    assert not (records / "keys").exists()  # reading never makes new ones


@pytest.mark.fault
def test_without_anything_the_file_alone_is_judged(installation, tmp_path, monkeypatch):
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "nothing"))
    traced = trace.trace_file(installation.result, search=False)
    assert traced.conclusion == trace.OTHERS and traced.verdict == "compliant"
    unchecked = " ".join(traced.unchecked)
    assert "public key" in unchecked and "ledger" in unchecked
    assert not (tmp_path / "nothing").exists()


def test_anyone_with_the_public_keys_can_check_the_binding(installation, tmp_path):
    public = installation.keys.public
    traced = trace.trace_file(installation.result, search=False, public_keys=public)
    assert traced.conclusion == trace.AS_SIGNED and traced.verdict == "compliant"
    film = write_clip(tmp_path / "film.mp4", installation.frames[:30])
    forged = remux(tmp_path / "forged.mp4", tags_of=installation.result, packets_of=[film])
    traced = trace.trace_file(forged, search=False, public_keys=public)
    assert traced.conclusion == trace.INCONCLUSIVE and traced.verdict == "inconclusive"


@pytest.mark.fault
def test_results_of_a_retired_key_stay_verifiable(installation, records):
    key_changes.rotate(records / "keys", reason="a drill")
    traced = trace.trace_file(installation.result, search=False)
    assert traced.origin.evidence == [
        "hash", "binding", "metadata", "credentials", "watermark", "fingerprint",
    ]  # fmt: skip
    assert traced.faults == []


@pytest.mark.fault
def test_a_signature_with_a_stolen_key_proves_nothing(installation, records, tmp_path):
    own_keys = key_changes.rotate(records / "keys", reason="a laptop was taken", is_stolen=True)
    ledger = Ledger(records / "ledger.db", keys=own_keys)
    copy = remux(tmp_path / "a.mkv", tags_of=installation.result, packets_of=[installation.result])
    traced = trace_in(replace(installation, keys=own_keys, ledger=ledger), copy, search=False)
    assert "binding" not in traced.origin.evidence
    assert traced.conclusion == trace.CHANGED_COPY  # picture and sound are those of the run


@pytest.mark.fault
def test_a_damaged_ledger_makes_the_verdict_noncompliant(installation, records):
    import sqlite3

    with sqlite3.connect(records / "ledger.db") as db:
        db.execute("DROP TRIGGER never_removed")
        db.execute("DELETE FROM entries")
    traced = trace.trace_file(installation.result, search=False)
    assert traced.faults and traced.conclusion == trace.UNRECORDED
    assert traced.verdict == "noncompliant"


@pytest.mark.fault
def test_with_a_ledger_that_cannot_be_read_the_file_is_still_judged(installation, records):
    (records / "ledger.db").write_bytes(b"no database" * 1000)
    traced = trace.trace_file(installation.result, search=False)
    assert traced.conclusion == trace.AS_SIGNED and traced.certainty == trace.PROVEN
    assert "cannot be read" in traced.faults[0].problem
    assert traced.verdict == "noncompliant"
