"""A tried setting as a run in MLflow, beside the runs that batches record."""

from pathlib import Path

from heygem.core.errors import OutputError
from heygem.experiments import store
from heygem.studio.controls import values


def log_snapshot(snapshot, name, *, curves=None, root="."):
    """Record knobs, note and clip of a snapshot.

    Parameters
    ----------
    snapshot : heygem.studio.snapshots.Snapshot
    name : str
        Of the run.
    curves : heygem.studio.session.ApertureCurves, optional
        Of the clip: what `heygem.experiments.comparison` lays over the curves of other runs.
    root : path
        What `mlflow.folder` of the recipe is relative to.

    Returns
    -------
    str
        Id of the run.

    Raises
    ------
    OutputError
        The store cannot be reached; nothing else is affected.
    """
    settings = snapshot.params.mlflow
    folder = (Path(root) / settings.folder).resolve()
    store.quiet()
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        folder.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(tracking_uri=store.store(folder))
        experiment = store.experiment(client, folder, settings.experiment)
        tags = {
            "heygem.kind": "snapshot",
            "params_hash": snapshot.params.digest(),
            "mlflow.note.content": snapshot.note,
        }
        run = client.create_run(experiment, run_name=name, tags=tags).info.run_id
        for key, value in values(snapshot.params).items():
            client.log_param(run, key, value)
        client.log_text(run, snapshot.params.to_yaml(), "params.yaml")
        clip = snapshot.clip
        if clip is not None:
            client.log_metric(run, "preview.seconds", clip.seconds)
            client.log_metric(run, "preview.frames", clip.frames)
            client.log_metric(run, "preview.skipped_frames", clip.skipped_frames)
            client.log_artifact(run, str(clip.result), "video")
            if curves is not None:
                client.log_text(run, _csv(curves), "lip_curve.csv")
        client.set_terminated(run)
    except (MlflowException, OSError) as e:
        raise OutputError(
            "MLflow did not take the snapshot", seen=str(e)[:200], remedy="look at the store"
        ) from e
    return run


def _csv(curves):
    """As `heygem.experiments.figures.save_curve` writes it; time 0 is the clip's first frame."""
    rows = zip(curves.times_s - curves.start_s, curves.after, strict=True)
    return "time_s,opening\n" + "".join(f"{time_s:.2f},{gap:.4f}\n" for time_s, gap in rows)
