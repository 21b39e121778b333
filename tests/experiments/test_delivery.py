"""MLflow away: records are kept beside the store and delivered once, whatever happens to it."""

import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from helpers import disks

from heygem.batch.runner import Outcome
from heygem.config.params import Params
from heygem.core.files import sha256
from heygem.experiments import batch_tracking, delivery, run_records, spool, store
from heygem.experiments.batch_tracking import track_batch
from heygem.experiments.delivery_process import RemoteRecorder
from heygem.experiments.spool import Spool

pytestmark = pytest.mark.fault
store.disable_telemetry()


@pytest.fixture(scope="module")
def made_store(tmp_path_factory):
    """An empty store, made once, since its tables take seconds."""
    folder = tmp_path_factory.mktemp("made") / "mlruns"
    store.open_client(folder)
    return folder


@pytest.fixture
def folder(made_store, tmp_path):
    """A copy of the empty store."""
    shutil.copytree(made_store, tmp_path / "mlruns")
    return tmp_path / "mlruns"


@pytest.fixture
def params(folder, monkeypatch):
    monkeypatch.setattr(batch_tracking, "CALL_TIMEOUT_S", 60.0)  # a busy machine is not away
    monkeypatch.setattr(batch_tracking, "_silent_since", {})
    return Params.from_dict(
        {"mlflow": {"folder": str(folder)}, "inputs": {"output": str(folder.parent / "night")}}
    )


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(batch_tracking, "CALL_TIMEOUT_S", 0.5)


def outcome(tmp_path, name, status="done"):
    if status != "done":
        return Outcome(name, tmp_path / "anna.mp4", status, error="no face")
    video, details = tmp_path / f"{name}.mp4", tmp_path / name
    video.write_bytes(name.encode() * 1000)
    details.mkdir(exist_ok=True)
    (details / "manifest.json").write_text("{}")
    facts = {"sha256": sha256(video), "duration_s": 2.0}
    return Outcome(
        name, tmp_path / "anna.mp4", "done", output=video, details=details, seconds=4.0,
        manifest={"id": "f" * 64, "output": facts},
    )  # fmt: skip


def runs_in(folder):
    """Name to run, of all runs of a store; a name that occurs twice fails."""
    client = store.open_client(folder)
    experiment = client.get_experiment_by_name("heygem")
    runs = client.search_runs([experiment.experiment_id]) if experiment is not None else []
    names = [run.info.run_name for run in runs]
    assert len(names) == len(set(names)), names
    return dict(zip(names, runs, strict=True))


def record(params, tmp_path, count=3):
    with track_batch(params, names=[f"v{k}" for k in range(count)]) as tracker:
        for k in range(count):
            tracker.log(outcome(tmp_path, f"v{k}"))
    return tracker


def whole(folder, count=3):
    runs = runs_in(folder)
    parent = runs.pop(f"night: {count} videos")
    assert set(runs) == {f"v{k}" for k in range(count)}
    assert parent.info.status == "FINISHED"
    for run in runs.values():
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        place = Path(run.info.artifact_uri.removeprefix("file://"))
        assert (place / "video" / f"{run.info.run_name}.mp4").is_file()
    return parent


