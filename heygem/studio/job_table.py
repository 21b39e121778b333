"""The line of jobs in the page: one light table, however long the line is."""

from pathlib import Path

import anywidget
import traitlets

_STATIC = Path(__file__).parent / "static"
_LABELS = ("drag", "moved_to", "up", "down", "cancel", "retry", "remove", "queue_empty", "queue")


class JobTable(anywidget.AnyWidget):
    """Rows with a picture, progress, errors and buttons; waiting ones are dragged into order.

    Keyboard: on a row's grip, the arrow keys move it by one, Home and End to the ends.

    Attributes
    ----------
    rows : list of dict
        id, video, sound, state, share (0..1), words, error (HTML), notes (list of str), can (list
        of what may be done: move, cancel, retry, remove).
    pictures : dict
        Video to the address of its small picture.
    asked : dict
        What the user wants, set by the page: `do`, `id`, a running number `n`; for `place` also
        `before` (an id, or None for the end), for `move` also `places`.
    """

    _esm = _STATIC / "table.js"
    _css = _STATIC / "table.css"

    labels = traitlets.Dict().tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)
    asked = traitlets.Dict().tag(sync=True)

    def __init__(self, say):
        super().__init__(labels={key: say(key) for key in _LABELS})
