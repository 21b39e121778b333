"""The job queue as a table in the page."""

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from heygem.core.i18n import Translate

_STATIC = Path(__file__).parent / "static"
_LABELS = ("drag", "moved_to", "up", "down", "cancel", "retry", "remove", "queue_empty", "queue")


class JobTable(anywidget.AnyWidget):
    """Rows with thumbnail, progress, errors and buttons; pending jobs are reordered by dragging.

    Keyboard: on the grip of a row, the arrow keys move it by one, Home and End to the ends.

    Attributes
    ----------
    rows : list of dict
        id, path, video, audio, state, progress (0..1), status, error (HTML), warnings (list of
        HTML), actions (those allowed: move, cancel, retry, remove).
    thumbnails : dict
        Data URL of the thumbnail, by path of the video.
    request : dict
        Action requested by the user, set by the page: `action`, `id`, a running number `n`; for
        `place` also `before` (an id, or None for the end), for `move` also `places`.
    """

    _esm = _STATIC / "job_table.js"
    _css = _STATIC / "job_table.css"

    labels = traitlets.Dict().tag(sync=True)
    rows: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    thumbnails = traitlets.Dict().tag(sync=True)
    request = traitlets.Dict().tag(sync=True)

    def __init__(self, translate: Translate) -> None:
        super().__init__(labels={key: translate(key) for key in _LABELS})
