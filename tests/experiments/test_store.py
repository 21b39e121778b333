"""MLflow sees every batch and every video, and never costs one."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from heygem.batch.outcome import Outcome
from heygem.config.params import Params
from heygem.core.files import sha256
from heygem.core.interrupts import cancellation
from heygem.experiments import batch_tracking, store
from heygem.experiments.batch_tracking import track_batch
from heygem.provenance.ledger import Ledger

store.disable_telemetry()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One store for all tests, since creating its tables takes seconds."""
    return tmp_path_factory.mktemp("store") / "mlruns"


@pytest.fixture
def params(folder, request):
    name = request.node.name[:100]
    return Params.from_dict({"mlflow": {"folder": str(folder), "experiment": name}})


def outcome(tmp_path, name="anna-voice", status="done", **more):
    if status != "done":
        return Outcome(name, tmp_path / "anna.mp4", status, **more)
    video = tmp_path / f"{name}.mp4"
    video.write_bytes(b"video" * 1000)
    details = tmp_path / name
    details.mkdir(exist_ok=True)
    for file in ("contact_sheet.png", "lip_curve.png", "manifest.json"):
        (details / file).write_bytes(b"x")
    content = {
        "id": "f" * 64,
        "output": {"sha256": sha256(video), "frames": 50, "duration_s": 2.0, "bytes": 5000},
        "timings": {"render_s": 1.5, "bad": float("nan")},
        "skipped_frames": {"turned away (>30°)": 3},
        "warnings": ["w"],
    }
    return Outcome(
        name,
        tmp_path / "anna.mp4",
        "done",
        output=video,
        details=details,
        seconds=2.0,
        manifest=content,
    )


def runs_of(params):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=store.tracking_uri(params.mlflow.folder))
    experiment = client.get_experiment_by_name(params.mlflow.experiment)
    runs = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    kinds = {"batch": [], "video": []}
    for run in runs:
        kinds[run.data.tags["heygem.kind"]].append(run)
    return client, kinds["batch"], kinds["video"]


@pytest.mark.slow
@pytest.mark.fault
def test_file_names_that_are_not_utf8_are_recorded(params, tmp_path):
    name = os.fsdecode(b"anna-\xe9.mp4")
    params = params.override({"inputs.videos": [name], "inputs.output": name})
    item = outcome(tmp_path)
    with track_batch(params, names=[item.name, "other"]) as tracker:
        tracker.log(replace(item, video=tmp_path / name, params=params))
    assert tracker.problem == ""
    _, (batch,), (video,) = runs_of(params)
    assert video.data.tags["heygem.video"].endswith("anna-\\udce9.mp4")
    assert batch.data.params["inputs.output"] == "anna-\\udce9.mp4"


@pytest.mark.slow
def test_parent_per_batch_child_per_video(params, tmp_path):
    params = params.override({"lips.openness_gain": 1.25})
    with track_batch(params, names=["anna-voice", "ben-voice"]) as tracker:
        tracker.log(outcome(tmp_path))
        tracker.log(outcome(tmp_path, "ben-voice", "failed", error="no face; seen: ben.mp4"))
    assert tracker.problem == ""
    client, (parent,), children = runs_of(params)
    assert parent.data.params["lips.openness_gain"] == "1.25"
    assert parent.data.metrics["items/done"] == 1 and parent.data.metrics["items/failed"] == 1
    assert parent.data.metrics["items/cancelled"] == 0, "a batch made again may have had one before"
    assert parent.info.status == "FAILED"
    anna, ben = sorted(children, key=lambda run: run.info.run_name)
    assert anna.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert anna.data.tags["params_hash"] == params.digest()
    assert anna.data.params == parent.data.params
    assert set(anna.data.params) == set(params.dotted())
    assert anna.data.metrics["timings/render_s"] == 1.5
    assert anna.data.metrics["output/frames"] == 50
    assert anna.data.metrics["skipped_frames/turned away __30__"] == 3
    names = {item.path for item in client.list_artifacts(anna.info.run_id)}
    assert names == {"video", "contact_sheet.png", "lip_curve.png", "manifest.json"}
    (video,) = client.list_artifacts(anna.info.run_id, "video")
    assert video.path == "video/anna-voice.mp4"
    assert (anna.info.status, ben.info.status) == ("FINISHED", "FAILED")
    assert ben.data.tags["heygem.error"] == "no face; seen: ben.mp4"
    # Everything lies in the one folder.
    place = Path(anna.info.artifact_uri.removeprefix("file://"))
    assert place.is_relative_to(params.mlflow.folder)