@pytest.mark.slow
def test_the_batchs_run_carries_the_summary(params, folder, tmp_path):
    with track_batch(params, names=["v0", "bad"]) as tracker:
        tracker.log(outcome(tmp_path, "v0"))
        tracker.log(outcome(tmp_path, "bad", "failed"))
    assert tracker.problem == "" and tracker.address
    metrics = runs_in(folder)["night: 2 videos, 1 failed"].data.metrics
    assert (metrics["items/total"], metrics["items/done"], metrics["success_rate"]) == (2, 1, 0.5)
    assert metrics["seconds/mean"] == metrics["seconds/p95"] == 4.0
    assert metrics["real_time_factor"] == 2.0
    assert spool.pending(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("is_killed", [False, True])
def test_another_process_records(params, folder, tmp_path, monkeypatch, is_killed):
    monkeypatch.setattr(batch_tracking, "Recorder", RemoteRecorder)  # this process has MLflow
    with track_batch(params, names=["v0", "v1", "v2"], own_process=True) as tracker:
        tracker.log(outcome(tmp_path, "v0"))
        if is_killed:
            while not tracker._spool.delivered:
                time.sleep(0.05)
            tracker._recorder._process.kill()
        tracker.log(outcome(tmp_path, "v1"))
        tracker.log(outcome(tmp_path, "v2"))
    assert tracker._recorder._process.returncode is not None
    assert bool(tracker.problem) == is_killed
    if is_killed:
        assert delivery.deliver_pending(folder).waiting == 0
    else:
        assert tracker.address and spool.pending(folder) == []
    whole(folder)


@pytest.mark.slow
def test_a_locked_store_gets_everything_later_and_once(params, folder, tmp_path, impatient):
    holder = sqlite3.connect(folder / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        tracker = record(params, tmp_path)
        assert "no answer within" in tracker.problem and "heygem experiments" in tracker.problem
        (path,) = spool.pending(folder)
        assert path.parent == tmp_path / "mlruns-pending"
        assert delivery.deliver_pending(folder).records == 0  # this process still tries
    finally:
        holder.close()
    deadline = time.monotonic() + 60  # MLflow waits for locks, and its thread continues
    while spool.pending(folder) and time.monotonic() < deadline:
        time.sleep(0.2)
        delivery.deliver_pending(folder)
    whole(folder)
    assert delivery.deliver_pending(folder) == delivery.Delivered()
    assert not path.parent.exists() or spool.pending(folder) == []


@pytest.mark.slow
def test_a_hanging_store_costs_a_moment_once_and_loses_nothing(
    params, folder, tmp_path, monkeypatch, impatient
):
    open_client = store.open_client
    monkeypatch.setattr(store, "open_client", lambda folder, **_: time.sleep(1e6))
    monkeypatch.setattr(batch_tracking, "STOP_TIMEOUT_S", 0.1)
    tracker = record(params, tmp_path)
    assert "no answer within" in tracker.problem
    second = record(params.override({"inputs.output": str(tmp_path / "second")}), tmp_path, 1)
    assert "did not answer before" in second.problem
    assert len(spool.pending(folder)) == 2
    monkeypatch.setattr(store, "open_client", open_client)
    # The threads that hang still hold the files, as the processes would; so copies are delivered.
    for path in spool.pending(folder):
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
        path.unlink()
    delivered = delivery.deliver_pending(folder)
    assert (delivered.records, delivered.waiting, delivered.problem) == (5 + 3, 0, "")
    names = {run.info.run_name for run in store.open_client(folder).search_runs(["1"])}
    assert {"night: 3 videos", "v0", "v1", "v2"} <= names


@pytest.mark.slow
def test_a_store_that_is_deleted_mid_run_gets_everything_again(params, folder, tmp_path):
    with track_batch(params, names=["v0", "v1", "v2"]) as tracker:
        tracker.log(outcome(tmp_path, "v0"))
        deadline = time.monotonic() + 60
        while len(tracker._spool.delivered) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        folder.rename(tmp_path / "deleted")  # at once: MLflow makes files in it meanwhile
        shutil.rmtree(tmp_path / "deleted", ignore_errors=True)
        tracker.log(outcome(tmp_path, "v1"))
        tracker.log(outcome(tmp_path, "v2"))
    if tracker.problem:  # a new store takes longer than this test's patience
        deadline = time.monotonic() + 60
        while spool.pending(folder) and time.monotonic() < deadline:
            time.sleep(0.2)
    whole(folder)


@pytest.mark.slow
def test_a_store_that_was_replaced_after_the_batch_gets_all_of_it(params, folder, tmp_path):
    tracks = Spool.create(folder)
    tracks.append(run_records.batch_record(params, ["v0"] * 3, "b"))
    for k in range(2):
        tracks.append(run_records.item_record(outcome(tmp_path, f"v{k}"), params, "b"))
    delivery.Delivery(folder, tracks).deliver_all()
    tracks.append(run_records.item_record(outcome(tmp_path, "v2"), params, "b"))
    end = {"kind": "end", "id": "e", "batch": "b", "metrics": {}, "status": "FINISHED"}
    tracks.append({**end, "ended_ms": store.now_ms()})
    tracks.close()
    client = store.open_client(folder)
    (experiment,) = [e for e in client.search_experiments() if e.name == "heygem"]
    with sqlite3.connect(folder / "mlflow.db") as database:  # as if it had never been there
        for table in ("tags", "params", "metrics", "latest_metrics", "runs"):
            database.execute(f"DELETE FROM {table}")
    assert delivery.deliver_pending(folder).waiting == 0
    assert whole(folder).info.experiment_id == experiment.experiment_id


@pytest.mark.slow
def test_a_read_only_store_gets_everything_when_it_can_be_written(params, folder, tmp_path):
    disk = tmp_path / "disk"
    with disks.mounted(disk, "64m"):
        shutil.copytree(folder, disk / "mlruns")
        params = params.override({"mlflow.folder": str(disk / "mlruns")})
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        os.environ["HEYGEM_HOME"], home = str(tmp_path / "home"), os.environ.get("HEYGEM_HOME")
        try:
            tracker = record(params, tmp_path)
            assert "readonly" in tracker.problem or "read-only" in tracker.problem.lower()
            (path,) = spool.pending(disk / "mlruns")
            assert path.is_relative_to(tmp_path / "home")  # beside the store nothing can be written
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
            assert delivery.deliver_pending(disk / "mlruns").records == 5
            whole(disk / "mlruns")
        finally:
            os.environ.pop("HEYGEM_HOME")
            os.environ.update({"HEYGEM_HOME": home} if home is not None else {})


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_records_leaves_each_item_once(params, folder, tmp_path):
    """Killed after MLflow has made a run and before the mark of it is written."""
    for k in range(3):
        outcome(tmp_path, f"v{k}")
    script = f"""
        import os, signal, sys
        sys.path[:0] = {[str(Path(__file__).parent)]!r}
        from pathlib import Path
        from heygem.config.params import Params
        from heygem.experiments import batch_tracking, spool
        from test_delivery import outcome, record
        mark = spool.Spool.mark

        def killed(self, record_id, run_id):
            if len(self.delivered) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            mark(self, record_id, run_id)

        spool.Spool.mark = killed
        batch_tracking.CALL_TIMEOUT_S = 60.0
        record(Params.from_dict({params.tree()!r}), Path({str(tmp_path)!r}))
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, timeout=120
    )
    assert done.returncode == -signal.SIGKILL
    (path,) = spool.pending(folder)
    with path.open("ab") as stream:
        stream.write(b'{"kind":"item","id":"half')  # the line that it was writing
    result = delivery.deliver_pending(folder)
    assert result.waiting == 0 and result.problem == ""
    runs = runs_in(folder)
    recorded = {name for name in runs if name.startswith("v")}
    assert recorded and all(runs[name].info.status == "FINISHED" for name in recorded)
    assert runs["night: 3 videos"].info.status in ("KILLED", "FINISHED")
    assert spool.pending(folder) == []


@pytest.mark.slow
def test_the_next_batch_delivers_what_the_last_one_left(params, folder, tmp_path):
    left = Spool.create(folder)
    left.append(run_records.batch_record(params, ["v0"] * 3, "b"))
    left.append(run_records.item_record(outcome(tmp_path, "v0"), params, "b"))
    left.close()
    with track_batch(params.override({"inputs.output": "next"}), names=["n", "m"]):
        deadline = time.monotonic() + 60
        while left.path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    runs = runs_in(folder)
    assert {"night: 3 videos", "v0", "next: 2 videos"} == set(runs)
    assert runs["night: 3 videos"].info.status == "KILLED"


@pytest.mark.slow
def test_a_video_that_was_changed_meanwhile_is_not_stored_as_the_recorded_one(
    params, folder, tmp_path
):
    left = Spool.create(folder)
    left.append(run_records.batch_record(params, ["v0"], "b"))
    left.append(run_records.item_record(outcome(tmp_path, "v0"), params, "b"))
    left.close()
    (tmp_path / "v0.mp4").write_bytes(b"another")
    assert delivery.deliver_pending(folder).waiting == 0
    runs = store.open_client(folder).search_runs(["1"])
    (item,) = [run for run in runs if run.data.tags["heygem.kind"] == "video"]
    assert "changed or removed" in item.data.tags["heygem.artifacts"]


@pytest.mark.slow
def test_a_record_that_mlflow_refuses_does_not_hold_up_the_others(params, folder, tmp_path):
    left = Spool.create(folder)
    left.append(run_records.batch_record(params, ["v0"] * 3, "b"))
    bad = run_records.item_record(outcome(tmp_path, "v0"), params, "b")
    left.append({**bad, "metrics": {"no?such*name": 1.0}})
    left.append(run_records.item_record(outcome(tmp_path, "v1"), params, "b"))
    left.close()
    assert delivery.deliver_pending(folder).waiting == 0
    assert runs_in(folder)["v1"].info.status == "FINISHED"


@pytest.mark.slow
def test_items_that_several_processes_make_share_the_run_of_their_batch(params, folder, tmp_path):
    own = params.override({"lips.closure": 0.5})
    for k, settings in enumerate((params, own)):  # as two workers do
        with track_batch(settings, names=[f"v{k}"], batch="night 7") as tracker:
            tracker.log(outcome(tmp_path, f"v{k}"))
        assert tracker.problem == ""
    assert runs_in(folder)["night 7"].info.status == "RUNNING"
    outcomes = [outcome(tmp_path, "v0"), outcome(tmp_path, "v1"), outcome(tmp_path, "x", "failed")]
    tracker = batch_tracking.join_batch(params, "night 7")
    tracker.end(outcomes, 10.0)
    assert tracker.address and tracker.problem == ""
    runs = runs_in(folder)
    parent = runs["night 7: 3 videos, 1 failed"]
    assert parent.info.status == "FAILED" and parent.data.metrics["items/total"] == 3
    assert parent.data.params["lips.closure"] == "1.0"
    batch_tracking.join_batch(own, "night 7").end(outcomes[:2], 20.0)  # made again, all well
    parent = runs_in(folder)["night 7: 2 videos"]
    assert parent.info.status == "FINISHED" and parent.data.metrics["elapsed_s"] == 20
    for name in ("v0", "v1: closure 0.5"):
        assert runs[name].data.tags["mlflow.parentRunId"] == parent.info.run_id


@pytest.mark.fault
@pytest.mark.slow
def test_a_new_store_that_is_never_finished_is_not_waited_for(params, impatient, tmp_path):
    """Another process holds the lock under which a store is made, and does not continue."""
    new = tmp_path / "new"
    new.mkdir()
    with open(new / ".mlflow.lock", "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with track_batch(params.override({"mlflow.folder": str(new)}), names=["a"]) as tracker:
            tracker.log(outcome(tmp_path, "a"))
        assert "no answer within 0 s" in tracker.problem  # of `impatient`
        assert spool.pending(new)
