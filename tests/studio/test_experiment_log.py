"""Snapshots in MLflow: named by what differs."""

import pytest

from heygem.config.params import Params
from heygem.experiments import runs, store
from heygem.studio.experiment_log import log_snapshot, snapshot_title
from heygem.studio.snapshots import Snapshot


def recipe(**lips):
    inputs = {"videos": ["people/anna.mp4"], "audio": "voice.wav"}
    return Params.from_dict({"inputs": inputs, "lips": lips})


def test_a_snapshot_is_named_after_what_differs():
    assert snapshot_title(recipe()) == "anna-voice"
    assert snapshot_title(recipe(openness_gain=1.3)) == "anna-voice: openness_gain 1.3"
    assert snapshot_title(recipe(openness_gain=1.3), "calm") == "calm: openness_gain 1.3"
    assert snapshot_title(Params()) == "snapshot"
    many = recipe(openness_gain=1.3, width_gain=0.8, smoothing_ms=40, offset_ms=20)
    assert snapshot_title(many).endswith(" and 1 more")


@pytest.mark.slow
def test_two_snapshots_can_be_told_apart_in_the_list(tmp_path):
    for gain in (1.2, 1.4):
        params = recipe(openness_gain=gain).override({"mlflow.folder": "mlruns"})
        log_snapshot(Snapshot(params, None, "too wide?"), "", root=tmp_path)
    names = {run.name for run in runs.list_runs(tmp_path / "mlruns")}
    assert names == {"anna-voice: openness_gain 1.2", "anna-voice: openness_gain 1.4"}
    (newest, _) = runs.list_runs(tmp_path / "mlruns")
    data = store.open_client(tmp_path / "mlruns").get_run(newest.id).data
    assert data.tags["mlflow.note.content"] == (
        "too wide?\n\n- `lips.openness_gain`: 1.4 (default 1.0)"
    )
