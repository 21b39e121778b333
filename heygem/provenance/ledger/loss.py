"""Rows that were lost with a disk: stated once, by two people, and then no fault any more."""

from collections.abc import Iterable
from typing import Any

from heygem.core.approval import require_approval
from heygem.core.errors import OutputError
from heygem.provenance.ledger.check import LOSS
from heygem.provenance.ledger.ledger import Ledger, current_user
from heygem.provenance.ledger.rows import Entry


def state_loss(ledger: Ledger, reason: str, *, requester: str, approver: str) -> Entry:
    """Record which rows are missing and why, after which `Ledger.verify` no longer counts them.

    Anchors of these rows still show that they are missing.

    Raises
    ------
    ConsentError
        The two people are not named, or are the same.
    OutputError
        No row is missing.
    """
    require_approval("stating that rows are lost", requester, approver)

    def body() -> dict[str, Any]:  # called while nobody else can append
        numbers = [entry.number for entry in ledger.entries()]
        missing = find_gaps(numbers, max([ledger.newest_head().number, *numbers]))
        if not missing:
            raise OutputError("no row of the ledger is missing", seen=ledger.path)
        people = {"user": current_user(), "requester": requester, "approver": approver}
        return {"missing": missing, "reason": reason} | people

    return ledger.append(LOSS, "ledger", body)


def find_gaps(numbers: Iterable[int], newest: int) -> list[tuple[int, int]]:
    """First and last number of each stretch of rows that is missing, up to row `newest`."""
    gaps, last = [], 0
    for number in [*numbers, newest + 1]:
        if number > last + 1:
            gaps.append((last + 1, number - 1))
        last = max(last, number)
    return gaps
