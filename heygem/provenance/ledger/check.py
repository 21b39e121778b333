"""Checks of a ledger: each row, the chain, the keys that signed it, its heads and anchors."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from heygem.provenance.ledger import heads as ledger_heads
from heygem.provenance.ledger.heads import Head
from heygem.provenance.ledger.rows import (
    GENESIS_HASH,
    Fault,
    Verifier,
    hash_fields,
    signing_key_name,
)

BEGUN, MADE, ABANDONED = "begun", "made", "abandoned"  # kinds of the rows of a result
KEY_RING = "ring.json"  # the file in the folder of the keys that holds them
# Kinds of the rows with which one signing key takes over from another.
ROTATED = "keys rotated"  # signed by the old key
REPLACED = "keys replaced"  # signed by the new key: the old one was lost
LOSS = "loss stated"  # rows are missing, and two people answer for it


def check_rows(
    rows: Iterable[tuple[Any, ...]], verifier: Verifier | None, *, is_whole: bool = True
) -> list[Fault]:
    """Check that rows are as they were written, follow one another, and are signed.

    Parameters
    ----------
    rows
        Values of `COLUMNS`, in order.
    verifier
        Checks signatures; None checks hashes alone.
    is_whole
        The rows begin with the first one of the ledger; an export may begin later.
    """
    faults = []
    number, previous = 0, GENESIS_HASH
    succession = _KeySuccession()
    checked = [(row, _row_problem(row, verifier)) for row in rows]
    stated = _stated_losses(row for row, problem in checked if problem is None)
    for row, row_problem in checked:
        entry_number, *_, stated_previous, digest, signature = row
        if is_whole or number:
            if entry_number != number + 1:
                if (number + 1, entry_number - 1) not in stated:
                    gap = f"follows {number}: rows between are missing"
                    faults.append(Fault(entry_number, gap))
            elif stated_previous != previous:
                faults.append(Fault(entry_number, "does not follow the row before it"))
        problem = row_problem or succession.problem(row)
        if problem is not None:
            faults.append(Fault(entry_number, problem))
        number, previous = entry_number, digest
    return faults


def _stated_losses(rows: Iterable[tuple[Any, ...]]) -> set[tuple[int, int]]:
    """First and last number of each gap that rows, which were checked, state."""
    bodies = [json.loads(row[5]) for row in rows if row[2] == LOSS]
    return {(first, last) for body in bodies for first, last in body["missing"]}


def _row_problem(row: tuple[Any, ...], verifier: Verifier | None) -> str | None:
    *fields, digest, signature = row
    if hash_fields(*fields) != digest:
        return "was changed after it was written"
    if verifier is None:
        return None
    is_valid = verifier.verify(bytes.fromhex(digest), signature)
    if is_valid is None:
        return "was not signed by this installation"
    return None if is_valid else "is forged"


class _KeySuccession:
    """Follows which key signs: a change is announced by a row, and a replaced key never returns.

    Only a run that was begun before may still end with it, unless the key was stolen.
    """

    def __init__(self) -> None:
        self._current = ""
        self._announced = ""  # public key, hexadecimal
        self._replaced: set[str] = set()
        self._stolen: set[str] = set()
        self._begun: dict[int, str] = {}  # names of the keys that signed rows of begun runs

    def problem(self, row: tuple[Any, ...]) -> str | None:
        """What is wrong with the key of the next row, or None."""
        number, _, kind, _, _, body, _, _, signature = row
        name = signing_key_name(signature)
        if not name:
            return None
        if kind == BEGUN:
            self._begun[number] = name
        if name in self._replaced:
            return None if self._may_end(row, name) else "is signed with a key replaced before"
        problem = None
        if self._current not in ("", name):
            self._replaced.add(self._current)
            if kind != REPLACED and not self._announced.startswith(name):
                problem = "is signed with another key than the rows before, and no row says why"
        self._current = name
        if kind == ROTATED:
            change = json.loads(body)
            self._announced = str(change.get("public_key", ""))
            if change.get("stolen"):
                self._stolen.add(name)
        return problem

    def _may_end(self, row: tuple[Any, ...], name: str) -> bool:
        if name in self._stolen or not may_end_run(row[2], row[5]):
            return False
        return self._begun.get(json.loads(row[5])["begun"]) == name


def may_end_run(kind: str, body: str) -> bool:
    """Whether a row, with its body as JSON, ends a run that another row began."""
    return kind in (MADE, ABANDONED) and "begun" in json.loads(body)


def check_heads(
    rows: Sequence[tuple[Any, ...]], beside: Path, in_keys: Path | None, verifier: Verifier | None
) -> list[Fault]:
    """Compare the stored heads with the rows.

    Parameters
    ----------
    rows
        All rows of the ledger.
    beside, in_keys
        Head files: beside the database, and in the folder of the keys, if there is one.
    verifier
    """
    last = rows[-1][0] if rows else 0
    faults: dict[str, Fault] = {}  # by problem: both heads usually show the same one
    heads: list[Head | None] = []
    for path in (beside, in_keys):
        head = None
        if path is not None:
            try:
                head = ledger_heads.read(path)
            except (OSError, ValueError):
                fault = Fault(last, f"the file that names the newest row cannot be read: {path}")
                faults[fault.problem] = fault
        heads.append(head)
        if head is not None and path is not None:
            for fault in check_head(head, rows, verifier, name=f"the head in {path}"):
                faults.setdefault(fault.problem, fault)
    if not faults:
        faults |= {f.problem: f for f in _missing_heads(last, beside, in_keys, *heads)}
    return list(faults.values())


def _missing_heads(
    last: int, beside: Path, in_keys: Path | None, head: Head | None, key_head: Head | None
) -> list[Fault]:
    if last == 0:
        # The earlier version stored no head with its keys, which were several files.
        has_head = head is not None or key_head is not None
        if in_keys is None or has_head or not (in_keys.parent / KEY_RING).exists():
            return []
        return [Fault(0, f"there are keys but no rows, and no {in_keys}: rows were removed")]
    # One suffices: a database that was put back from a backup has none beside it.
    if head is None and key_head is None:
        return [Fault(last, f"the file that names the newest row is missing: {beside}")]
    if head is None:
        return []
    # The earlier version signed no head and stored none with the keys.
    if in_keys is not None and key_head is None and head.signature:
        return [Fault(last, f"the file that names the newest row is missing: {in_keys}")]
    return []


def check_head(
    head: Head, rows: Sequence[tuple[Any, ...]], verifier: Verifier | None, *, name: str
) -> list[Fault]:
    """Compare one head or anchor with the rows, which may be those of an export.

    Parameters
    ----------
    head
    rows
    verifier
    name
        Of the head, for messages.
    """
    is_earlier = not head.time_utc  # heads of the earlier version were not signed
    if verifier is not None and not is_earlier and not ledger_heads.is_own(head, verifier):
        return [Fault(head.number, f"{name} is not signed by this installation, or was changed")]
    last = rows[-1][0] if rows else 0
    if head.number > last:
        span = f"rows {last + 1} to {head.number} were" if head.number > last + 1 else "it was"
        return [Fault(head.number, f"{span} cut off the end")]
    if rows and head.number < rows[0][0] - 1:
        return []  # of a time before these rows
    hashes = {row[0]: row[-2] for row in rows}
    if rows:
        hashes.setdefault(rows[0][0] - 1, rows[0][-3])
    if head.number and hashes.get(head.number) != head.hash:
        return [Fault(head.number, "is not the row that was written under this number")]
    return []
