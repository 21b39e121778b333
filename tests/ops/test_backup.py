"""A backup, what is found when it is damaged, and a restore that is compared with the original."""

import json
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from helpers import killing

from heygem.core.errors import InputError, OutputError
from heygem.core.files import sha256
from heygem.ops import backup as backups
from heygem.ops import restore
from heygem.provenance import keys
from heygem.provenance.ledger import Ledger

SECRET = "correct horse"


@pytest.fixture
def sources(tmp_path, queue, night):
    """Records with two rows, the night's queue, an MLflow store, and results."""
    ledger = Ledger(keys=keys.ensure())
    ledger.append("note", "first", {"a": 1})
    ledger.append("note", "second", {"嘴": "caf\udce9"})
    (tmp_path / "records" / "settings.yaml").write_text("consent: {default: recorded}\n")
    store = tmp_path / "mlruns"
    (store / "artifacts" / "run").mkdir(parents=True)
    (store / "artifacts" / "run" / "figure.png").write_bytes(b"picture")
    (store / ".mlflow.lock").touch()
    with closing(sqlite3.connect(store / "mlflow.db")) as db:
        db.executescript("CREATE TABLE runs (id); INSERT INTO runs VALUES (1);")
    results = tmp_path / "out"
    (results / "details").mkdir(parents=True)
    (results / "details" / "anna").mkdir(mode=0o700)
    (results / "anna.mp4").write_bytes(os.urandom(5000))
    (results / "details" / "anna" / "manifest.json").write_text("{}")
    (results / ".heygem-ab12-7-0000-x.part").write_bytes(b"half a video")
    (results / "link.mp4").symlink_to(results / "anna.mp4")
    return backups.Sources(tmp_path / "records", queue.path, store, (results,))


@pytest.fixture
def made(tmp_path, sources):
    return backups.make(tmp_path / "backup", sources, passphrase=SECRET)


