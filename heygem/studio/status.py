"""Progress of background work, and errors in a form that the user can act on."""

import html
import logging
import threading
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from heygem.core.error_texts import localized
from heygem.core.errors import Cancelled, HeygemError
from heygem.core.i18n import Translate, language_of, stage_name
from heygem.studio.background import LatestTask

log = logging.getLogger(__name__)


def error_html(error: BaseException, translate: Translate, *, with_traceback: bool = True) -> str:
    """One box: what happened, the value, what to do, and the traceback folded below.

    Returns
    -------
    str
        HTML; all text of the error is escaped.
    """
    lang = language_of(translate)
    if isinstance(error, HeygemError):
        rows = [
            ("error_what", localized(error.what, lang)),
            ("error_seen", None if error.seen is None else localized(str(error.seen), lang)),
            ("error_remedy", error.remedy and localized(error.remedy, lang)),
        ]
    else:
        rows = [
            ("error_what", f"{type(error).__name__}: {error}"),
            ("error_remedy", translate("error_unknown")),
        ]
    lines = "".join(
        f"<div><b>{html.escape(translate(key))}:</b> {html.escape(str(text))}</div>"
        for key, text in rows
        if text is not None
    )
    details = ""
    if with_traceback:
        trace = html.escape("".join(traceback.format_exception(error)))
        details = (
            f"<details><summary>{html.escape(translate('error_details'))}</summary>"
            f'<pre style="white-space:pre-wrap;font-size:11px">{trace}</pre></details>'
        )
    return (
        '<div role="alert" style="border-left:4px solid #d1242f;padding:6px 12px;'
        'margin:4px 0;background:rgba(209,36,47,.09);line-height:1.5">'
        f"{lines}{details}</div>"
    )


def error_line(error: HeygemError, translate: Translate) -> str:
    """What happened, the value and what to do, in one line of plain text."""
    lang = language_of(translate)
    seen = "" if error.seen is None else localized(str(error.seen), lang)
    parts = [localized(error.what, lang), seen, localized(error.remedy or "", lang)]
    return " · ".join(part for part in parts if part)


def poll(page: w.Widget, interval_s: float, update: Callable[[Any], object]) -> None:
    """Call `update(page)` repeatedly on a thread, until the page is closed or garbage-collected.

    Parameters
    ----------
    page : ipywidgets.Widget
    interval_s : float
    update : callable
        Must not hold a reference to the page itself.
    """
    arguments = (weakref.ref(page), interval_s, update)
    threading.Thread(target=_poll, args=arguments, daemon=True).start()


def _poll(reference: weakref.ref, interval_s: float, update: Callable[[w.Widget], object]) -> None:
    timer = threading.Event()
    while not timer.wait(interval_s):
        page = reference()
        if page is None or page.comm is None:  # closed
            return
        try:
            update(page)
        except Exception:  # the next update may succeed
            log.exception("a page could not be updated")
        del page


class StatusBar(w.VBox):
    """Progress with the time left, a stop button, and the error box of a `LatestTask`.

    Parameters
    ----------
    task : heygem.studio.background.LatestTask
    translate : callable
    keeps_place : bool
        Whether it takes its room while nothing runs, so that what is below does not move.
    """

    def __init__(self, task: LatestTask, translate: Translate, *, keeps_place: bool = True) -> None:
        self.task = task
        self._hidden = {"visibility": "hidden"} if keeps_place else {"display": "none"}
        self._translate = translate
        self.bar = w.FloatProgress(min=0, max=1, layout=w.Layout(width="260px", height="18px"))
        self.text = w.HTML()
        self.stop = w.Button(
            description=translate("cancel"), icon="stop", layout=w.Layout(width="110px")
        )
        self.stop.on_click(lambda _: self._stop())
        self.row = w.HBox(
            [self.stop, self.bar, self.text],
            layout=w.Layout(align_items="center", **self._hidden),
        )
        self.error = w.HTML()
        super().__init__([self.row, self.error])
        task.observe(self._busy_changed, "busy")
        task.observe(self._progress_changed, ["stage", "done", "total", "remaining_s"])
        task.observe(lambda change: self.show_error(change["new"]), "error")

    def show_error(self, error: BaseException | None) -> None:
        """Show an error in the box; None and `Cancelled` empty it."""
        if error is None or isinstance(error, Cancelled):
            self.error.value = ""
        else:
            self.error.value = error_html(error, self._translate)

    def _stop(self) -> None:
        self.text.value = html.escape(self._translate("stopping"))
        self.task.cancel()

    def _busy_changed(self, change: dict[str, Any]) -> None:
        for name, value in self._hidden.items():
            setattr(self.row.layout, name, None if change["new"] else value)
        if change["new"]:
            self.error.value = ""  # of what was tried before, in a form or in an earlier run

    def _progress_changed(self, _: dict[str, Any]) -> None:
        task = self.task
        self.bar.value = task.done / task.total if task.total else 0.0
        # A stage that cannot tell its length moves all the same: it is no dead bar.
        (self.bar.remove_class if task.total else self.bar.add_class)("hg-unknown-length")
        text = stage_name(self._translate, task.stage)
        if task.total:
            text += f" {task.done}/{task.total}"
        if task.remaining_s >= 1:
            text += " · " + self._translate("left", seconds=task.remaining_s)
        self.text.value = html.escape(text)
