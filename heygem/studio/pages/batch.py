"""The batch page: choose inputs, order the queue, watch progress and errors."""

import html
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as w

from heygem.batch.items import Item, plan_items
from heygem.batch.queue.job import Job, State
from heygem.batch.queue.rows import StateTotals
from heygem.batch.workers import background
from heygem.batch.workers.estimate import SmoothedTimeLeft
from heygem.config.pairs import Pair
from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.core.i18n import Translate, language_of, stage_name
from heygem.core.types import PathLike
from heygem.server.client import HubQueue, JobQueue
from heygem.studio.file_picker import FilePicker, FilesPicker
from heygem.studio.images import data_url, thumbnail
from heygem.studio.job_table import JobTable
from heygem.studio.pair_table import PairTable, resolve_paths
from heygem.studio.status import error_html, poll

POLL_S = 0.5
RESTART_S = 10.0  # a worker process that died is restarted at most this often
THUMBNAIL_PX = 96
THUMBNAILS_PER_POLL = 6
_SAMPLES = Path(__file__).resolve().parents[3] / "samples"  # of a checkout
ROWS = 100  # jobs of one page of the table

RETRIED: tuple[State, ...] = ("failed", "cancelled")
ACTIONS = {  # allowed in each state of a job
    "pending": ["move", "cancel", "remove"],
    "running": ["cancel"],
    "done": ["remove"],
    "failed": ["retry", "remove"],
    "cancelled": ["retry", "remove"],
}


