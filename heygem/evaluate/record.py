"""Keep an evaluation: table and figure in a folder, numbers and frame ranges in MLflow."""

import hashlib
import json
import logging
import math
from pathlib import Path

from heygem import __version__, lips, tracking

log = logging.getLogger(__name__)


def save(table, folder, params, settings):
    """Write `table.csv`, `table.md`, `figure.png` and `evaluation.json`; returns their paths.

    `evaluation.json` says what makes the numbers repeatable: settings, the hash of the model,
    and for every clip the seconds learnt from and judged on.
    """
    paths = table.save(folder)
    facts = Path(folder) / "evaluation.json"
    facts.write_text(json.dumps(about(table, params, settings), indent=1), encoding="utf-8")
    return [*paths, facts]


def about(table, params, settings):
    """Facts of an evaluation as a plain dictionary."""
    model = Path(params.lips.model or lips.SHIPPED)
    return {
        "model": table.model,
        "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest() if model.is_file() else None,
        "heygem": __version__,
        "params": params.tree(),
        "settings": settings.model_dump(mode="json"),
        "ranges": {
            row.clip: {"learnt_from_s": row.library_s, "judged_on_s": row.held_out_s}
            for row in table.rows
        },
        "skipped": table.skipped,
        "means": {
            method: {key: measure.value for key, measure in measures.items()}
            for method, measures in table.means().items()
        },
    }


def log_run(table, folder, params, settings):
    """Record an evaluation in MLflow; an unreachable store is warned about, nothing is lost.

    Parameters
    ----------
    folder : path
        Where `save` has written.

    Returns
    -------
    str or None
        The run's id.
    """
    if not params.tracking.enabled:
        return None
    tracking.quiet()
    try:
        import mlflow

        store = Path(params.tracking.folder).absolute()
        store.mkdir(parents=True, exist_ok=True)
        client = mlflow.MlflowClient(tracking.store(store))
        name = f"{params.tracking.experiment}-evaluate"
        known = client.get_experiment_by_name(name)
        place = (store / "artifacts" / name.replace("/", "_")).as_uri()
        experiment = (
            known.experiment_id
            if known is not None
            else client.create_experiment(name, artifact_location=place)
        )
        run = client.create_run(experiment, run_name=table.model, tags={"heygem.kind": "evaluate"})
        identity = run.info.run_id
        facts = about(table, params, settings)
        for key, value in (params.dotted() | {"evaluate": facts["settings"]}).items():
            client.log_param(identity, key, str(value)[:6000])
        client.log_param(identity, "model_sha256", facts["model_sha256"])
        for method, measures in table.means().items():
            # MLflow takes no brackets or commas in names.
            prefix = method.replace(" ", "_").replace(",", "")
            for key, measure in measures.items():
                if math.isfinite(measure.value):
                    client.log_metric(identity, f"{prefix}.{key}", measure.value)
        client.log_artifacts(identity, str(folder))
        client.set_terminated(identity)
        return identity
    except Exception as error:  # MLflow's errors have no common root; the table is already safe
        log.warning("not recorded in MLflow (%s); the table is in %s", error, folder)
        return None
