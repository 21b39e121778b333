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
    metrics = {"measures.mouth_sound_r": 0.4, "passed_through.no face": 3, "seconds": 2}
    for key, value in metrics.items():
        client.log_metric(run_id, key, value)
    client.set_terminated(run_id)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nobody can rename what is recorded: no notice
        (run,) = runs.list_runs(tmp_path, experiment="people")
    assert run.params == {"engine": "warp", "label.watermark": "True", "video": "anna.mp4"}
    assert run.metrics == {
        "measures.av_corr": 0.4,
        "skipped_frames.no face": 3,
        "seconds": 2,
    }
