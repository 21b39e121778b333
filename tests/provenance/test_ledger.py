"""A record that cannot be changed without it showing."""

import json
import os
import shutil
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from helpers.earlier_installation import write_keys, write_ledger
from helpers.killing import run_at_once, run_killed, run_with_full_disk

from heygem.core.errors import ConsentError, InputError, OutputError, PolicyError
from heygem.provenance import consent, keys
from heygem.provenance.ledger import Ledger
from heygem.provenance.ledger import export as ledger_export
from heygem.provenance.ledger import heads as ledger_heads
from heygem.provenance.ledger.check import check_head, check_rows
from heygem.provenance.ledger.loss import state_loss
from heygem.provenance.ledger.rows import hash_fields, is_running
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


@pytest.mark.fault
def test_a_file_name_that_is_not_utf8_is_recorded_and_exported(signed, tmp_path):
    name = os.fsdecode(b"anna-\xe9.mp4")
    signed.append("made", "file9", {"params": {"inputs": {"videos": [name]}}})
    assert signed.entries(subject="file9")[0].body["params"]["inputs"]["videos"] == [name]
    signed.export(tmp_path / "rows.jsonl")
    assert signed.verify() == [] and not check_rows(
        ledger_export.read(tmp_path / "rows.jsonl"), None
    )


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


@pytest.mark.slow
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
        folder = tmp_path / str(row.number)
        folder.mkdir()
        for path in (book.path, book.path.with_name("ledger.db.head")):
            shutil.copy(path, folder)
        copied = Ledger(folder / "ledger.db", keys=mine)
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
            hash_fields(*fields),
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
    forged = Ledger(tmp_path / "forged.db", keys=keys.init(tmp_path / "other" / "keys"))
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


def snapshot(ledger):
    """Database and head file as they are now: name and content of each."""
    return [(path, path.read_bytes()) for path in ledger.path.parent.glob("ledger.db*")]


@pytest.mark.fault
def test_database_and_head_put_back_together_are_noticed(signed):
    before = snapshot(signed)
    signed.append("made", "file5", {})
    for path, content in before:
        path.write_bytes(content)
    (fault,) = signed.verify()
    assert fault.number == 6 and "cut off" in fault.problem


@pytest.mark.fault
def test_rows_cut_off_with_a_head_file_made_to_fit_are_noticed(signed):
    third = signed.entries()[2]
    tamper(signed, "DELETE FROM entries WHERE number > 3")
    head = signed.path.with_name("ledger.db.head")
    head.write_text(f"3 {third.hash}\n")  # the earlier version's form, not signed
    assert [f.problem for f in signed.verify()] == ["rows 4 to 5 were cut off the end"]
    head.write_text(ledger_heads.Head(3, third.hash, "2026-01-01").to_json())
    assert any("rows 4 to 5" in f.problem for f in signed.verify())


@pytest.mark.fault
@pytest.mark.parametrize("field", ["number", "hash", "time_utc", "public_key", "signature"])
def test_a_changed_head_is_named(signed, field):
    head = signed.path.with_name("ledger.db.head")
    data = json.loads(head.read_text())
    data[field] = 4 if field == "number" else data[field][:-1] + "x"
    head.write_text(json.dumps(data))
    problems = [f.problem for f in signed.verify()]
    assert problems == [f"the head in {head} is not signed by this installation, or was changed"]


@pytest.mark.fault
def test_a_missing_head_is_named_unless_the_keys_have_the_other(signed, tmp_path):
    (tmp_path / "keys" / "ledger.db.head").unlink()
    assert any("newest row is missing" in f.problem for f in signed.verify())
    signed.path.with_name("ledger.db.head").unlink()
    assert any("newest row is missing" in f.problem for f in signed.verify())


@pytest.mark.fault
def test_a_ledger_that_was_removed_is_named(signed, tmp_path):
    for path, _ in snapshot(signed):
        path.unlink()
    emptied = Ledger(signed.path, keys=keys.load(tmp_path / "keys"))
    assert [f.problem for f in emptied.verify()] == ["rows 1 to 5 were cut off the end"]
    (tmp_path / "keys" / "ledger.db.head").unlink()
    (fault,) = emptied.verify()
    assert "there are keys but no rows" in fault.problem


def test_a_new_installation_has_keys_and_no_rows_without_a_fault(tmp_path):
    assert Ledger(tmp_path / "ledger.db", keys=keys.init(tmp_path / "keys")).verify() == []


@pytest.mark.fault
def test_after_rows_were_removed_work_goes_on_and_the_gap_stays_named(signed):
    for path, _ in snapshot(signed):
        path.unlink()
    ledger = Ledger(signed.path, keys=signed._keys)
    assert [ledger.append("made", name, {}).number for name in "ab"] == [6, 7]
    assert [f.problem for f in ledger.verify()] == ["follows 0: rows between are missing"]


