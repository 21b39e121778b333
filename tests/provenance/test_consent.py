"""Consents and takedowns."""

import pytest

from heygem.core.errors import ConsentError, HeygemError
from heygem.provenance import consent
from heygem.provenance.ledger import Ledger


def test_consents_and_takedowns_supersede_each_other(tmp_path):
    ledger = Ledger(tmp_path / "l.db")
    assert consent.require(ledger, "v", "a", basis="own") == {"basis": "own"}
    with pytest.raises(ConsentError, match="no consent"):
        consent.require(ledger, "v", "a", basis="recorded")
    about = {"who": "P-12", "purpose": "training films", "reference": "file 7"}
    consent.record(ledger, "v", until="2999-01-01", **about)
    assert consent.require(ledger, "v", "a", basis="recorded")["reference"] == "file 7"
    consent.block(ledger, "a", reason="rumour")
    for people in (("Anna", ""), ("", "Ben"), ("Anna", " ＡＮＮＡ ")):
        with pytest.raises(ConsentError, match="needs two people"):
            consent.unblock(ledger, "a", reason="x", requester=people[0], approver=people[1])
    with pytest.raises(ConsentError, match="sound is blocked.*rumour"):
        consent.require(ledger, "v", "a", basis="own")
    with pytest.raises(ConsentError, match="sound is blocked"):  # a refused unblock lifts nothing
        consent.require(ledger, "v", "a", basis="own")
    consent.unblock(ledger, "a", reason="cleared", requester="Anna", approver="Ben")
    consent.record(ledger, "v", until="2020-01-01", **about)
    with pytest.raises(ConsentError, match="expired"):
        consent.require(ledger, "v", "a", basis="own")
    consent.withdraw(ledger, "v", reason="changed mind")
    with pytest.raises(ConsentError, match="withdrawn"):
        consent.require(ledger, "v", "a", basis="synthetic")


def test_every_refusal_leaves_a_row(tmp_path):
    ledger = Ledger(tmp_path / "l.db")
    consent.block(ledger, "a", reason="rumour")
    refused = [("v", "s", "recorded"), ("v", "a", "own"), ("a", "s", "own")]
    for video, sound, basis in refused:
        with pytest.raises(ConsentError):
            consent.require(ledger, video, sound, basis=basis)
    with pytest.raises(ConsentError, match="this avatar is blocked"):
        consent.require_unblocked(ledger, "avatar", "a")
    rows = ledger.entries(kind="refused")
    assert [row.subject for row in rows] == ["v", "v", "a", "a"]
    assert [row.body.get("sound") for row in rows] == ["s", "a", "s", None]
    assert "no consent is recorded" in rows[0].body["reason"] and rows[0].body["user"]
    assert all("rumour" in row.body["reason"] for row in rows[1:])
    consent.require(ledger, "v", "s", basis="own")
    assert len(ledger.entries(kind="refused")) == 4


def test_both_people_of_an_unblock_are_recorded(tmp_path):
    ledger = Ledger(tmp_path / "l.db")
    row = consent.unblock(ledger, "a", reason="cleared", requester="Anna", approver="Ben")
    assert row.body["requester"] == "Anna" and row.body["approver"] == "Ben" and row.body["user"]


def test_an_installation_sets_its_own_default_basis(tmp_path):
    ledger = Ledger(tmp_path / "l.db")
    assert consent.require(ledger, "v", "a", basis=None) == {"basis": "own"}
    settings = tmp_path / "settings.yaml"
    settings.write_text("consent:\n  default: recorded\n")
    with pytest.raises(ConsentError, match="no consent is recorded"):
        consent.require(ledger, "v", "a", basis=None)
    assert consent.require(ledger, "v", "a", basis="own") == {"basis": "own"}  # a stated basis
    settings.write_text("consent:\n  default: recorded\n  allowed: [recorded, synthetic]\n")
    with pytest.raises(ConsentError, match="does not accept label.consent: own"):
        consent.require(ledger, "v", "a", basis="own")
    assert consent.require(ledger, "v", "a", basis="synthetic") == {"basis": "synthetic"}


@pytest.mark.fault
@pytest.mark.parametrize(
    "text", ["consent: [", "consent:\n  default: nobody\n", "consents: {}\n", "x" * 300_000]
)
def test_damaged_settings_refuse_and_never_mean_the_default(tmp_path, text):
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(HeygemError):
        consent.require(Ledger(tmp_path / "l.db"), "v", "a", basis=None)
