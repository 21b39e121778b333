"""Statements of consent, and their record in the ledger."""

import pytest

from heygem.core.errors import ConsentError, ParameterError
from heygem.finetune.consent import Statement, require_consent
from heygem.provenance import consent
from heygem.provenance.ledger import Ledger

VIDEO = "a" * 64


def test_an_incomplete_statement_is_refused():
    with pytest.raises(ConsentError, match="no basis"):
        Statement("")
    with pytest.raises(ConsentError, match="without who, reference"):
        Statement("recorded", purpose="films", until="2999-01-01")
    with pytest.raises(ParameterError, match="YYYY-MM-DD"):
        Statement("recorded", "P", "films", "soon", "12")


def test_a_recorded_statement_is_recorded_once(tmp_path, recorded_consent):
    ledger = Ledger(tmp_path / "ledger.db")
    for _ in range(2):
        require_consent(ledger, recorded_consent, [VIDEO], avatar="anna.heygem")
    (entry,) = ledger.entries(kind="consent", subject=VIDEO)
    assert entry.body["reference"] == "contract 12"
    assert Statement.on_record(ledger, VIDEO) == recorded_consent


def test_a_withdrawal_takes_precedence(tmp_path, recorded_consent):
    ledger = Ledger(tmp_path / "ledger.db")
    require_consent(ledger, recorded_consent, [VIDEO], avatar="anna.heygem")
    consent.withdraw(ledger, VIDEO, reason="asked to")
    with pytest.raises(ConsentError, match="withdrawn"):
        require_consent(ledger, recorded_consent, [VIDEO], avatar="anna.heygem")


def test_without_a_record_there_is_no_statement(tmp_path):
    with pytest.raises(ConsentError, match="no consent is recorded"):
        Statement.on_record(Ledger(tmp_path / "ledger.db"), VIDEO)