class BatchPage(w.VBox):
    """Adds jobs to the queue and shows it, a page of `ROWS` at a time; workers do the work.

    Parameters
    ----------
    queue : JobQueue or HubQueue
        See `heygem.server.client.open_queue`.
    params : heygem.config.params.Params
        Recipe of the jobs that are added; its pairs are the initial content of the table.
    folder : path
        Initial folder of the file browsers; relative paths in the table start from it.
    translate : callable
    """

    def __init__(
        self,
        queue: JobQueue | HubQueue,
        params: Params,
        *,
        folder: PathLike,
        translate: Translate,
    ) -> None:
        self.queue, self.params, self.translate = queue, params, translate
        self._folder = Path(folder).resolve()
        self._lock, self._next_restart_s = threading.RLock(), 0.0
        self._is_started, self._first = False, 0
        self._time_left, self._open_jobs = SmoothedTimeLeft(), 0
        self.mode = w.ToggleButtons(
            options=[(translate("one_audio_many_videos"), "many"), (translate("pairs"), "pairs")],
            style={"button_width": "auto"},
        )
        self.audio = FilePicker(translate("audio"), folder, kind="audio", translate=translate)
        self.videos = FilesPicker(translate("videos"), folder, kind="video", translate=translate)
        self.video = FilePicker(translate("video"), folder, kind="video", translate=translate)
        self.pairs = PairTable(params, translate=translate)
        self.add_button = w.Button(
            description=translate("add"), button_style="primary", icon="plus",
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.example_button = w.Button(
            description=translate("try_example"), icon="magic", layout=w.Layout(width="auto")
        )
        self.start_button = w.Button(description=translate("start_queue"), button_style="success")
        self.pause_button = w.Button(description=translate("pause_queue"), icon="pause")
        self.stop_button = w.Button(description=translate("cancel_all"), icon="stop")
        self.retry_button = w.Button(description=translate("retry_failed"), icon="refresh")
        self.clear_button = w.Button(description=translate("clear_done"))
        self.bar = w.FloatProgress(min=0, max=1, layout=w.Layout(width="260px", height="16px"))
        self.summary = w.HTML()
        self.error_box = w.HTML()
        self.table = JobTable(translate)
        self.earlier_button = w.Button(description=translate("earlier_jobs"), icon="arrow-up")
        self.later_button = w.Button(description=translate("later_jobs"), icon="arrow-down")
        self.page_text = w.HTML()
        self.pager = w.HBox([self.earlier_button, self.page_text, self.later_button])
        buttons = [self.start_button, self.pause_button, self.stop_button]
        buttons += [self.retry_button, self.clear_button]
        super().__init__(
            [
                self.mode,
                w.HBox([self.audio, self.videos, self.video], layout=_wrapping()),
                w.HBox([self.add_button, self.example_button], layout=_wrapping()),
                self.pairs,
                w.HBox(buttons, layout=_wrapping()),
                self.error_box,
                w.HBox([self.bar, self.summary], layout=w.Layout(align_items="center")),
                self.table,
                self.pager,
            ]
        )
        self._connect()
        self.mode.value = "pairs" if self.pairs.rows.value else "many"
        self._update_layout()
        self.refresh()
        poll(self, POLL_S, BatchPage.update)

    def _connect(self) -> None:
        self.mode.observe(lambda _: self._update_layout(), "value")
        self.add_button.on_click(lambda _: self.run_action(self.add_chosen))
        self.example_button.on_click(lambda _: self.run_action(self.add_example))
        self.pairs.button.on_click(lambda _: self.run_action(self.add_rows))
        self.start_button.on_click(lambda _: self.run_action(self._start))
        self.pause_button.on_click(lambda _: self.run_action(self.queue.pause))
        self.earlier_button.on_click(lambda _: self._turn_page(-ROWS))
        self.later_button.on_click(lambda _: self._turn_page(ROWS))
        self.stop_button.on_click(lambda _: self.run_action(self.queue.cancel_all))
        self.retry_button.on_click(lambda _: self.run_action(self.retry_failed))
        self.clear_button.on_click(
            lambda _: self.run_action(lambda: self.queue.clear(states=["done"]))
        )
        self.table.observe(self._requested, "request")
        if self.queue.is_shared:  # what would be refused is not offered
            self.start_button.layout.display = self.pause_button.layout.display = "none"
            self.table.keep_order(self.translate("queue_shared"))

    def run_action(self, action: Callable[[], object]) -> None:
        """Call a function and refresh the table; an error is shown in the box."""
        self.error_box.value = ""
        try:
            action()
        except HeygemError as error:
            self.error_box.value = error_html(error, self.translate)
        self.refresh()

    def add_chosen(self) -> None:
        """Queue the chosen files: the audio with each video, or one pair.

        Raises
        ------
        HeygemError
            No video or no audio is chosen.
        """
        if self.mode.value == "pairs":
            videos = [self.video.chosen] if self.video.chosen else []
        else:
            videos = self.videos.list.value
        if not videos:
            raise HeygemError("no video is chosen", remedy=self.translate("videos"))
        if not self.audio.chosen:
            raise HeygemError("no audio is chosen", remedy="a job needs a video and a sound")
        rows = [Pair(video=str(video), audio=self.audio.chosen) for video in videos]
        self.queue.add(items_of(resolve_paths(rows, self._folder), self.params))

    def add_example(self) -> None:
        """Queue a sample person with a sample sound in the page's language, and start."""
        speech = _SAMPLES / f"speech_{language_of(self.translate)}.wav"
        self.audio.chosen, self.videos.folder.value = str(speech), str(_SAMPLES)
        rows = [Pair(video=str(_SAMPLES / "hopper.mp4"), audio=str(speech))]
        self.queue.add(items_of(rows, self.params))
        self._start()

    def add_rows(self) -> None:
        """Queue the rows of the table, all or none."""
        audio = self.audio.chosen or self.params.inputs.audio
        rows = [
            pair if pair.audio or pair.text else pair.model_copy(update={"audio": audio})
            for pair in self.pairs.read()
        ]
        self.queue.add(items_of(resolve_paths(rows, self._folder), self.params))
        self.pairs.rows.value = ""

    def retry(self, job_id: str) -> None:
        """Queue a failed or stopped job again and start the worker."""
        self.queue.retry(job_id)
        self._start()

    def retry_failed(self) -> None:
        """Queue all failed and stopped jobs again and start the worker."""
        self.queue.retry_all(states=RETRIED)
        self._start()

    def refresh(self) -> None:
        """Read the queue and update the table."""
        with self._lock:
            taken_back = self.queue.reap()
            totals = self.queue.totals()
            count = sum(total.number for total in totals.values())
            is_first_minute = count == 0 and _SAMPLES.is_dir()
            self.example_button.layout.display = "" if is_first_minute else "none"
            self._first = max(0, min(self._first, (count - 1) // ROWS * ROWS))
            jobs = self.queue.jobs(limit=ROWS, offset=self._first)
            running = self.queue.jobs(states=["running"])
            is_open = totals["pending"].number + totals["running"].number > 0
            # What was taken back, also from before a power cut, was begun: it continues.
            self._is_started = is_open and (self._is_started or bool(taken_back))
            has_worker = bool(self.queue.workers())
            if self._is_started and not has_worker and time.monotonic() > self._next_restart_s:
                self._start()  # a worker process that died must not end the whole batch
            rows = [table_row(job, self.translate) for job in jobs]
            if rows != self.table.rows:
                self.table.rows = rows
            self.bar.value = total_progress(totals, running)
            is_working = is_open and has_worker
            paused = self.queue.paused() if is_open else ""
            left_s = self._smoothed(seconds_left(totals, running), totals) if is_working else None
            text = summary(totals, is_working, self.translate, left_s=left_s, paused=paused)
            self.summary.value = html.escape(text)
            self._show_page(count, len(jobs))

    def _smoothed(self, left_s: float | None, totals: Mapping[State, StateTotals]) -> float | None:
        """The time left as it is shown; jobs that came or went are no jump but another sum."""
        open_jobs = sum(totals[state].number for state in ("pending", "running"))
        if open_jobs > self._open_jobs:
            self._time_left.restart()
        self._open_jobs = open_jobs
        return None if left_s is None else self._time_left.update(left_s)

    def _show_page(self, count: int, shown: int) -> None:
        self.pager.layout.display = "flex" if count > ROWS else "none"
        numbers = {"first": self._first + 1, "last": self._first + shown, "total": count}
        self.page_text.value = html.escape(self.translate("queue_page", **numbers))

    def _turn_page(self, rows: int) -> None:
        self._first += rows
        self.refresh()

    def update(self) -> None:
        """Called at intervals while the page is open."""
        self.refresh()
        self.add_thumbnails()

    def add_thumbnails(self) -> None:
        """Make some of the thumbnails that are still missing."""
        missing = {row["path"] for row in self.table.rows} - set(self.table.thumbnails)
        if missing:
            paths = sorted(missing)[:THUMBNAILS_PER_POLL]
            new = {path: _thumbnail_url(path) for path in paths}
            self.table.thumbnails = {**self.table.thumbnails, **new}

    def _start(self) -> None:
        self._next_restart_s = time.monotonic() + RESTART_S
        self._is_started = True
        background.start(self.queue)

    def _update_layout(self) -> None:
        many = self.mode.value == "many"
        self.videos.layout.display = "flex" if many else "none"
        self.video.layout.display = self.pairs.layout.display = "none" if many else "flex"
        self.add_button.description = self.translate("add" if many else "add_pair")

    def _requested(self, change: dict[str, Any]) -> None:
        request, queue = change["new"], self.queue
        job_id = request.get("id")
        actions = {
            "place": lambda: queue.place(job_id, request.get("before")),
            "move": lambda: queue.move(job_id, int(request.get("places", 0))),
            "cancel": lambda: queue.cancel(job_id),
            "retry": lambda: self.retry(job_id),
            "remove": lambda: queue.remove(job_id),
        }
        if request.get("action") in actions:
            self.run_action(actions[request["action"]])

    def _remove_done(self) -> None:
        self.queue.clear(states=["done"])


def _wrapping() -> w.Layout:
    return w.Layout(flex_flow="row wrap")


def table_row(job: Job, translate: Translate) -> dict[str, Any]:
    """A job as a row of `JobTable`."""
    progress = job.progress
    fraction = _job_progress(job)
    status = translate("state_" + job.state)
    if job.state == "done":
        status += f" · {job.seconds:.0f} s"
    elif job.stopping:
        status = translate("stopping")
    elif progress.get("stage"):
        stage = stage_name(translate, progress["stage"])
        counts_steps = progress.get("total", 0) > 1
        status = f"{stage} {progress['done']}/{progress['total']}" if counts_steps else stage
        if progress.get("left_s", 0) >= 1:
            status += " · " + translate("left", seconds=progress["left_s"])
    failed = job.state == "failed"
    return {
        "id": job.id,
        "path": job.video,
        "video": job.title or Path(job.video).name,
        "audio": job.spoken,
        "state": job.state,
        "progress": round(fraction, 3),
        "status": status,
        "error": error_html(_error(job), translate, with_traceback=False) if failed else "",
        "warnings": [html.escape(text) for text in job.warnings],
        "actions": ACTIONS[job.state],
    }


def _error(job: Job) -> HeygemError:
    parts = {key: job.error[key] for key in ("seen", "remedy") if key in job.error}
    return HeygemError(job.error.get("what", ""), **parts)


def items_of(rows: Sequence[Pair], params: Params) -> list[Item]:
    """The items of a table of pairs, with the other settings of a recipe."""
    if not all(pair.video and (pair.audio or pair.text) for pair in rows):
        raise HeygemError("a job needs a video and a sound", remedy="choose both")
    inputs = {"inputs.videos": (), "inputs.audios": (), "inputs.audio": None, "inputs.text": None}
    return plan_items(params.override({**inputs, "inputs.pairs": [pair.row() for pair in rows]}))


def total_progress(totals: Mapping[State, StateTotals], running: Sequence[Job]) -> float:
    """Finished part of the queue, 0..1, weighted by the length of the speech."""
    total_s = sum(totals[state].length_s for state in ("pending", "running", "done"))
    done_s = totals["done"].length_s
    done_s += sum((job.length_s or 1.0) * _job_progress(job) for job in running)
    return done_s / total_s if total_s else 0.0


def _job_progress(job: Job) -> float:
    """Finished part of a job over all of its stages, 0..1."""
    return 1.0 if job.state == "done" else float(job.progress.get("fraction", 0.0))


def seconds_left(totals: Mapping[State, StateTotals], running: Sequence[Job]) -> float | None:
    """Estimated time until all jobs are finished; None where nothing is measured yet.

    Finished jobs tell how long a second of speech takes; before that, the running ones do.
    """
    measured = [job for job in running if "left_s" in job.progress]
    left_s = sum(job.progress["left_s"] for job in measured)
    spent_s = totals["done"].seconds
    spent_s += sum(job.progress.get("elapsed_s", 0.0) + job.progress["left_s"] for job in measured)
    length_s = totals["done"].length_s if totals["done"].seconds else 0.0
    length_s += sum(job.length_s or 1.0 for job in measured)
    if not length_s:
        return None
    at_once = max(len(running), 1)
    return float(left_s + spent_s / length_s * totals["pending"].length_s) / at_once


def summary(
    totals: Mapping[State, StateTotals],
    is_working: bool,
    translate: Translate,
    *,
    left_s: float | None = None,
    paused: str = "",
) -> str:
    """One line: how many jobs are finished and failed, and the time left [s], if it is known."""
    count = sum(total.number for total in totals.values())
    if not count:
        return ""
    if paused:
        left = translate("queue_paused", reason=paused)
    elif not is_working:
        left = translate("queue_idle")
    elif left_s is None:
        left = translate("queue_running")
    elif left_s < 90:
        left = translate("left", seconds=max(1.0, left_s))
    else:
        left = translate("queue_left", minutes=left_s / 60)
    done, failed = totals["done"].number, totals["failed"].number
    return translate("queue_summary", done=done, total=count, failed=failed, left=left)


def _thumbnail_url(path: str) -> str:
    """Thumbnail as a data URL; empty where the file has none."""
    try:
        return data_url(thumbnail(path, THUMBNAIL_PX)[0])
    except Exception:  # the job reports what is wrong with the file
        return ""
