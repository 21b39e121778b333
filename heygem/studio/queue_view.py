"""The queue of jobs as a page shows it: its order, progress, errors, and what can be done to it."""

import html
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import ipywidgets as w
import traitlets

from heygem.batch.input_files import Kind
from heygem.batch.queue.job import Job, State
from heygem.batch.queue.rows import StateTotals
from heygem.batch.workers import background
from heygem.batch.workers.estimate import SmoothedTimeLeft
from heygem.config.pairs import Pair
from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.core.files import is_address
from heygem.core.i18n import Translate
from heygem.server.client import HubQueue, JobQueue
from heygem.studio.file_check import Verdict, check_soon
from heygem.studio.images import data_url, thumbnail
from heygem.studio.job_rows import (
    RETRIED,
    live_pictures,
    seconds_left,
    summary,
    table_row,
    total_progress,
)
from heygem.studio.job_table import JobTable
from heygem.studio.notifier import Notifier
from heygem.studio.queue_items import items_of, named_after
from heygem.studio.recipe_choice import RecipeChoice
from heygem.studio.status import error_html

RESTART_S = 10.0  # a worker process that died is restarted at most this often
THUMBNAIL_PX = 96
THUMBNAILS_PER_POLL = 6
ROWS = 100  # jobs of one page of the table


