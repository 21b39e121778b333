"""Consents and takedowns."""

import pytest

from heygem.core.errors import ConsentError
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
    with pytest.raises(ConsentError, match="sound is blocked.*rumour"):
        consent.require(ledger, "v", "a", basis="own")
    consent.unblock(ledger, "a", reason="cleared")
    consent.record(ledger, "v", until="2020-01-01", **about)
    with pytest.raises(ConsentError, match="expired"):
        consent.require(ledger, "v", "a", basis="own")
    consent.withdraw(ledger, "v", reason="changed mind")
    with pytest.raises(ConsentError, match="withdrawn"):
        consent.require(ledger, "v", "a", basis="synthetic")
