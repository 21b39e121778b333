"""Recorded MLflow runs as a table to choose from."""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from heygem.core.i18n import Translate
from heygem.studio.scripts import widget_script

_STATIC = Path(__file__).parent / "static"
_LABELS = (
    "filter", "choose", "count", "column_started", "column_name", "column_kind", "column_status",
    "column_seconds", "column_experiment", "column_video",
    "run_video", "run_batch", "run_snapshot", "run_compare", "run_finetune", "run_train",
    "run_evaluate", "run_report", "run_finished", "run_failed", "run_killed", "run_running",
    "run_skipped", "run_cancelled", "run_scheduled",
)  # fmt: skip


class RunTable(anywidget.AnyWidget):
    """Recorded runs as a table with sorting, a filter and checkboxes.

    Attributes
    ----------
    rows : list of dict
        id, name, kind, status, started (milliseconds), seconds, experiment, video (bool).
    chosen : list of str
        Ids in the order in which they were checked.
    """

    _esm = widget_script("run_table")
    _css = _STATIC / "comparison.css"

    labels = traitlets.Dict().tag(sync=True)
    rows: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    chosen: traitlets.List[str] = traitlets.List().tag(sync=True)

    def __init__(self, translate: Translate, **traits: Any) -> None:
        super().__init__(labels={key: translate(key) for key in _LABELS}, **traits)
