"""Records of a fine-tuning: for `heygem run`, and in MLflow."""

from datetime import UTC, datetime
from pathlib import Path

from heygem.batch import notebooks
from heygem.batch.item import manifest
from heygem.config.params import Params
from heygem.core.files import write_json
from heygem.core.types import PathLike
from heygem.experiments import store
from heygem.finetune import bundle, report
from heygem.finetune.run import FinetuneResult


def write_record(result: FinetuneResult, path: PathLike | None) -> None:
    """Write the record by which `heygem run` knows that its notebook was completed.

    Parameters
    ----------
    result : FinetuneResult
    path : path or None
        See `heygem.batch.notebooks.record_path`; nothing is written for None.
    """
    if path is None:
        return
    item = {
        "name": result.path.stem,
        "video": result.facts["sources"][0]["name"],
        "sound": "",
        "status": "done",
        "output": str(result.path),
        "seconds": round(sum(result.seconds.values()), 2),
        "warnings": list(result.notes),
    }
    content = {
        "schema": manifest.SCHEMA,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "exit_code": 0,
        "folder": str(result.path.absolute().parent),
        "warnings": [],
        "items": [item],
    }
    write_json(Path(path).parent, content, name=notebooks.RECORD)


def log_run(result: FinetuneResult, params: Params) -> str:
    """Log settings, numbers, curves and pictures to MLflow.

    Parameters
    ----------
    result : FinetuneResult
    params : Params
        Its `mlflow` section is used.

    Returns
    -------
    str
        Id of the run, or why there is none.
    """
    if not params.mlflow.enabled:
        return "switched off"
    store.disable_telemetry()
    try:
        return _log(result, params)
    except Exception as error:  # noqa: BLE001  without a store, the avatar is made all the same
        return f"not recorded ({type(error).__name__}: {error})"


def _log(result: FinetuneResult, params: Params) -> str:
    folder = Path(params.mlflow.folder)
    client = store.open_client(folder)
    experiment = store.experiment_id(client, folder, params.mlflow.experiment)
    run = client.create_run(experiment, run_name=result.path.stem).info.run_id
    facts = result.facts
    settings = facts["settings"] | {"base_sha256": facts["base_sha256"]}
    for key, value in settings.items():
        client.log_param(run, f"finetune.{key}", value)
    for half in ("before", "after"):
        for key, value in facts[half].items():
            client.log_metric(run, f"{half}/{key}", value)
    client.log_metric(run, "seconds_of_speech", facts["seconds"])
    client.log_metric(run, "kept_base", float(facts["kept_base"]))
    for stage, value in result.seconds.items():
        client.log_metric(run, f"time/{stage}_s", value)
    for step, entry in enumerate(result.adaptation.history):
        client.log_metric(run, "held_out_correlation", entry["correlation"], step=step)
    for file in (*report.PICTURES, report.PAGE, bundle.FACTS):
        client.log_artifact(run, str(result.path / file))
    client.set_terminated(run)
    return run