class QueueView(w.VBox):
    """Shows the queue, a page of `ROWS` jobs at a time; workers do the work.

    Parameters
    ----------
    queue : JobQueue or HubQueue
        See `heygem.server.client.open_queue`.
    choice : heygem.studio.recipe_choice.RecipeChoice
        The recipes that a job can be given while it waits.
    translate : callable

    Attributes
    ----------
    count : int
        Jobs in the queue, those that are finished included.
    show_result : callable or None
        Shows the result at a path; set by a page that can.
    """

    count = traitlets.Int(0)
    show_result: Callable[[Path], object] | None = None

    def __init__(
        self, queue: JobQueue | HubQueue, choice: RecipeChoice, translate: Translate
    ) -> None:
        self.queue, self.choice, self.translate = queue, choice, translate
        self._recipes: dict[str, tuple[str, str]] = {}  # name and label, by job
        self._verdicts: dict[tuple[str, Kind], Future[Verdict]] = {}  # on files of waiting jobs
        self._lock, self._next_restart_s = threading.RLock(), 0.0
        self._is_started, self._first = False, 0
        self._time_left, self._open_jobs = SmoothedTimeLeft(), 0
        self.start_button = w.Button(description=translate("start_queue"), button_style="success")
        self.pause_button = w.Button(description=translate("pause_queue"), icon="pause")
        self.stop_button = w.Button(description=translate("cancel_all"), icon="stop")
        self.retry_button = w.Button(description=translate("retry_failed"), icon="refresh")
        self.clear_button = w.Button(description=translate("clear_done"))
        self.bar = w.FloatProgress(min=0, max=1, layout=w.Layout(width="260px", height="16px"))
        self.summary, self.error_box, self.page_text = w.HTML(), w.HTML(), w.HTML()
        self.notifier = Notifier(translate)
        self.table = JobTable(translate)
        self.earlier_button = w.Button(description=translate("earlier_jobs"), icon="arrow-up")
        self.later_button = w.Button(description=translate("later_jobs"), icon="arrow-down")
        self.pager = w.HBox([self.earlier_button, self.page_text, self.later_button])
        buttons = [self.start_button, self.pause_button, self.stop_button]
        buttons += [self.retry_button, self.clear_button]
        centred = w.Layout(align_items="center", grid_gap="0 12px")
        super().__init__(
            [
                w.HBox(buttons, layout=w.Layout(flex_flow="row wrap")),
                self.error_box,
                w.HBox([self.bar, self.summary, self.notifier], layout=centred),
                self.table,
                self.pager,
            ]
        )
        self._connect()

    def _connect(self) -> None:
        self.start_button.on_click(lambda _: self.run_action(self.start))
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

    def set_recipe(self, job_id: str, name: str) -> None:
        """Give a job that is waiting another recipe; it keeps its place.

        Raises
        ------
        HeygemError
            It is no longer waiting, or the recipe cannot be read.
        """
        job = self.queue.get(job_id)
        recipe = self.choice.apply(name, Params.from_dict(job.params))
        pair = Pair(video=job.video, audio=job.audio or None, text=job.text or None)
        if name != self.choice.default():
            pair = named_after(pair, name)
        (changed,) = self.queue.add(items_of([pair], recipe), batch=job.batch)
        try:
            self.queue.place(changed.id, job_id)
            self.queue.remove(job_id)
        except HeygemError:  # it has begun meanwhile
            self.queue.remove(changed.id)
            raise

    def _play(self, job_id: str) -> None:
        if self.show_result is not None:
            self.show_result(Path(self.queue.get(job_id).output))

    def retry(self, job_id: str) -> None:
        """Queue a failed or stopped job again and start the worker."""
        self.queue.retry(job_id)
        self.start()

    def retry_failed(self) -> None:
        """Queue all failed and stopped jobs again and start the worker."""
        self.queue.retry_all(states=RETRIED)
        self.start()

    def start(self) -> None:
        """Start a worker; where it dies, another is started while jobs are waiting."""
        self._next_restart_s = time.monotonic() + RESTART_S
        self._is_started = True
        background.start(self.queue)

    def refresh(self) -> None:
        """Read the queue and update the table."""
        with self._lock:
            taken_back = self.queue.reap()
            totals = self.queue.totals()
            self.notifier.update(totals)
            self.count = count = sum(total.number for total in totals.values())
            self._first = max(0, min(self._first, (count - 1) // ROWS * ROWS))
            jobs = self.queue.jobs(limit=ROWS, offset=self._first)
            running = self.queue.jobs(states=["running"])
            is_open = totals["pending"].number + totals["running"].number > 0
            # What was taken back, also from before a power cut, was begun: it continues.
            self._is_started = is_open and (self._is_started or bool(taken_back))
            has_worker = bool(self.queue.workers())
            if self._is_started and not has_worker and time.monotonic() > self._next_restart_s:
                self.start()  # a worker process that died must not end the whole batch
            self._look_at_files(jobs)
            rows = [self._row(job) for job in jobs]
            with self.table.hold_sync():
                if rows != self.table.rows:
                    self.table.rows = rows
                if not self.queue.is_shared:
                    self.table.live = live_pictures(running, self.table.live)
            self.bar.value = total_progress(totals, running)
            self.bar.layout.display = "" if count else "none"
            is_working = is_open and has_worker
            paused = self.queue.paused() if is_open else ""
            refused = [job for job in jobs if self._unusable_files(job)]
            left_s = seconds_left(totals, running, refused=refused) if is_working else None
            left_s = self._smoothed(left_s, totals)
            text = summary(totals, is_working, self.translate, left_s=left_s, paused=paused)
            self.summary.value = html.escape(text)
            self._show_page(count, len(jobs))

    def _row(self, job: Job) -> dict[str, Any]:
        is_here = not self.queue.is_shared and not is_address(job.output)
        row = table_row(job, self.translate, can_play=is_here and self.show_result is not None)
        row |= self._recipe_of(job)
        for path, verdict in self._unusable_files(job):
            parts = [f"{Path(path).name}: {self.translate('level_unusable')}"]
            text = html.escape(" · ".join([*parts, *verdict.problems]))
            row["warnings"].append(f'<span class="hg-refused">{text}</span>')
        return row

    def _unusable_files(self, job: Job) -> list[tuple[str, Verdict]]:
        """Files of a waiting job that are known to be unusable, and why."""
        files = [file for file in _files_of(job) if file in self._verdicts]
        looks = [(path, self._verdicts[path, kind]) for path, kind in files]
        verdicts = [(path, look.result()) for path, look in looks if look.done()]
        return [(path, verdict) for path, verdict in verdicts if verdict.level == "unusable"]

    def _look_at_files(self, jobs: Sequence[Job]) -> None:
        """Look at the files of waiting jobs, one at a time: each takes half a second of CPU."""
        waiting = dict.fromkeys(file for job in jobs for file in _files_of(job))
        self._verdicts = {file: look for file, look in self._verdicts.items() if file in waiting}
        if self.queue.is_shared or not all(look.done() for look in self._verdicts.values()):
            return
        for path, kind in waiting:
            if (path, kind) not in self._verdicts:
                self._verdicts[path, kind] = check_soon(path, kind, self.translate)
                return

    def _recipe_of(self, job: Job) -> dict[str, str]:
        """Name and label of a job's recipe; both empty where the queue does not tell it."""
        if self.queue.is_shared:
            return {"recipe": "", "recipe_label": ""}
        if job.id not in self._recipes:  # the recipe of a job never changes
            try:
                params = Params.from_dict(self.queue.get(job.id).params)
            except HeygemError:  # of another version, or removed by another page just now
                return {"recipe": "", "recipe_label": ""}
            self._recipes[job.id] = self.choice.name_of(params), self.choice.describe(params)
        name, label = self._recipes[job.id]
        return {"recipe": name, "recipe_label": label}

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

    def add_thumbnails(self) -> None:
        """Make some of the thumbnails that are still missing."""
        missing = {row["path"] for row in self.table.rows} - set(self.table.thumbnails)
        if missing:
            paths = sorted(missing)[:THUMBNAILS_PER_POLL]
            new = {path: _thumbnail_url(path) for path in paths}
            self.table.thumbnails = {**self.table.thumbnails, **new}

    def _requested(self, change: dict[str, Any]) -> None:
        request, queue = change["new"], self.queue
        job_id = request.get("id")
        actions = {
            "place": lambda: queue.place(job_id, request.get("before")),
            "move": lambda: queue.move(job_id, int(request.get("places", 0))),
            "cancel": lambda: queue.cancel(job_id),
            "retry": lambda: self.retry(job_id),
            "play": lambda: self._play(job_id),
            "remove": lambda: queue.remove(job_id),
            "recipe": lambda: self.set_recipe(job_id, str(request.get("recipe", ""))),
        }
        if request.get("action") in actions:
            self.run_action(actions[request["action"]])


def _files_of(job: Job) -> list[tuple[str, Kind]]:
    """Files of a job that still waits; of one that has begun, the job itself says what is wrong."""
    if job.state != "pending":
        return []
    files: list[tuple[str, Kind]] = [(job.video, "video"), (job.audio, "audio")]
    return [(path, kind) for path, kind in files if path and not is_address(path)]


def _thumbnail_url(path: str) -> str:
    """Thumbnail as a data URL; empty where the file has none."""
    try:
        return data_url(thumbnail(path, THUMBNAIL_PX)[0])
    except Exception:  # the job reports what is wrong with the file
        return ""
