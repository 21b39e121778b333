"""The job queue as a table in the page."""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from heygem.core.i18n import Translate
from heygem.studio.scripts import widget_script

_STATIC = Path(__file__).parent / "static"
_LABELS = (
    "drag", "moved_to", "up", "down", "cancel", "retry", "play", "remove", "queue_empty", "queue",
    "style", "live",
)  # fmt: skip


class JobTable(anywidget.AnyWidget):
    """Rows with thumbnail, progress, errors and buttons; pending jobs are reordered by dragging.

    Keyboard: on the grip of a row, the arrow keys move it by one, Home and End to the ends.

    Attributes
    ----------
    rows : list of dict
        id, path, video, audio, state, progress (0..1), status, error (HTML), warnings (list of
        HTML), actions (those allowed: move, cancel, retry, play, remove); recipe (its name, or
        empty) and recipe_label.
    recipes : list of (label, name)
        Those that a waiting job may be given.
    thumbnails : dict
        Data URL of the thumbnail, by path of the video.
    live : dict
        Data URL of the frame that is being drawn, by id of the job.
    request : dict
        Action requested by the user, set by the page: `action`, `id`, a running number `n`; for
        `place` also `before` (an id, or None for the end), for `move` also `places`, for `recipe`
        also `recipe`.
    """

    _esm = widget_script("job_table")
    _css = _STATIC / "job_table.css"

    labels = traitlets.Dict().tag(sync=True)
    can_move = True  # whether the user may change the order

    rows: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    recipes: traitlets.List[list[str]] = traitlets.List().tag(sync=True)
    thumbnails = traitlets.Dict().tag(sync=True)
    live = traitlets.Dict().tag(sync=True)
    request = traitlets.Dict().tag(sync=True)

    def __init__(self, translate: Translate) -> None:
        super().__init__(labels={key: translate(key) for key in _LABELS})

    def keep_order(self, reason: str) -> None:
        """Offer no movement; the buttons and the grip say why."""
        self.can_move = False
        self.labels = {**self.labels, **dict.fromkeys(("drag", "up", "down"), reason)}

    @traitlets.validate("rows")
    def _without_movement(self, proposal: dict[str, Any]) -> list[dict[str, Any]]:
        if self.can_move:
            return list(proposal["value"])
        return [
            {**row, "actions": [action for action in row["actions"] if action != "move"]}
            for row in proposal["value"]
        ]
