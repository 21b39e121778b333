"""Store an evaluation: table and figures in a folder, numbers and frame ranges in MLflow."""

import json
import logging
import math
from pathlib import Path
from typing import Any

from heygem import __version__, lips
from heygem.config.params import Params, Settings
from heygem.core.files import sha256
from heygem.core.types import PathLike
from heygem.core.version import commit
from heygem.evaluation import figures, table
from heygem.evaluation.results import Results
from heygem.experiments import store

log = logging.getLogger(__name__)


def save(results: Results, folder: PathLike, params: Params, settings: Settings) -> list[Path]:
    """Write tables, figures and `evaluation.json`; returns their paths.

    `table.csv`, `table.md`, `figure.png`, and with a fine-tuning curve `finetune.csv` and
    `finetune.png`. `evaluation.json` holds what makes the numbers reproducible: settings, hashes of
    the model, of the code and of the footage, and the library and held-out seconds of every clip.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "table.csv", folder / "table.md", folder / "figure.png"]
    table.write_csv(results, paths[0])
    paths[1].write_text(table.to_markdown(results), encoding="utf-8")
    figures.metrics_figure(results).savefig(paths[2], dpi=110)
    if results.points:
        paths += [folder / "finetune.csv", folder / "finetune.png"]
        table.write_finetune_csv(results, paths[3])
        figures.finetune_figure(results).savefig(paths[4], dpi=110)
    facts = folder / "evaluation.json"
    facts.write_text(json.dumps(summary(results, params, settings), indent=1), encoding="utf-8")
    return [*paths, facts]


def summary(results: Results, params: Params, settings: Settings) -> dict[str, Any]:
    """Facts of an evaluation, JSON-serialisable."""
    model = Path(params.lips.model or lips.SHIPPED)
    return {
        "model": results.model,
        "model_sha256": sha256(model) if model.is_file() else None,
        "heygem": __version__,
        "code": commit(),
        "params": params.tree(),
        "settings": settings.model_dump(mode="json"),
        # Nothing is random but the augmentation of a fine-tuning, whose seed is fixed.
        "clips": results.facts,
        "ranges": {
            row.clip: {"library_s": row.library_s, "held_out_s": row.held_out_s}
            for row in results.rows
        },
        "finetune": [
            {
                "clip": point.clip,
                "requested_s": point.requested_s,
                "footage": point.footage,
                "held_out_s": point.held_out_s,
                "kept_base": point.kept_base,
            }
            for point in results.points
        ],
        "skipped": results.skipped,
        "means": {
            method: {key: measure.value for key, measure in measures.items()}
            for method, measures in results.means().items()
        },
    }


def log_run(results: Results, folder: PathLike, params: Params, settings: Settings) -> str | None:
    """Record an evaluation in MLflow; an unreachable store is warned about, nothing is lost.

    Metrics are named `<method>.<metric>`, with underscores for spaces, and
    `finetune_<seconds>_s.<metric>`.

    Parameters
    ----------
    results : Results
    folder : path
        Where `save` has written.
    params : heygem.config.params.Params
    settings : heygem.evaluation.EvaluateSettings

    Returns
    -------
    str or None
        The run's id.
    """
    if not params.mlflow.enabled:
        return None
    facts = summary(results, params, settings)
    numbers: dict[str, float] = {}
    for method, measures in results.means().items():
        # MLflow takes no brackets or commas in names.
        prefix = method.replace(" ", "_").replace(",", "")
        numbers |= {f"{prefix}.{key}": measure.value for key, measure in measures.items()}
    for seconds, measures in results.finetune_means().items():
        prefix = f"finetune_{seconds:.0f}_s"
        numbers |= {f"{prefix}.{key}": measure.value for key, measure in measures.items()}
    evaluated = {"evaluate": facts["settings"]}
    evaluated |= {key: facts[key] for key in ("model_sha256", "code")}
    try:
        return store.record_run(
            params,
            kind="evaluate",
            name=results.model,
            settings=params.dotted() | evaluated,
            metrics={key: value for key, value in numbers.items() if math.isfinite(value)},
            folder=folder,
        )
    except Exception as error:  # MLflow's errors have no common root; the table is already safe
        log.warning("not recorded in MLflow (%s); the table is in %s", error, folder)
        return None