def rows(path, query):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def tree(folder):
    """Hash of each file below a folder, by name."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): sha256(path) for path in paths}


@pytest.mark.slow
def test_what_is_restored_elsewhere_equals_the_original(made, sources, tmp_path):
    places = restore.targets(backups.check(made.folder), tmp_path / "drill")
    restore.restore(made, places, passphrase=SECRET)
    query = "SELECT * FROM entries ORDER BY number"
    restored = Ledger(places.records / "ledger.db", keys=keys.load(places.records / "keys"))
    assert restored.verify() == [] and len(restored.entries()) == 2
    assert rows(restored.path, query) == rows(sources.records / "ledger.db", query)
    assert keys.load(places.records / "keys").public_hex == keys.load().public_hex
    assert (places.records / "settings.yaml").read_text() == "consent: {default: recorded}\n"
    for name in ("jobs", "recipes", "events"):
        query = f"SELECT * FROM {name} ORDER BY number"
        assert rows(places.queue, query) == rows(sources.queue, query) != []
    assert rows(places.mlflow / "mlflow.db", "SELECT * FROM runs") == [(1,)]
    assert (places.mlflow / "artifacts" / "run" / "figure.png").read_bytes() == b"picture"
    original = tree(sources.results[0])
    del original[".heygem-ab12-7-0000-x.part"]
    assert tree(places.results[0]) == original
    private = places.results[0] / "details" / "anna"
    assert private.stat().st_mode & 0o777 == 0o700, "people are named and shown in it"
    assert (places.records).stat().st_mode & 0o777 == 0o700
    assert all(p.stat().st_mode & 0o77 == 0 for p in places.records.rglob("*"))


@pytest.mark.slow
def test_after_a_lost_machine_everything_is_put_back_in_its_place(made, sources, tmp_path):
    before = tree(sources.results[0])
    for path in (sources.records, sources.mlflow, sources.results[0]):
        path.rename(tmp_path / f"lost-{path.name}")
    for path in tmp_path.glob("queue.db*"):
        path.unlink()
    places = restore.targets(made)
    assert places.all() == [sources.records, sources.queue, sources.mlflow, *sources.results]
    restore.restore(made, places, passphrase=SECRET)
    assert Ledger(keys=keys.ensure()).append("note", "third", {}).number == 3
    assert Ledger(keys=keys.ensure()).verify() == []
    del before[".heygem-ab12-7-0000-x.part"]
    assert tree(sources.results[0]) == before


@pytest.mark.slow
@pytest.mark.parametrize("part", ["records", "queue", "mlflow"])
def test_nothing_is_overwritten_and_then_nothing_is_restored(made, sources, tmp_path, part):
    places = restore.targets(made, tmp_path / "drill")
    taken = getattr(places, part)
    taken.parent.mkdir(parents=True, exist_ok=True)
    if part == "queue":
        taken.write_text("mine")
    else:
        taken.mkdir()
        (taken / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="overwrite what is there"):
        restore.restore(made, places, passphrase=SECRET)
    assert len(tree(tmp_path / "drill")) == 1
    with pytest.raises(OutputError, match="overwrite a backup"):
        backups.make(made.folder, sources, passphrase=SECRET)


@pytest.mark.slow
def test_a_wrong_passphrase_restores_nothing(made, tmp_path):
    places = restore.targets(made, tmp_path / "drill")
    with pytest.raises(InputError, match="the passphrase is wrong"):
        restore.restore(made, places, passphrase="guess")
    assert tree(tmp_path / "drill") == {}


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "link", "escape", "manifest"])
def test_damage_is_found_before_anything_is_written(made, tmp_path, damage):
    path = made.folder / "results" / "0" / "anna.mp4"
    manifest = made.folder / "backup.json"
    content = json.loads(manifest.read_text())
    if damage == "flip":
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "remove":
        path.unlink()
    elif damage == "link":
        copy = tmp_path / "elsewhere.mp4"
        path.rename(copy)
        path.symlink_to(copy)
    elif damage == "escape":
        content["files"]["../secret"] = {"sha256": "0" * 64, "bytes": 1}
        manifest.write_text(json.dumps(content))
    else:
        manifest.write_text(manifest.read_text()[:-40])
    with pytest.raises(InputError, match="damaged|no backup"):
        backups.check(made.folder)


@pytest.mark.slow
@pytest.mark.fault
def test_a_backup_that_is_killed_or_runs_out_of_disk_leaves_nothing_under_its_name(
    tmp_path, sources
):
    out = tmp_path / "backup"
    for at_operation in range(1, 60, 9):
        if not killing.run_killed(
            lambda: backups.make(out, sources, passphrase=None), at_operation
        ):
            break
        assert not out.exists()
    error = killing.run_with_full_disk(
        lambda: backups.make(tmp_path / "second", sources, passphrase=None), 3000
    )
    assert error.startswith(("OutputError", "DiskFullError")) and "free some" in error
    assert not (tmp_path / "second").exists()


@pytest.mark.fault
@pytest.mark.slow
def test_a_backup_while_rows_and_jobs_are_added_verifies(tmp_path, sources, add):
    ended = threading.Event()

    def write():
        ledger = Ledger(keys=keys.ensure())
        while not ended.is_set():
            ledger.append("note", "x", {})

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(3):
            made = backups.make(tmp_path / f"b{number}", sources, passphrase=None)
            places = restore.targets(made, tmp_path / f"drill{number}")
            restore.restore(made, places)  # verifies the ledger with the head of the keys' backup
    finally:
        ended.set()
        thread.join()


def test_a_file_that_vanishes_while_the_backup_is_sized_is_no_error(tmp_path, sources, monkeypatch):
    plain_files = backups._plain_files

    def with_a_removed_journal(folder):
        yield folder / "ledger.db-journal"
        yield from plain_files(folder)

    with monkeypatch.context() as patch:
        patch.setattr(backups, "_plain_files", with_a_removed_journal)
        backups._require_space(tmp_path / "b", sources)
    assert backups.make(tmp_path / "b", sources, passphrase=None).files


def test_an_installation_without_anything_has_an_empty_backup(tmp_path, home):
    sources = backups.Sources(tmp_path / "records", tmp_path / "q.db", tmp_path / "mlruns", ())
    made = backups.make(tmp_path / "backup", sources, passphrase=None)
    assert made.files == {} and restore.targets(made).all() == []