@pytest.mark.fault
def test_a_loss_that_two_people_state_is_no_fault_but_anchors_still_show_it(signed):
    anchor, people = signed.anchor(), {"requester": "Anna", "approver": "Ben"}
    with pytest.raises(OutputError, match="no row of the ledger is missing"):
        state_loss(signed, "disk", **people)
    tamper(signed, "DELETE FROM entries WHERE number = 2 OR number > 3")
    with pytest.raises(ConsentError, match="two people"):
        state_loss(signed, "disk", requester="Anna", approver="anna")
    entry = state_loss(signed, "disk broke, backup of May", **people)
    assert entry.number == 6 and entry.body["missing"] == [[2, 2], [4, 5]]
    assert signed.verify() == []
    assert signed.verify([("anchor", anchor)]) != []
    tamper(signed, "DELETE FROM entries WHERE number = 3")
    assert [f.number for f in signed.verify()] == [6], "a gap that nobody stated"
    forged = '{"missing":[[2,5]]}'
    tamper(signed, "UPDATE entries SET body = ? WHERE number = 6", forged)
    assert len(signed.verify()) >= 2, "a forged statement excuses nothing"
    tamper(signed, "UPDATE entries SET body = 'x' WHERE number = 6")
    assert any("changed after" in f.problem for f in signed.verify())


@pytest.mark.fault
def test_an_anchor_kept_elsewhere_shows_what_the_owner_of_the_keys_removed(signed, tmp_path):
    third = signed.entries()[2]
    anchor = tmp_path / "anchor.json"
    anchor.write_text(signed.anchor().to_json())
    signed.append("made", "file5", {})
    assert signed.verify([("anchor", ledger_heads.read_anchor(anchor))]) == []

    tamper(signed, "DELETE FROM entries WHERE number > 3")
    for head in tmp_path.rglob("ledger.db.head"):
        ledger_heads.write(head, ledger_heads.sign(3, third.hash, signed._keys))
    assert signed.verify() == [], "whoever has the keys can cut rows off"
    assert "cut off" in signed.verify([("anchor", ledger_heads.read_anchor(anchor))])[0].problem
    for name in ("x", "y", "z"):  # other rows under the same numbers
        signed.append("made", name, {})
    assert signed.verify() == []
    (fault,) = signed.verify([("anchor", ledger_heads.read_anchor(anchor))])
    assert (fault.number, fault.problem) == (
        5, "is not the row that was written under this number",
    )  # fmt: skip


@pytest.mark.fault
def test_an_anchor_that_was_changed_or_is_not_one_is_named(signed, tmp_path):
    head = signed.anchor()
    forged = replace(head, number=4, hash=signed.entries()[3].hash)
    assert "not signed by this" in signed.verify([("anchor", forged)])[0].problem
    unsigned = replace(head, signature="")
    assert "not signed by this" in signed.verify([("anchor", unsigned)])[0].problem
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match="not an anchor"):
        ledger_heads.read_anchor(tmp_path / "a.json")


@pytest.mark.slow
@pytest.mark.fault
def test_wherever_an_append_is_killed_the_ledger_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    own = keys.init(tmp_path / "keys")

    def append():
        Ledger(tmp_path / "ledger.db", keys=own).append("made", "x", {})

    operation, was_killed = 0, True
    while was_killed:
        operation += 1
        was_killed = run_killed(append, operation)
        ledger = Ledger(tmp_path / "ledger.db", keys=own)
        assert ledger.verify() == []
        ledger.append("made", "y", {})
        assert ledger.verify() == [] and list(tmp_path.rglob("*.part")) == []
    assert operation > 4


@pytest.mark.slow
@pytest.mark.fault
def test_processes_that_append_at_once_make_one_chain(tmp_path):
    own = keys.init(tmp_path / "keys")

    def append(i):
        for n in range(5):
            Ledger(tmp_path / "ledger.db", keys=own).append("made", f"{i}-{n}", {})

    assert run_at_once(append, 4) == [""] * 4
    ledger = Ledger(tmp_path / "ledger.db", keys=own)
    assert len(ledger.entries()) == 20 and ledger.verify() == []


