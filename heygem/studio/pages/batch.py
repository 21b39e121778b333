"""The batch tab: who speaks what, how far it is, and what went wrong."""

import base64
import html
import threading
import time
from pathlib import Path

import ipywidgets as w

from heygem.config.pairs import Pair
from heygem.core.errors import HeygemError
from heygem.core.i18n import stage_name
from heygem.studio.file_picker import FilePicker, FilesPicker, thumbnail
from heygem.studio.job_table import JobTable
from heygem.studio.pair_table import PairTable, existing
from heygem.studio.status import error_html, watch

POLL_S = 0.5
RESTART_S = 10.0  # a process that has died is started again at most so often
PICTURE_PX = 96
PICTURES_A_TURN = 6  # made between two looks at the line


class Line(w.VBox):
    """Adds videos to a `heygem.batch.queue.JobQueue` and shows it; the work itself is done elsewhere.

    Parameters
    ----------
    queue : heygem.batch.queue.JobQueue
    params : heygem.config.params.Params
        Recipe of the jobs that are added; pairs named in it are put into the table.
    folder : path
        Where the browsers start, and what paths in a table are relative to.
    say : callable
    """

    def __init__(self, queue, params, *, folder, say):
        self.queue, self.params, self.say = queue, params, say
        self._folder = Path(folder).resolve()
        self._lock, self._started = threading.RLock(), 0.0
        self.mode = w.ToggleButtons(
            options=[(say("one_audio_many_videos"), "many"), (say("pairs"), "pairs")],
            style={"button_width": "auto"},
        )
        self.audio = FilePicker(say("audio"), folder, kind="audio", say=say)
        self.chooser = FilesPicker(say("videos"), folder, kind="video", say=say)
        self.place, self.videos = self.chooser.place, self.chooser.list
        self.person = FilePicker(say("video"), folder, kind="video", say=say)
        self.pairs = PairTable(params, say=say)
        self.add_button = w.Button(
            description=say("add"), button_style="primary", icon="plus",
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.start_button = w.Button(description=say("start_queue"), button_style="success")
        self.stop_button = w.Button(description=say("cancel_all"), icon="stop")
        self.retry_button = w.Button(description=say("retry_failed"), icon="refresh")
        self.clear_button = w.Button(description=say("clear_done"))
        self.bar = w.FloatProgress(min=0, max=1, layout=w.Layout(width="260px", height="16px"))
        self.sum = w.HTML()
        self.box = w.HTML()
        self.table = JobTable(say)
        choosing = w.HBox(
            [self.audio, self.chooser, self.person], layout=w.Layout(flex_flow="row wrap")
        )
        buttons = [self.start_button, self.stop_button, self.retry_button, self.clear_button]
        super().__init__(
            [
                self.mode,
                choosing,
                w.HBox([self.add_button]),
                self.pairs,
                w.HBox(buttons, layout=w.Layout(flex_flow="row wrap")),
                self.box,
                w.HBox([self.bar, self.sum], layout=w.Layout(align_items="center")),
                self.table,
            ]
        )
        self.mode.observe(lambda _: self._arrange(), "value")
        self.mode.value = "pairs" if self.pairs.rows.value else "many"
        self._arrange()
        self.add_button.on_click(lambda _: self.act(self.add))
        self.pairs.button.on_click(lambda _: self.act(self.add_rows))
        self.start_button.on_click(lambda _: self.act(self._start))
        self.stop_button.on_click(lambda _: self.act(queue.cancel_all))
        self.retry_button.on_click(lambda _: self.act(self.retry_failed))
        self.clear_button.on_click(lambda _: self.act(self._clear))
        self.table.observe(self._asked, "asked")
        self.refresh()
        watch(self, POLL_S, Line.look)

    def act(self, what):
        """Do something and show the outcome; an error goes into the box."""
        self.box.value = ""
        try:
            what()
        except HeygemError as error:
            self.box.value = error_html(error, self.say)
        self.refresh()

    def add(self):
        """Put what is chosen into the line: each video with the sound, or the one pair."""
        if self.mode.value == "pairs":
            videos = [self.person.chosen] if self.person.chosen else []
        else:
            videos = self.videos.value
        if not videos:
            raise HeygemError("no video is chosen", remedy=self.say("videos"))
        if not self.audio.chosen:
            raise HeygemError("no sound is chosen", remedy="a job needs a video and a sound")
        rows = [Pair(video=str(video), audio=self.audio.chosen) for video in videos]
        self.queue.add_all(existing(rows, self._folder), self.params)

    def add_rows(self):
        """Put the rows of the table into the line, all or none."""
        sound = self.audio.chosen or self.params.inputs.audio
        rows = [
            pair if pair.audio or pair.text else pair.model_copy(update={"audio": sound})
            for pair in self.pairs.read()
        ]
        rows = existing(rows, self._folder)
        self.queue.add_all(rows, self.params)
        self.pairs.rows.value = ""

    def retry_failed(self):
        """Put all failed jobs back into the line, and work on them."""
        self.queue.retry_failed()
        self._start()

    def refresh(self):
        """Read the queue and bring the rows up to it."""
        with self._lock:
            jobs, called = self.queue.jobs(), self.queue.start_requested()
            called = called and any(job.open for job in jobs)
            # What ends without a word must not end the whole batch.
            if called and not self.queue.worker_running() and time.monotonic() > self._started:
                self._start()
            rows = [row(job, self.say) for job in jobs]
            if rows != self.table.rows:
                self.table.rows = rows
            self.bar.value = share(jobs)
            self.sum.value = html.escape(summary(jobs, called, self.say))

    def look(self):
        """What is done again and again while the page is there."""
        self.refresh()
        self.illustrate()

    def illustrate(self):
        """Make some of the small pictures that are still missing."""
        missing = {r["path"] for r in self.table.rows} - set(self.table.pictures)
        if missing:
            made = {path: _picture(path) for path in sorted(missing)[:PICTURES_A_TURN]}
            self.table.pictures = {**self.table.pictures, **made}

    def _start(self):
        self._started = time.monotonic() + RESTART_S
        self.queue.start()

    def _arrange(self):
        many = self.mode.value == "many"
        self.chooser.layout.display = "flex" if many else "none"
        self.person.layout.display = self.pairs.layout.display = "none" if many else "flex"
        self.add_button.description = self.say("add" if many else "add_pair")

    def _asked(self, change):
        asked, queue = change["new"], self.queue
        job = asked.get("id")
        deeds = {
            "place": lambda: queue.place(job, asked.get("before")),
            "move": lambda: queue.move(job, int(asked.get("places", 0))),
            "cancel": lambda: queue.cancel(job),
            "retry": lambda: (queue.retry(job), self._start()),
            "remove": lambda: queue.remove(job),
        }
        if asked.get("do") in deeds:
            self.act(deeds[asked["do"]])

    def _clear(self):
        for job in self.queue.jobs():
            if job.state == "done":
                self.queue.remove(job.id)


def row(job, say):
    """A job as `JobTable` shows it."""
    p = job.progress
    done = p["done"] / p["total"] if p.get("total") else 0.0
    words = say("state_" + job.state)
    if job.state == "done":
        words += f" · {job.seconds:.0f} s"
    elif p.get("stopping"):
        words = say("stopping")
    elif p.get("stage"):
        words = f"{stage_name(say, p['stage'])} {p['done']}/{p['total']}"
        if p.get("left_s", 0) >= 1:
            words += " · " + say("left", seconds=p["left_s"])
    can = {
        "waiting": ["move", "cancel", "remove"],
        "running": ["cancel"],
        "done": ["remove"],
        "failed": ["retry", "remove"],
        "cancelled": ["retry", "remove"],
    }
    failed = job.state == "failed"
    return {
        "id": job.id,
        "path": job.video,
        "video": job.title or Path(job.video).name,
        "sound": job.spoken,
        "state": job.state,
        "share": 1.0 if job.state == "done" else round(done, 3),
        "words": words,
        "error": error_html(_error(job), say, folded=False) if failed else "",
        "notes": [html.escape(text) for text in job.warnings],
        "can": can[job.state],
    }


def _error(job):
    said = dict(job.reason)
    return HeygemError(said.pop("what", job.error), **said)


def share(jobs):
    """How much of the whole is done, 0..1, by the length of the speech."""
    counted = [job for job in jobs if job.state in ("waiting", "running", "done")]
    total = sum(job.length_s or 1.0 for job in counted)
    done = sum((job.length_s or 1.0) * _done(job) for job in counted)
    return done / total if total else 0.0


def _done(job):
    p = job.progress
    # What comes before the drawing is short, and counts as nothing.
    drawn = p["done"] / p["total"] if p.get("total") and p.get("stage") == "render" else 0.0
    return 1.0 if job.state == "done" else drawn


def seconds_left(jobs):
    """Estimate of the time until all is made; None where nothing is known yet.

    What is done says how long a second of speech takes; before that, the running job does.
    """
    done = [job for job in jobs if job.state == "done" and job.seconds > 0]
    running = [job for job in jobs if job.state == "running" and job.progress.get("left_s")]
    left_s = sum(job.progress["left_s"] for job in running)
    spent_s = sum(job.seconds for job in done)
    spent_s += sum(job.progress.get("elapsed_s", 0.0) + job.progress["left_s"] for job in running)
    length_s = sum(job.length_s or 1.0 for job in [*done, *running])
    waiting_s = sum(job.length_s or 1.0 for job in jobs if job.state == "waiting")
    if not length_s:
        return None
    return left_s + spent_s / length_s * waiting_s


def summary(jobs, working, say):
    """One line on the whole: how many are finished, failed, and how long it still takes."""
    if not jobs:
        return ""
    count = {s: sum(job.state == s for job in jobs) for s in ("done", "failed")}
    left_s = seconds_left(jobs)
    if not working:
        left = say("queue_idle")
    elif left_s is None:
        left = say("queue_running")
    elif left_s < 90:
        left = say("left", seconds=max(1.0, left_s))
    else:
        left = say("queue_left", minutes=left_s / 60)
    return say(
        "queue_summary", done=count["done"], total=len(jobs), failed=count["failed"], left=left
    )


def _picture(path):
    """A small picture as a data address; empty where the file has none."""
    try:
        data, _ = thumbnail(path, PICTURE_PX)
    except Exception:  # its job will say what is wrong with it
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode() if data else ""
