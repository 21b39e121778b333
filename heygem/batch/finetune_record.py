"""What `heygem run` and MLflow are told of a taught person."""

from datetime import UTC, datetime
from pathlib import Path

from heygem.batch import manifest, notebooks
from heygem.core.files import write_json
from heygem.experiments import store
from heygem.finetune import bundle, report


def keep(taught, path):
    """The record by which `heygem run` knows that its notebook came to the end.

    Parameters
    ----------
    taught : heygem.finetune.run.FinetuneResult
    path : path or None
        See `heygem.batch.notebooks.record_path`; nothing is written for None.
    """
    if path is None:
        return
    item = {
        "name": taught.path.stem,
        "video": taught.facts["sources"][0]["name"],
        "sound": "",
        "status": "done",
        "output": str(taught.path),
        "seconds": round(sum(taught.seconds.values()), 2),
        "warnings": list(taught.notes),
    }
    content = {
        "schema": manifest.SCHEMA,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "exit_code": 0,
        "folder": str(taught.path.absolute().parent),
        "warnings": [],
        "items": [item],
    }
    write_json(Path(path).parent, content, name=notebooks.RECORD)


def log_run(taught, params):
    """Numbers, curves and pictures into MLflow.

    Parameters
    ----------
    taught : heygem.finetune.run.FinetuneResult
    params : heygem.config.params.Params
        Its `tracking` section is read.

    Returns
    -------
    str
        Identifier of the run, or why there is none.
    """
    if not params.mlflow.enabled:
        return "switched off"
    store.quiet()
    try:
        from mlflow import MlflowClient

        place = Path(params.mlflow.folder)
        place.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(store.store(place))
        name = params.mlflow.experiment
        run = client.create_run(
            store.experiment(client, place, name), run_name=taught.path.stem
        ).info.run_id
        facts = taught.facts
        settings = facts["settings"] | {"base_sha256": facts["base_sha256"]}
        for key, value in settings.items():
            client.log_param(run, f"finetune.{key}", value)
        for half in ("before", "after"):
            for key, value in facts[half].items():
                client.log_metric(run, f"{half}/{key}", value)
        client.log_metric(run, "seconds_of_speech", facts["seconds"])
        client.log_metric(run, "kept_base", float(facts["kept_base"]))
        for stage, value in taught.seconds.items():
            client.log_metric(run, f"time/{stage}_s", value)
        for step, entry in enumerate(taught.adapted.history):
            client.log_metric(run, "held_out_correlation", entry["correlation"], step=step)
        for file in (*report.PICTURES, report.PAGE, bundle.FACTS):
            client.log_artifact(run, str(taught.path / file))
        client.set_terminated(run)
    except Exception as error:  # noqa: BLE001  a store that is away never costs a person
        return f"not recorded ({type(error).__name__}: {error})"
    return run
