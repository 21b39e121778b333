"""The batch tab: who speaks what, how far it is, and what went wrong."""

import html
import threading
import weakref
from pathlib import Path

import ipywidgets as w

from heygem.errors import HeygemError
from heygem.widgets.picker import VIDEO_ENDINGS, FilePicker, entries
from heygem.widgets.status import error_html
from heygem.widgets.words import stage_name

POLL_S = 0.5
SYMBOLS = {"waiting": "○", "running": "▶", "done": "✔", "failed": "✖", "cancelled": "■"}


class JobRow(w.VBox):
    """One job: its name, progress, error, and buttons."""

    def __init__(self, job, line):
        self.job, self._line, say = None, line, line.say
        self.title = w.HTML(layout=w.Layout(flex="1 1 auto", min_width="260px"))
        self.bar = w.FloatProgress(min=0, max=1, layout=w.Layout(width="170px", height="16px"))
        self.text = w.HTML(layout=w.Layout(width="240px"))
        self.error = w.HTML()
        board = line.board
        self.buttons = {
            "up": self._button("arrow-up", say("up"), lambda: board.move(self.job.id, -1)),
            "down": self._button("arrow-down", say("down"), lambda: board.move(self.job.id, 1)),
            "cancel": self._button("stop", say("cancel"), lambda: board.cancel(self.job.id)),
            "retry": self._button("refresh", say("retry"), lambda: line.retry(self.job.id)),
            "remove": self._button("times", say("remove"), lambda: board.remove(self.job.id)),
        }
        row = w.HBox(
            [self.title, self.bar, self.text, *self.buttons.values()],
            layout=w.Layout(align_items="center", width="100%"),
        )
        super().__init__([row, self.error])
        self.show(job)

    def _button(self, icon, tip, act):
        button = w.Button(icon=icon, tooltip=tip, layout=w.Layout(width="36px"))
        button.on_click(lambda _: self._line.act(act))
        return button

    def show(self, job):
        """Bring the row up to a job's state."""
        if job == self.job:
            return
        self.job, say = job, self._line.say
        name = html.escape(job.name)
        self.title.value = f"<b>{SYMBOLS[job.state]}</b> {name}"
        p = job.progress
        share = p["done"] / p["total"] if p.get("total") else 0.0
        self.bar.value = 1.0 if job.state == "done" else share
        self.bar.bar_style = {"done": "success", "failed": "danger"}.get(job.state, "info")
        words = say("state_" + job.state)
        if job.state == "done":
            words += f" · {job.seconds:.0f} s"
        elif p:
            words = f"{stage_name(say, p['stage'])} {p['done']}/{p['total']}"
            if p.get("left_s", 0) >= 1:
                words += " · " + say("left", seconds=p["left_s"])
        self.text.value = html.escape(words)
        if job.state == "failed":
            self.error.value = error_html(HeygemError(job.error), say, folded=False)
        else:
            self.error.value = "".join(
                f'<div style="font-size:12px">⚠ {html.escape(text)}</div>' for text in job.warnings
            )
        moving, over = job.state == "waiting", job.state in ("failed", "cancelled")
        self.buttons["up"].disabled = self.buttons["down"].disabled = not moving
        self.buttons["cancel"].disabled = job.state not in ("waiting", "running")
        self.buttons["retry"].disabled = not over
        self.buttons["remove"].disabled = job.state == "running"


