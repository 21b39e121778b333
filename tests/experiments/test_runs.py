"""Recorded runs."""

import warnings

import pytest

from heygem.experiments import runs, store

pytestmark = pytest.mark.slow


def test_a_run_of_the_last_release_has_the_current_names(tmp_path):
    client = store.open_client(tmp_path)
    experiment = store.experiment_id(client, tmp_path, "people")
    run_id = client.create_run(experiment, run_name="anna").info.run_id
    for key, value in {"engine": "mesh", "label.mark": "True", "video": "anna.mp4"}.items():
        client.log_param(run_id, key, value)
    client.log_metric(run_id, "timings.render_s", 1.5)  # today "timings/render_s"
    metrics = {"measures.mouth_sound_r": 0.4, "passed_through.no face": 3, "seconds": 2}
    for key, value in metrics.items():
        client.log_metric(run_id, key, value)
    client.set_terminated(run_id)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nobody can rename what is recorded: no notice
        (run,) = runs.list_runs(tmp_path, experiment="people")
    assert run.params == {"engine": "warp", "label.watermark": "True", "video": "anna.mp4"}
    assert run.metrics == {
        "timings.render_s": 1.5,
        "measures.av_corr": 0.4,
        "skipped_frames.no face": 3,
        "seconds": 2,
    }


def test_metrics_are_grouped_in_the_store_and_read_under_their_own_names(tmp_path):
    client = store.open_client(tmp_path)
    experiment = store.experiment_id(client, tmp_path, "people")
    run_id = client.create_run(experiment, run_name="anna").info.run_id
    measured = {"timings.render_s": 1.5, "skipped_frames.no face": 3.0, "seconds": 2.0}
    store.log_metrics(client, run_id, measured)
    client.log_metric(run_id, "system/cpu_utilization_percentage", 50)
    client.set_terminated(run_id)
    stored = set(client.get_run(run_id).data.metrics)
    assert {"timings/render_s", "skipped_frames/no face", "seconds"} < stored
    (run,) = runs.list_runs(tmp_path, experiment="people")
    assert run.metrics == measured | {"system/cpu_utilization_percentage": 50}
