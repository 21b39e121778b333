"""Store an evaluation: table and figures in a folder, numbers and frame ranges in MLflow."""

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heygem import __version__, lips
from heygem.config.params import Params, Settings
from heygem.core.files import sha256
from heygem.core.own_files import OwnFiles
from heygem.core.publish import BY_OPTION
from heygem.core.types import PathLike
from heygem.core.version import commit
from heygem.evaluation import figures, table
from heygem.evaluation.results import Results
from heygem.experiments import store

FILES = (
    "table.csv", "table.md", "figure.png", "finetune.csv", "finetune.png", "evaluation.json",
)  # fmt: skip

log = logging.getLogger(__name__)


def save(results: Results, folder: PathLike, params: Params, settings: Settings) -> list[Path]:
    """Write tables, figures and `evaluation.json`; returns their paths.

    `table.csv`, `table.md`, `figure.png`, and with a fine-tuning curve `finetune.csv` and
    `finetune.png`. `evaluation.json` holds what makes the numbers reproducible: settings, hashes of
    the model, of the code and of the footage, and the library and held-out seconds of every clip.

    Raises
    ------
    OutputError
        The folder cannot be written, or holds a file of the user under one of these names.
    """
    facts = json.dumps(summary(results, params, settings), indent=1)
    savers: dict[str, Callable[[Path], Any]] = {
        "table.csv": lambda path: table.write_csv(results, path),
        "table.md": lambda path: path.write_text(table.to_markdown(results), encoding="utf-8"),
        "figure.png": lambda path: figures.metrics_figure(results).savefig(path, dpi=110),
    }
    if results.points:
        savers |= {
            "finetune.csv": lambda path: table.write_finetune_csv(results, path),
            "finetune.png": lambda path: figures.finetune_figure(results).savefig(path, dpi=110),
        }
    savers["evaluation.json"] = lambda path: path.write_text(facts, encoding="utf-8")
    own_files = _own_files(folder, params)
    for name, save_as in savers.items():
        with own_files.writing(name) as staged:
            save_as(staged)
    return [own_files.folder / name for name in savers]


def check_folder(folder: PathLike, params: Params) -> None:
    """Refuse, before any work, a folder where files of the user have the names of `save`.

    Raises
    ------
    OutputError
    """
    _own_files(folder, params).check(*FILES)


def _own_files(folder: PathLike, params: Params) -> OwnFiles:
    return OwnFiles(folder, overwrite=params.inputs.overwrite, way_out=BY_OPTION)


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