class Line(w.VBox):
    """Adds videos to a `heygem.jobs.Board` and shows it; the work itself is done elsewhere.

    Parameters
    ----------
    board : heygem.jobs.Board
    params : heygem.params.Params
        Recipe of the jobs that are added.
    folder : path
        Where the browsers start.
    say : callable
    """

    def __init__(self, board, params, *, folder, say):
        self.board, self.params, self.say = board, params, say
        self.audio = FilePicker(say("audio"), folder, kind="audio", say=say)
        self.place = w.Text(
            value=str(Path(folder).resolve()), continuous_update=False,
            layout=w.Layout(width="100%"),
        )  # fmt: skip
        self.videos = w.SelectMultiple(rows=9, layout=w.Layout(width="100%"))
        self.add_button = w.Button(description=say("add"), button_style="primary", icon="plus")
        self.start_button = w.Button(description=say("start_line"), button_style="success")
        self.stop_button = w.Button(description=say("cancel_all"), icon="stop")
        self.retry_button = w.Button(description=say("retry_failed"), icon="refresh")
        self.clear_button = w.Button(description=say("clear_done"))
        self.sum = w.HTML()
        self.box = w.HTML()
        self.rows = w.VBox()
        self._rows, self._lock = {}, threading.RLock()
        videos = w.VBox(
            [w.HTML(html.escape(say("videos"))), self.place, self.videos],
            layout=w.Layout(width="100%", max_width="520px", padding="4px"),
        )
        buttons = [self.add_button, self.start_button, self.stop_button, self.retry_button]
        super().__init__(
            [
                w.HBox([self.audio, videos], layout=w.Layout(flex_flow="row wrap")),
                w.HBox([*buttons, self.clear_button], layout=w.Layout(flex_flow="row wrap")),
                self.box,
                self.sum,
                self.rows,
            ]
        )
        self.place.observe(lambda _: self.act(self._list), "value")
        self.add_button.on_click(lambda _: self.act(self.add))
        self.start_button.on_click(lambda _: self.act(board.start))
        self.stop_button.on_click(lambda _: self.act(board.cancel_all))
        self.retry_button.on_click(lambda _: self.act(self.retry_failed))
        self.clear_button.on_click(lambda _: self.act(self._clear))
        self.act(self._list)
        # The thread must not keep a page alive that nobody holds any more.
        threading.Thread(target=_poll, args=(weakref.ref(self),), daemon=True).start()

    def act(self, what):
        """Do something and show the outcome; an error goes into the box."""
        self.box.value = ""
        try:
            what()
        except HeygemError as error:
            self.box.value = error_html(error, self.say)
        self.refresh()

    def add(self):
        """Put the chosen videos into the line, each with the chosen sound."""
        if not self.videos.value:
            raise HeygemError("no video is chosen", remedy=self.say("videos"))
        for video in self.videos.value:
            self.board.add(video, self.audio.chosen, self.params)

    def retry(self, job_id):
        """Put one job back into the line, and work on it."""
        self.board.retry(job_id)
        self.board.start()

    def retry_failed(self):
        """Put all failed jobs back into the line, and work on them."""
        self.board.retry_failed()
        self.board.start()

    def refresh(self):
        """Read the board and bring the rows up to it."""
        with self._lock:
            jobs, working = self.board.jobs(), self.board.working()
            for job in jobs:
                if job.id in self._rows:
                    self._rows[job.id].show(job)
                else:
                    self._rows[job.id] = JobRow(job, self)
            rows = tuple(self._rows[job.id] for job in jobs)
            if self.rows.children != rows:
                self.rows.children = rows
            self._rows = {job.id: self._rows[job.id] for job in jobs}
            self.sum.value = html.escape(summary(jobs, working, self.say))

    def _list(self):
        found = [(name, str(p)) for name, p in entries(self.place.value, VIDEO_ENDINGS)]
        self.videos.options = [(name, p) for name, p in found if Path(p).is_file()]

    def _clear(self):
        for job in self.board.jobs():
            if job.state == "done":
                self.board.remove(job.id)


def summary(jobs, working, say):
    """One line on the whole: how many are finished, failed, and how long it still takes."""
    if not jobs:
        return say("line_empty")
    count = {s: sum(job.state == s for job in jobs) for s in SYMBOLS}
    if not working:
        left = say("line_idle")
    else:
        known = [job.seconds for job in jobs if job.state == "done" and job.seconds > 0]
        running = sum(job.progress.get("left_s", 0) for job in jobs)
        left_s = running + count["waiting"] * (sum(known) / len(known) if known else 0)
        left = say("line_left", minutes=max(1, left_s / 60)) if known else say("line_soon")
    return say("line_sum", done=count["done"], total=len(jobs), failed=count["failed"], left=left)


def _poll(page):
    wait = threading.Event()
    while not wait.wait(POLL_S):
        line = page()
        if line is None or line.comm is None:  # closed
            return
        line.refresh()
        del line
