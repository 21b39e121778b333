"""A notification of the browser when the queue is done, for who looks elsewhere meanwhile."""

from collections.abc import Mapping
from pathlib import Path

import anywidget
import traitlets

from heygem.batch.queue.job import OPEN, State
from heygem.batch.queue.rows import StateTotals
from heygem.core.i18n import Translate
from heygem.studio.scripts import widget_script

_STATIC = Path(__file__).parent / "static"
_PHRASES = ("notify_ask", "notify_on", "notify_blocked")


class Notifier(anywidget.AnyWidget):
    """A button that turns notifications on and off; the browser asks for permission on its click.

    Nothing is sent anywhere: the page itself, as long as it is open, shows the notification.

    Parameters
    ----------
    translate : callable

    Attributes
    ----------
    message : dict
        `title` and `body` of the newest one, and a running number `n`.
    """

    _esm = widget_script("notifier")
    _css = _STATIC / "notifier.css"

    labels = traitlets.Dict().tag(sync=True)
    message = traitlets.Dict().tag(sync=True)

    def __init__(self, translate: Translate) -> None:
        self._translate = translate
        self._before: tuple[int, int] | None = None  # done and failed when the queue was begun
        super().__init__(labels={key: translate(key) for key in _PHRASES})

    def update(self, totals: Mapping[State, StateTotals]) -> None:
        """Take the state of the queue; a message goes out when the last job ends."""
        done, failed = totals["done"].number, totals["failed"].number
        if any(totals[state].number for state in OPEN):
            self._before = self._before or (done, failed)
        elif self._before is not None:
            counts = {"done": max(0, done - self._before[0])}
            counts["failed"] = max(0, failed - self._before[1])
            self._before = None
            self.message = {
                "title": self._translate("notify_title"),
                "body": self._translate("notify_body", **counts),
                "n": self.message.get("n", 0) + 1,
            }
