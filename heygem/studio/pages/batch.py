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
from heygem.core.i18n import Translate, language_of
from heygem.core.types import PathLike
from heygem.server.client import HubQueue, JobQueue
from heygem.studio import links
from heygem.studio.file_picker import FilePicker, FilesPicker
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
from heygem.studio.pair_table import PairTable, resolve_paths
from heygem.studio.recipe_choice import RecipeChoice, RecipeDropdown, plain_name
from heygem.studio.status import error_html, poll

POLL_S = 0.5
RESTART_S = 10.0  # a worker process that died is restarted at most this often
THUMBNAIL_PX = 96
THUMBNAILS_PER_POLL = 6
_SAMPLES = Path(__file__).resolve().parents[3] / "samples"  # of a checkout
ROWS = 100  # jobs of one page of the table


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
    recipes_folder : path
        Where recipes are saved.
    """

    def __init__(
        self,
        queue: JobQueue | HubQueue,
        params: Params,
        *,
        folder: PathLike,
        translate: Translate,
        recipes_folder: PathLike = "params",
    ) -> None:
        self.queue, self.params, self.translate = queue, params, translate
        self.choice = RecipeChoice(params, recipes_folder, translate)
        self._recipes: dict[str, tuple[str, str]] = {}  # name and label, by job
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
        self.recipe = RecipeDropdown(
            self.choice, translate, selected=f"recipe:{links.query().get('recipe', '')}"
        )
        self.tune_link = w.HTML()
        self.start_button = w.Button(description=translate("start_queue"), button_style="success")
        self.pause_button = w.Button(description=translate("pause_queue"), icon="pause")
        self.stop_button = w.Button(description=translate("cancel_all"), icon="stop")
        self.retry_button = w.Button(description=translate("retry_failed"), icon="refresh")
        self.clear_button = w.Button(description=translate("clear_done"))
        self.bar = w.FloatProgress(min=0, max=1, layout=w.Layout(width="260px", height="16px"))
        self.summary = w.HTML()
        self.error_box = w.HTML()
        self.notifier = Notifier(translate)
        self.table = JobTable(translate)
        self.earlier_button = w.Button(description=translate("earlier_jobs"), icon="arrow-up")
        self.later_button = w.Button(description=translate("later_jobs"), icon="arrow-down")
        self.page_text = w.HTML()
        self.pager = w.HBox([self.earlier_button, self.page_text, self.later_button])
        buttons = [self.start_button, self.pause_button, self.stop_button]
        buttons += [self.retry_button, self.clear_button]
        choosing = w.VBox(
            [
                self.mode,
                w.HBox([self.audio, self.videos, self.video], layout=_wrapping()),
                w.HBox(
                    [self.recipe, self.tune_link, self.add_button, self.example_button],
                    layout=_wrapping(),
                ),
                self.pairs,
            ]
        )
        queue_box = w.VBox(
            [
                w.HBox(buttons, layout=_wrapping()),
                self.error_box,
                w.HBox(
                    [self.bar, self.summary, self.notifier], layout=w.Layout(align_items="center")
                ),
                self.table,
                self.pager,
            ]
        )
        for box in (choosing, queue_box):
            box.add_class("hg-card")
        super().__init__([choosing, queue_box])
        self._connect()
        self.mode.value = "pairs" if self.pairs.rows.value else "many"
        self._update_layout()
        self._show_tune_link()
        self.refresh()
        poll(self, POLL_S, BatchPage.update)

    def _connect(self) -> None:
        for widget, name in ((self.recipe, "value"), (self.audio, "chosen")):
            widget.observe(lambda _: self._show_tune_link(), name)
        self.videos.list.observe(lambda _: self._show_tune_link(), "value")
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
        self._add(rows)

    def _add(self, rows: Sequence[Pair], name: str = "") -> None:
        """Queue rows with a style, by default the chosen one; another than the page's is named."""
        name = name or str(self.recipe.value)
        chosen = self.choice.apply(name)
        if name != self.choice.default():
            rows = [_named(pair, plain_name(name)) for pair in rows]
        self.queue.add(items_of(resolve_paths(rows, self._folder), chosen))

    def make_again(self, pair: Pair, name: str) -> None:
        """Queue a pair with the named style, and start."""
        self._add([pair], name)
        self._start()
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
            pair = _named(pair, plain_name(name))
        (changed,) = self.queue.add(items_of([pair], recipe), batch=job.batch)
        try:
            self.queue.place(changed.id, job_id)
            self.queue.remove(job_id)
        except HeygemError:  # it has begun meanwhile
            self.queue.remove(changed.id)
            raise

    def add_example(self) -> None:
        """Queue a sample person with a sample sound in the page's language, and start."""
        speech = _SAMPLES / f"speech_{language_of(self.translate)}.wav"
        self.audio.chosen, self.videos.folder.value = str(speech), str(_SAMPLES)
        self._add([Pair(video=str(_SAMPLES / "hopper.mp4"), audio=str(speech))])
        self._start()

    def add_rows(self) -> None:
        """Queue the rows of the table, all or none."""
        audio = self.audio.chosen or self.params.inputs.audio
        rows = [
            pair if pair.audio or pair.text else pair.model_copy(update={"audio": audio})
            for pair in self.pairs.read()
        ]
        self._add(rows)
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
            self.notifier.update(totals)
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
            rows = [table_row(job, self.translate) | self._recipe_of(job) for job in jobs]
            self.recipe.refresh()
            with self.table.hold_sync():
                self.table.recipes = [list(option) for option in self.recipe.options]
                if rows != self.table.rows:
                    self.table.rows = rows
                if not self.queue.is_shared:
                    self.table.live = live_pictures(running, self.table.live)
            self.bar.value = total_progress(totals, running)
            self.bar.layout.display = "" if count else "none"
            is_working = is_open and has_worker
            paused = self.queue.paused() if is_open else ""
            left_s = self._smoothed(seconds_left(totals, running), totals) if is_working else None
            text = summary(totals, is_working, self.translate, left_s=left_s, paused=paused)
            self.summary.value = html.escape(text)
            self._show_page(count, len(jobs))

    def _recipe_of(self, job: Job) -> dict[str, str]:
        """Name and label of a job's recipe; both empty where the queue does not tell it."""
        if self.queue.is_shared:
            return {"recipe": "", "recipe_label": ""}
        if job.id not in self._recipes:  # the recipe of a job never changes
            try:
                params = Params.from_dict(self.queue.get(job.id).params)
            except HeygemError:  # of another version, or removed by another page just now
                return {"recipe": "", "recipe_label": ""}
            name = self.choice.name_of(params)
            label = self.choice.label_of(name) if name else self.translate("own_recipe")
            self._recipes[job.id] = (name, label)
        name, label = self._recipes[job.id]
        return {"recipe": name, "recipe_label": label}

    def _show_tune_link(self) -> None:
        """A link to the tuning page with what is chosen here."""
        videos = self.videos.list.value or ((self.video.chosen,) if self.video.chosen else ())
        name = str(self.recipe.value)
        address = links.page_link(
            "tuning",
            recipe=plain_name(name) if name.startswith("recipe:") else "",
            preset=plain_name(name) if name.startswith("preset:") else "",
            video=videos[0] if videos else "",
            audio=self.audio.chosen,
        )
        self.tune_link.value = (
            f'<a class="hg-link" href="{html.escape(address, quote=True)}" target="_blank">'
            f"{html.escape(self.translate('tune_recipe'))}</a>"
        )

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
            "recipe": lambda: self.set_recipe(job_id, str(request.get("recipe", ""))),
        }
        if request.get("action") in actions:
            self.run_action(actions[request["action"]])


def _wrapping() -> w.Layout:
    return w.Layout(flex_flow="row wrap")


def items_of(rows: Sequence[Pair], params: Params) -> list[Item]:
    """The items of a table of pairs, with the other settings of a recipe."""
    if not all(pair.video and (pair.audio or pair.text) for pair in rows):
        raise HeygemError("a job needs a video and a sound", remedy="choose both")
    inputs = {"inputs.videos": (), "inputs.audios": (), "inputs.audio": None, "inputs.text": None}
    return plan_items(params.override({**inputs, "inputs.pairs": [pair.row() for pair in rows]}))


def _named(pair: Pair, recipe: str) -> Pair:
    """A pair whose result names its recipe, so that those of two recipes lie side by side."""
    if pair.name:
        return pair
    speech = Path(pair.audio).stem if pair.audio else "text"
    return pair.model_copy(update={"name": f"{Path(pair.video).stem}-{speech}-{recipe}"})


def _thumbnail_url(path: str) -> str:
    """Thumbnail as a data URL; empty where the file has none."""
    try:
        return data_url(thumbnail(path, THUMBNAIL_PX)[0])
    except Exception:  # the job reports what is wrong with the file
        return ""
