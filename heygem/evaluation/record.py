"""Keep an evaluation: table and figures in a folder, numbers and frame ranges in MLflow."""

import json
import logging
import math
from pathlib import Path

from heygem import __version__, lips
from heygem.core.files import sha256
from heygem.core.version import commit
from heygem.experiments import store

log = logging.getLogger(__name__)


def save(table, folder, params, settings):
    """Write tables, figures and `evaluation.json`; returns their paths.

    `evaluation.json` says what makes the numbers repeatable: settings, the hash of the model, of
    the code and of the footage, and for every clip the seconds learnt from and judged on.
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
        "model_sha256": sha256(model) if model.is_file() else None,
        "heygem": __version__,
        "code": commit(),
        "params": params.tree(),
        "settings": settings.model_dump(mode="json"),
        # Nothing is drawn at random but the augmentation of an adaptation, whose seed is fixed.
        "clips": table.facts,
        "ranges": {
            row.clip: {"learnt_from_s": row.library_s, "judged_on_s": row.held_out_s}
            for row in table.rows
        },
        "few_shot": [
            {
                "clip": point.clip,
                "asked_s": point.asked_s,
                "learnt": point.learnt,
                "judged_on_s": point.judged_s,
                "kept_base": point.kept_base,
            }
            for point in table.points
        ],
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
    if not params.mlflow.enabled:
        return None
    facts = about(table, params, settings)
    numbers = {}
    for method, measures in table.means().items():
        # MLflow takes no brackets or commas in names.
        prefix = method.replace(" ", "_").replace(",", "")
        numbers |= {f"{prefix}.{key}": measure.value for key, measure in measures.items()}
    for seconds, measures in table.few_shot().items():
        prefix = f"few_shot_{seconds:.0f}_s"
        numbers |= {f"{prefix}.{key}": measure.value for key, measure in measures.items()}
    evaluated = {"evaluate": facts["settings"]}
    evaluated |= {key: facts[key] for key in ("model_sha256", "code")}
    try:
        return store.note(
            params,
            kind="evaluate",
            name=table.model,
            settings=params.dotted() | evaluated,
            numbers={key: value for key, value in numbers.items() if math.isfinite(value)},
            folder=folder,
        )
    except Exception as error:  # MLflow's errors have no common root; the table is already safe
        log.warning("not recorded in MLflow (%s); the table is in %s", error, folder)
        return None