@pytest.mark.slow
def test_a_single_video_is_one_run_that_says_how_it_was_made(params, tmp_path):
    item = outcome(tmp_path)
    (item.details / "lip_curve.csv").write_text("time_s,opening,width\n0.00,0.1,0\n0.02,0.3,0\n")
    own = params.override({"lips.openness_gain": 1.3, "lips.closure": 0.5})
    with track_batch(params, names=[item.name]) as tracker:
        tracker.log(replace(item, params=own))
    client, batches, (run,) = runs_of(params)
    assert batches == [] and "mlflow.parentRunId" not in run.data.tags
    assert run.info.run_name == "anna-voice: openness_gain 1.3, closure 0.5"
    assert run.info.status == "FINISHED" and run.data.tags["heygem.output_sha256"]
    assert run.data.metrics["timings/render_s"] == 1.5
    assert not any(key.startswith("items.") for key in run.data.metrics)
    curve = client.get_metric_history(run.info.run_id, "lip_aperture")
    assert [(point.step, point.value) for point in curve] == [(0, 0.1), (20, 0.3)]
    assert tracker.address.partition("?")[0].endswith(run.info.run_id)
    with track_batch(params, names=["ben-voice"]) as tracker:
        tracker.log(outcome(tmp_path, "ben-voice", "failed", error="no face"))
    (ben,) = [run for run in runs_of(params)[2] if run.info.run_name == "ben-voice"]
    assert ben.info.status == "FAILED" and ben.data.tags["heygem.error"] == "no face"


@pytest.mark.slow
def test_the_row_of_a_batch_sums_its_videos_up(params, tmp_path):
    first, second = outcome(tmp_path), outcome(tmp_path, "ben-voice")
    first.manifest["measures"], second.manifest["measures"] = {"av_corr": 0.5}, {"av_corr": 0.7}
    with track_batch(
        params.override({"inputs.output": "monday"}), names=["a", "b", "c"]
    ) as tracker:
        for each in (first, second, outcome(tmp_path, "carl-voice", "failed", error="no face")):
            tracker.log(each)
    _, (batch,), videos = runs_of(params)
    assert batch.info.run_name == "monday: 3 videos, 1 failed"
    assert batch.data.metrics["measures/av_corr"] == pytest.approx(0.6)
    assert batch.data.metrics["timings/render_s"] == 1.5
    assert {run.info.run_name for run in videos} == {"anna-voice", "ben-voice", "carl-voice"}


@pytest.mark.slow
def test_system_metrics_are_recorded(params, tmp_path):
    with track_batch(params, names=["a"]) as tracker:
        deadline = time.monotonic() + 60  # creating the store takes seconds on a busy machine
        while not tracker.address and not tracker.problem and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(5)  # two samples
        tracker.log(outcome(tmp_path))
    _, _, (video,) = runs_of(params)
    assert any(key.startswith("system/") for key in video.data.metrics)


@pytest.mark.slow
def test_runs_of_dead_processes_are_closed_and_others_left(params, tmp_path):
    with track_batch(params, names=["a"]):
        pass
    client, _, (first,) = runs_of(params)
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        text=True,
        capture_output=True,
        check=True,
    ).stdout.strip()
    owner = store.owner_tags()
    born = psutil.Process().create_time()
    tags = {
        "dead": {**owner, "heygem.pid": dead},
        "number given to another": {**owner, "heygem.pid_started": f"{born - 900:.0f}"},
        "elsewhere": {**owner, "heygem.host": "another-machine", "heygem.pid": dead},
        "alive": owner,
    }
    run_ids = {
        name: client.create_run(
            first.info.experiment_id, tags={**values, "heygem.kind": "batch"}
        ).info.run_id
        for name, values in tags.items()
    }
    with track_batch(params, names=["b"]):
        pass
    status = {name: client.get_run(run_id).info.status for name, run_id in run_ids.items()}
    assert status == {
        "dead": "KILLED",
        "number given to another": "KILLED",
        "elsewhere": "RUNNING",
        "alive": "RUNNING",
    }