@pytest.mark.fault
def test_a_full_disk_while_appending_is_one_clear_error(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db", keys=keys.init(tmp_path / "keys"))
    ledger.append("made", "x", {})
    error = run_with_full_disk(lambda: ledger.append("made", "y", {"n": "n" * 50000}), 8192)
    assert "Error: the ledger cannot be written: the disk" in error
    assert ledger.verify() == [] and len(ledger.entries()) == 1


def test_a_ledger_of_the_earlier_version_verifies_and_is_continued(tmp_path):
    write_ledger(tmp_path / "ledger.db", write_keys(tmp_path / "keys"), 3)
    ledger = Ledger(tmp_path / "ledger.db", keys=keys.ensure(tmp_path / "keys"))
    assert ledger.verify() == []
    assert [e.body["n"] for e in ledger.entries()] == [1, 2, 3]
    before = snapshot(ledger)
    assert ledger.append("made", "file4", {}).number == 4
    assert ledger.verify() == []
    for path, content in before:
        path.write_bytes(content)
    assert [f.number for f in ledger.verify()] == [4], "its head is kept with the keys now"


@pytest.mark.fault
def test_the_head_of_an_earlier_ledger_still_shows_that_rows_were_cut_off(tmp_path):
    write_ledger(tmp_path / "ledger.db", write_keys(tmp_path / "keys"), 3)
    ledger = Ledger(tmp_path / "ledger.db", keys=keys.ensure(tmp_path / "keys"))
    tamper(ledger, "DELETE FROM entries WHERE number = 3")
    assert [f.number for f in ledger.verify()] == [3]
    assert ledger.append("made", "file4", {}).number == 4
    assert "missing" in ledger.verify()[0].problem


def test_a_result_is_begun_before_it_is_made(signed):
    begun = signed.begin("c0ffee", {"title": "a.mp4"}, watermark_id=77)
    assert begun.body["produce_id"] == begun.subject == "c0ffee"
    assert signed.unfinished() == [begun] and is_running(begun)
    assert 77 in signed.watermark_ids()
    made = signed.finish(begun, "f" * 64, {"layers": {}}, watermark_id=77)
    assert made.watermark_id == begun.watermark_id == f"{77:016x}"
    assert made.body["begun"] == begun.number and signed.unfinished() == []
    stopped = signed.begin("decaf", {"title": "b.mp4"})
    assert signed.abandon(stopped, "stopped on request").kind == "abandoned"
    assert signed.unfinished() == [] and signed.verify() == []


@pytest.mark.fault
def test_a_run_that_was_killed_is_left_unfinished(signed):
    def run():
        signed.begin("c0ffee", {"title": "a.mp4"}, watermark_id=77)
        os.kill(os.getpid(), signal.SIGKILL)

    assert run_killed(run, at_operation=10**6)
    (left,) = signed.unfinished()
    assert left.body["title"] == "a.mp4" and not is_running(left)


def test_a_backup_is_a_ledger_and_never_overwrites(signed, tmp_path):
    signed.backup(tmp_path / "copy.db")
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    assert Ledger(tmp_path / "copy.db").entries() == signed.entries()
    with pytest.raises(OutputError):
        signed.backup(tmp_path / "copy.db")


def test_export_is_for_reading_and_never_overwrites(signed, tmp_path):
    out = tmp_path / "export.jsonl"
    assert signed.export(out) == 5
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert lines[2]["body"]["user"] == "李" and lines[2]["hash"]
    with pytest.raises(OutputError):
        signed.export(out)


@pytest.mark.fault
def test_an_export_is_checked_with_the_public_keys_alone(signed, tmp_path):
    anchor, public = signed.anchor(), keys.load(tmp_path / "keys").public
    signed.export(tmp_path / "all.jsonl")
    rows = ledger_export.read(tmp_path / "all.jsonl")
    assert check_rows(rows, public) == [] and check_head(anchor, rows, public, name="a") == []
    later = rows[2:]
    assert check_rows(later, public, is_whole=False) == []
    assert check_rows(rows[:2] + rows[3:], public) != []
    assert "cut off" in check_head(anchor, rows[:4], public, name="a")[0].problem
    for number in ('"1"', "1.5", "true", "[]"):
        line = (tmp_path / "all.jsonl").read_text().splitlines()[0]
        (tmp_path / "bad.jsonl").write_text(line.replace('"number": 1', f'"number": {number}'))
        with pytest.raises(InputError, match="not an export"):
            ledger_export.read(tmp_path / "bad.jsonl")
    changed = [*rows[:4], (*rows[4][:5], '{"user":"x"}', *rows[4][6:])]
    assert [f.number for f in check_rows(changed, public)] == [5]


def test_a_ruined_database_is_a_fault_not_a_crash(signed):
    data = bytearray(signed.path.read_bytes())
    data[4096:] = b"\x00" * (len(data) - 4096)
    signed.path.write_bytes(data)
    assert signed.verify() != []
    for read in (signed.entries, signed.newest, signed.watermark_ids, signed.unfinished):
        with pytest.raises(OutputError, match="the ledger cannot be read.*put a backup"):
            read()


@pytest.mark.fault
def test_a_row_that_is_no_json_is_named_and_the_others_are_read(signed):
    tamper(signed, "UPDATE entries SET body = 'x' WHERE number = 3")
    assert [e.body.get("n") for e in signed.entries()] == [0, 1, None, 3, 4]
    assert [f.number for f in signed.verify()] == [3]
