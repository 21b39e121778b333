"""Runs in an MLflow store, as a batch leaves them."""

import time

from heygem.experiments import store


def record(
    folder, name, *, params=None, metrics=None, kind="video", files=(), curve=None, within="heygem",
    **tags,
):  # fmt: skip
    """A run as a batch leaves it; returns its id."""
    folder.mkdir(parents=True, exist_ok=True)
    client = store.open_client(folder)
    experiment = store.experiment_id(client, folder, within)
    tags = {"heygem.kind": kind, **{f"heygem.{key}": value for key, value in tags.items()}}
    run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
    for key, value in (params or {}).items():
        client.log_param(run_id, key, value)
    for key, value in (metrics or {}).items():
        client.log_metric(run_id, key, value)
    for file in files:
        client.log_artifact(run_id, str(file), "video")
    if curve is not None:
        lines = [
            "time_s,opening,width",
            *(f"{t:.2f},{o:.4f},0" for t, o in zip(*curve, strict=True)),
        ]
        client.log_text(run_id, "\n".join(lines), "lip_curve.csv")
    client.set_terminated(run_id)
    time.sleep(0.005)  # MLflow counts milliseconds; the order of runs is theirs
    return run_id