@pytest.mark.slow
def test_an_exception_in_the_batch_ends_its_run(params):
    with pytest.raises(KeyError), track_batch(params, names=["a"]):
        raise KeyError("x")
    _, _, (video,) = runs_of(params)
    assert video.info.status == "FAILED"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["file in place of folder", "locked"])
def test_a_broken_store_is_one_warning_and_never_waited_for(
    tmp_path, kind, params, folder, caplog, monkeypatch
):
    monkeypatch.setattr(batch_tracking, "CALL_TIMEOUT_S", 1.0)
    if kind == "file in place of folder":
        (tmp_path / "mlruns").write_bytes(b"")
    holder = None
    if kind == "locked":
        with track_batch(params, names=["a"]):
            pass
        holder = sqlite3.connect(folder / "mlflow.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
    else:
        params = params.override({"mlflow.folder": str(tmp_path / "mlruns")})

    caplog.clear()
    try:
        with track_batch(params, names=["a", "b"]) as tracker:
            tracker.log(outcome(tmp_path))
            tracker.log(outcome(tmp_path, "b"))
    finally:
        if holder:
            holder.close()
    assert "videos are not affected" in tracker.problem
    assert ("no answer within 1 s" in tracker.problem) == (kind == "locked")
    assert [record.message for record in caplog.records].count(tracker.problem) == 1


def test_off_means_off(tmp_path):
    params = Params.from_dict({"mlflow": {"enabled": False, "folder": str(tmp_path / "mlruns")}})
    with track_batch(params, names=["a"]) as tracker:
        tracker.log(outcome(tmp_path))
    assert not (tmp_path / "mlruns").exists()


def test_telemetry_is_off():
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.slow
def test_the_run_of_a_ledger_row_is_found(tmp_path, monkeypatch):
    ledger = Ledger(tmp_path / "ledger.db")
    tracking_uris = []

    class Store:  # a real one takes many seconds to be created
        def __init__(self, tracking_uri):
            tracking_uris.append(tracking_uri)

        def search_experiments(self):
            return [SimpleNamespace(experiment_id="1")]

        def search_runs(self, places, filter_string, max_results):
            assert places == ["1"] and filter_string.startswith("tags.`heygem.output_sha256` = ")
            info = SimpleNamespace(experiment_id="1", run_id="r" * 32)
            return [SimpleNamespace(info=info)] if "ab" * 32 in filter_string else []

    monkeypatch.setattr("mlflow.tracking.MlflowClient", Store)
    monkeypatch.setattr(store, "prepare", lambda folder, **_: None)
    about = {"params": {"mlflow": {"enabled": True, "folder": str(tmp_path)}}}
    entry = ledger.append("made", "ab" * 32, about)
    assert store.find_run(entry) is None and not tracking_uris  # no store in that folder
    (tmp_path / "mlflow.db").touch()
    assert store.find_run(entry)["run_id"] == "r" * 32
    other = ledger.append("made", "cd" * 32, about)
    assert store.find_run(other) is None


@pytest.mark.slow
@pytest.mark.fault
def test_a_batch_that_was_stopped_does_not_wait_for_its_store(params, folder, monkeypatch):
    monkeypatch.setattr(batch_tracking, "STOP_TIMEOUT_S", 0.1)
    monkeypatch.setattr(batch_tracking, "IMPORT_TIMEOUT_S", 1e6)
    monkeypatch.setattr(batch_tracking, "CALL_TIMEOUT_S", 1e6)
    with track_batch(params, names=["a"]):
        pass
    holder = sqlite3.connect(folder / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    cancel = threading.Event()
    try:
        with cancellation(cancel), track_batch(params, names=["a"]) as tracker:
            cancel.set()
    finally:
        holder.close()
    assert "the batch was stopped" in tracker.problem
