"""A record that cannot be changed without it showing."""

import json
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from heygem.core.errors import OutputError, PolicyError
from heygem.provenance import consent, keys
from heygem.provenance.ledger import Ledger, _hash_fields
from heygem.server import quota
from heygem.server.quota import QuotaSettings


@pytest.fixture
def signed(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db", keys=keys.init(tmp_path / "keys"))
    for i in range(5):
        ledger.append("made", f"file{i}", {"user": "李", "n": i}, watermark_id=i + 1)
    return ledger


def tamper(ledger, statement, *values):
    with sqlite3.connect(ledger.path) as db:
        db.execute("DROP TRIGGER IF EXISTS never_changed")
        db.execute("DROP TRIGGER IF EXISTS never_removed")
        db.execute(statement, values)


def test_an_untouched_ledger_is_whole(signed):
    assert signed.verify() == []


def test_rows_are_found_by_what_they_are_about(signed):
    assert [e.body["n"] for e in signed.entries(subject="file3")] == [3]
    assert [e.subject for e in signed.entries(watermark_id=2)] == ["file1"]
    assert sorted(signed.watermark_ids()) == [1, 2, 3, 4, 5]
    assert signed.entries(since="2999") == []


@pytest.mark.parametrize("column", ["time_utc", "kind", "subject", "mark_id", "body", "previous"])
@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_changed_row_is_named(signed, column, number):
    value = '{"user":"x"}' if column == "body" else "x"
    tamper(signed, f"UPDATE entries SET {column} = ? WHERE number = ?", value, number)
    assert number in [f.number for f in signed.verify()]


def test_every_kind_of_row_shows_that_it_was_changed(tmp_path):
    mine = keys.init(tmp_path / "keys")
    book = Ledger(tmp_path / "ledger.db", keys=mine)
    rules = QuotaSettings(videos_per_day=1)
    book.append("made", "a" * 64, {"user": "anna"}, watermark_id=7)
    consent.record(book, "b" * 64, who="x", purpose="y", until="2030-01-01", reference="z")
    consent.withdraw(book, "b" * 64, reason="asked")
    consent.block(book, "a" * 64, reason="complaint")
    consent.unblock(book, "a" * 64, reason="settled", requester="anna", approver="ben")
    book.append("agreed", "anna", {"version": "1"})
    quota.admit(book, "anna", rules, videos=1, minutes=1)
    with pytest.raises(PolicyError):
        quota.admit(book, "anna", rules, videos=1, minutes=1)
    rows = book.entries()
    assert {row.kind for row in rows} == {
        "made", "consent", "consent withdrawn", "blocked", "unblocked", "agreed", "admitted",
        "refused",
    }  # fmt: skip
    assert book.verify() == []
    for row in rows:
        copy = tmp_path / f"{row.number}.db"
        shutil.copy(book.path, copy)
        shutil.copy(f"{book.path}.head", f"{copy}.head")
        copied = Ledger(copy, keys=mine)
        body = json.dumps(row.body | {"reason": "nothing happened"})
        tamper(copied, "UPDATE entries SET body = ? WHERE number = ?", body, row.number)
        assert [f.number for f in copied.verify()] == [row.number], row.kind
        # Even where its hash is made to fit, the signature and the next row do not.
        fields = (
            row.number,
            row.time_utc,
            row.kind,
            row.subject,
            row.watermark_id,
            body,
            row.previous,
        )
        tamper(
            copied,
            "UPDATE entries SET hash = ? WHERE number = ?",
            _hash_fields(*fields),
            row.number,
        )
        assert row.number in [f.number for f in copied.verify()], row.kind


def test_a_removed_row_is_noticed(signed):
    tamper(signed, "DELETE FROM entries WHERE number = 3")
    assert any(f.number == 4 and "missing" in f.problem for f in signed.verify())


def test_cutting_off_the_end_is_noticed(signed):
    tamper(signed, "DELETE FROM entries WHERE number > 3")
    assert any("cut off" in f.problem for f in signed.verify())


def test_a_chain_rebuilt_without_the_key_is_noticed(signed, tmp_path):
    forged = Ledger(tmp_path / "forged.db", keys=keys.init(tmp_path / "other"))
    forged.append("made", "file0", {})
    mine = Ledger(forged.path, keys=keys.load(tmp_path / "keys"))
    assert any("not signed by this installation" in f.problem for f in mine.verify())


def test_rows_cannot_be_changed_by_accident(signed):
    with sqlite3.connect(signed.path) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute("UPDATE entries SET kind = 'x'")
    with sqlite3.connect(signed.path) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute("DELETE FROM entries")


@pytest.mark.slow
def test_many_writers_make_one_chain(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: ledger.append("made", str(i), {}), range(40)))
    assert ledger.verify() == []
    assert sorted(int(e.subject) for e in ledger.entries()) == list(range(40))


def test_export_is_for_reading_and_never_overwrites(signed, tmp_path):
    out = tmp_path / "export.jsonl"
    assert signed.export(out) == 5
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert lines[2]["body"]["user"] == "李" and lines[2]["hash"]
    with pytest.raises(OutputError):
        signed.export(out)


def test_a_ruined_database_is_a_fault_not_a_crash(signed):
    data = bytearray(signed.path.read_bytes())
    data[4096:] = b"\x00" * (len(data) - 4096)
    signed.path.write_bytes(data)
    assert signed.verify() != []
