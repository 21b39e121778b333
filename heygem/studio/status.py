"""How the work goes, and what went wrong, in a form a person can act on."""

import html
import logging
import threading
import traceback
import weakref

import ipywidgets as w

from heygem.core.errors import Cancelled, HeygemError
from heygem.core.i18n import stage_name

log = logging.getLogger(__name__)


def error_html(error, say, *, folded=True):
    """One readable box: what, the value seen, what to do; the traceback folded below it.

    Parameters
    ----------
    error : BaseException
    say : callable
        From `heygem.core.i18n.words`.
    folded : bool
        Whether there is a traceback worth folding.

    Returns
    -------
    str
        HTML; everything that came from outside is escaped.
    """
    if isinstance(error, HeygemError):
        rows = [
            ("error_what", error.what),
            ("error_seen", error.seen),
            ("error_remedy", error.remedy),
        ]
    else:
        rows = [
            ("error_what", f"{type(error).__name__}: {error}"),
            ("error_remedy", say("error_unknown")),
        ]
    lines = "".join(
        f"<div><b>{html.escape(say(key))}:</b> {html.escape(str(text))}</div>"
        for key, text in rows
        if text is not None
    )
    details = ""
    if folded:
        trace = html.escape("".join(traceback.format_exception(error)))
        details = (
            f"<details><summary>{html.escape(say('error_details'))}</summary>"
            f'<pre style="white-space:pre-wrap;font-size:11px">{trace}</pre></details>'
        )
    return (
        '<div role="alert" style="border-left:4px solid #d1242f;padding:6px 12px;'
        'margin:4px 0;background:rgba(209,36,47,.09);line-height:1.5">'
        f"{lines}{details}</div>"
    )


def watch(page, seconds, look):
    """Call `look(page)` again and again until the page is closed or nobody holds it any more.

    Parameters
    ----------
    page : ipywidgets.Widget
    seconds : float
    look : callable
        May not hold the page itself.
    """
    threading.Thread(target=_watch, args=(weakref.ref(page), seconds, look), daemon=True).start()


def _watch(page, seconds, look):
    wait = threading.Event()
    while not wait.wait(seconds):
        shown = page()
        if shown is None or shown.comm is None:  # closed
            return
        try:
            look(shown)
        except Exception:  # the next look may fare better
            log.exception("a page could not be brought up to date")
        del shown


class StatusBar(w.VBox):
    """Progress with time left, a stop button, and the error box of a `Worker`.

    Parameters
    ----------
    worker : heygem.studio.background.Worker
    say : callable
    """

    def __init__(self, worker, say):
        self.worker = worker
        self._say = say
        self.bar = w.FloatProgress(min=0, max=1, layout=w.Layout(width="260px", height="18px"))
        self.text = w.HTML()
        self.stop = w.Button(description=say("cancel"), icon="stop", layout=w.Layout(width="110px"))
        self.stop.on_click(lambda _: self._stop())
        self.row = w.HBox(
            [self.stop, self.bar, self.text],
            layout=w.Layout(visibility="hidden", align_items="center"),
        )
        self.error = w.HTML()
        super().__init__([self.row, self.error])
        worker.observe(self._busy, "busy")
        worker.observe(self._progress, ["stage", "done", "total", "remaining_s"])
        worker.observe(lambda change: self.show(change["new"]), "error")

    def show(self, error):
        """Put an error into the box; None empties it."""
        hide = error is None or isinstance(error, Cancelled)
        self.error.value = "" if hide else error_html(error, self._say)

    def _stop(self):
        self.text.value = html.escape(self._say("stopping"))
        self.worker.cancel()

    def _busy(self, change):
        self.row.layout.visibility = "visible" if change["new"] else "hidden"

    def _progress(self, _):
        worker = self.worker
        self.bar.value = worker.done / worker.total if worker.total else 0.0
        text = stage_name(self._say, worker.stage)
        if worker.total:
            text += f" {worker.done}/{worker.total}"
        if worker.remaining_s >= 1:
            text += " · " + self._say("left", seconds=worker.remaining_s)
        self.text.value = html.escape(text)
