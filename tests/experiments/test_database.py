"""The database of the MLflow store is whole or not there; an unusable one is kept aside."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
from contextlib import closing

import pytest

from heygem.core.errors import Notice
from heygem.experiments import database, relocation, store

store.disable_telemetry()
pytestmark = [pytest.mark.fault, pytest.mark.slow]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A new store, made once: its tables take seconds."""
    folder = tmp_path_factory.mktemp("store")
    database.prepare(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    """A folder without a store, where a new one appears at once: a copy of `whole`."""
    monkeypatch.setattr(database, "_create", lambda path, _: shutil.copy(whole / "mlflow.db", path))
    monkeypatch.setattr(database, "_prepared", {})
    return tmp_path


def _create_and_die(folder, statements, *, by_mlflow):
    """Make a store and be killed after so many SQL statements."""
    import sqlalchemy

    count = 0

    def tick(*_):
        nonlocal count
        count += 1
        if count == statements:
            os.kill(os.getpid(), signal.SIGKILL)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", tick)
    if by_mlflow:
        from mlflow.tracking import MlflowClient

        MlflowClient(tracking_uri=store.tracking_uri(folder)).search_experiments()
    else:
        database.prepare(folder)


def kill_while_creating(folder, statements, *, by_mlflow=False):
    process = multiprocessing.get_context("fork").Process(
        target=_create_and_die, args=(folder, statements), kwargs={"by_mlflow": by_mlflow}
    )
    process.start()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("statements", [1, 40, 150, 400])
def test_a_killed_creation_leaves_no_database(whole, tmp_path, statements):
    assert kill_while_creating(tmp_path, statements)
    assert not (tmp_path / "mlflow.db").exists()
    assert any(path.name.startswith(".heygem-") for path in tmp_path.iterdir())


def test_after_a_killed_creation_recording_works(whole, tmp_path, monkeypatch):
    assert kill_while_creating(tmp_path, 200)
    client = store.open_client(tmp_path)
    run = client.create_run(store.experiment_id(client, tmp_path, "first"))
    assert client.get_run(run.info.run_id).info.run_id == run.info.run_id
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mlflow.lock", "mlflow.db"]


@pytest.mark.parametrize("statements", [3, 30, 120, 300])
def test_a_store_that_an_earlier_version_left_half_made_is_made_again(folder, statements):
    assert kill_while_creating(folder, statements, by_mlflow=True)
    with pytest.warns(Notice, match=r"never finished.*mlflow\.db\.unusable-\d+-\d+.*new one"):
        database.prepare(folder)
    assert database.find_problem(folder / "mlflow.db") is None
    assert len(list(folder.glob("mlflow.db.unusable-*[0-9]"))) == 1


@pytest.mark.parametrize("damage", ["no database", "truncated", "overwritten", "empty"])
def test_a_damaged_store_is_kept_aside_and_a_new_one_begun(folder, whole, damage):
    content = (whole / "mlflow.db").read_bytes()
    damaged = {
        "no database": b"this is not sqlite " * 100,
        "truncated": content[: len(content) // 2],
        "overwritten": content[:8192] + b"\xa5" * 65536 + content[8192 + 65536 :],
        "empty": b"",
    }[damage]
    (folder / "mlflow.db").write_bytes(damaged)
    with pytest.warns(Notice, match="it was kept as"):
        database.prepare(folder)
    (aside,) = folder.glob("mlflow.db.unusable-*[0-9]")
    assert aside.read_bytes() == damaged
    assert database.find_problem(folder / "mlflow.db") is None


def test_a_store_with_runs_is_whole_at_whatever_version(folder, whole):
    shutil.copy(whole / "mlflow.db", folder / "mlflow.db")
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of an older MLflow'")
    assert database.find_problem(folder / "mlflow.db") == "was never finished"
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        row = "experiments (experiment_id, name, lifecycle_stage) VALUES (0, 'd', 'active')"
        connection.execute(f"INSERT INTO {row}")
    assert database.find_problem(folder / "mlflow.db") is None


def test_a_locked_store_is_left_alone(folder, whole, monkeypatch):
    monkeypatch.setattr(relocation, "LOCK_WAIT_S", 0.2)
    shutil.copy(whole / "mlflow.db", folder / "mlflow.db")
    with closing(sqlite3.connect(folder / "mlflow.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        database.prepare(folder)
    assert not list(folder.glob("*.unusable-*"))


def _prepare(folder, barrier):
    barrier.wait()
    database.prepare(folder)


def test_two_processes_make_one_store(whole, tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    workers = [context.Process(target=_prepare, args=(tmp_path, barrier)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mlflow.lock", "mlflow.db"]
    assert database.find_problem(tmp_path / "mlflow.db") is None
