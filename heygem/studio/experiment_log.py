"""Record a snapshot of the tuning page as an MLflow run, beside the runs of batches."""

from pathlib import Path

from heygem.config.params import Params
from heygem.core.errors import OutputError
from heygem.core.types import PathLike
from heygem.experiments import store
from heygem.experiments.run_records import run_title
from heygem.studio.clip import ApertureCurves
from heygem.studio.controls import control_differences, control_values
from heygem.studio.snapshots import Snapshot


def log_snapshot(
    snapshot: Snapshot,
    name: str,
    *,
    curves: ApertureCurves | None = None,
    root: PathLike = ".",
) -> str:
    """Record settings, note and clip of a snapshot.

    Parameters
    ----------
    snapshot : heygem.studio.snapshots.Snapshot
    name : str
        Of the recipe; empty: the run is named after person, sound and what differs.
    curves : heygem.studio.clip.ApertureCurves, optional
        Of the clip; `heygem.experiments.comparison` plots them beside those of other runs.
    root : path
        Folder that `mlflow.folder` of the recipe is relative to.

    Returns
    -------
    str
        Id of the run.

    Raises
    ------
    OutputError
        The store cannot be reached.
    """
    settings = snapshot.params.mlflow
    folder = (Path(root) / settings.folder).resolve()
    store.disable_telemetry()
    from mlflow.exceptions import MlflowException

    try:
        client = store.open_client(folder)
        experiment = store.experiment_id(client, folder, settings.experiment)
        tags = {
            "heygem.kind": "snapshot",
            "params_hash": snapshot.params.digest(),
            "mlflow.note.content": _description(snapshot),
        }
        title = snapshot_title(snapshot.params, name)
        run = client.create_run(experiment, run_name=title, tags=tags).info.run_id
        for key, value in control_values(snapshot.params).items():
            client.log_param(run, key, value)
        client.log_text(run, snapshot.params.to_yaml(), "params.yaml")
        clip = snapshot.clip
        if clip is not None:
            measured = {"preview.seconds": clip.seconds, "preview.frames": float(clip.frames)}
            measured["preview.skipped_frames"] = float(clip.skipped_frames)
            store.log_metrics(client, run, measured)
            client.log_artifact(run, str(clip.result), "video")
            if curves is not None:
                client.log_text(run, _curve_csv(curves), "lip_curve.csv")
        client.set_terminated(run)
    except (MlflowException, OSError) as e:
        raise OutputError(
            "MLflow could not record the snapshot",
            seen=str(e)[:200],
            remedy="check the folder of the store",
        ) from e
    return run


def snapshot_title(params: Params, name: str = "") -> str:
    """Name of a snapshot's run, which distinguishes it in a long list.

    Returns
    -------
    str
        `name` where there is one, else person and sound; then the controls that differ from their
        defaults, such as "anna-speech: openness_gain 1.3, offset_ms 40".
    """
    files = [*params.inputs.videos[:1], params.inputs.audio or ""]
    title = name or "-".join(Path(file).stem for file in files if file) or "snapshot"
    differences = control_differences(params, Params())
    return run_title(title, {key: value for key, (value, _) in differences.items()})


def _description(snapshot: Snapshot) -> str:
    """The user's note, then every control that differs from its default, as Markdown."""
    differences = control_differences(snapshot.params, Params())
    rows = [f"- `{key}`: {value} (default {usual})" for key, (value, usual) in differences.items()]
    changes = "\n".join(rows) or "All controls are at their defaults."
    return f"{snapshot.note}\n\n{changes}".strip()


def _curve_csv(curves: ApertureCurves) -> str:
    """CSV as `heygem.experiments.figures.save_curve` writes it; time 0 is the first frame."""
    rows = zip(curves.times_s - curves.start_s, curves.after, strict=True)
    lines = [f"{time_s:.2f},{aperture:.4f}\n" for time_s, aperture in rows]
    return "time_s,opening\n" + "".join(lines)
