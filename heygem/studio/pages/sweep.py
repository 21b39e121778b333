"""The sweep page: one control, several values, several people; then all of it side by side."""

import html
import os
import re
import time
from pathlib import Path
from typing import Any

import ipywidgets as w

from heygem.batch import queued_batch
from heygem.batch.items import plan_items
from heygem.batch.queue import JobQueue
from heygem.batch.results import sweep_comparison
from heygem.batch.workers import background
from heygem.batch.workers.estimate import SmoothedTimeLeft
from heygem.config.params import Params
from heygem.core.errors import HeygemError, InputError, ParameterError
from heygem.core.files import write_text
from heygem.core.i18n import Translate, language_of
from heygem.core.types import PathLike
from heygem.studio.background import LatestTask
from heygem.studio.controls import CONTROLS, Control
from heygem.studio.file_picker import FilePicker, FilesPicker
from heygem.studio.job_rows import seconds_left, time_left
from heygem.studio.status import StatusBar, error_html, poll
from heygem.studio.urls import page_url

POLL_S = 1.0
RECIPE = "sweep.yaml"  # in the folder of a sweep: from it, its comparison can be made again
_PREFIX = "sweep-"
_SLIDERS = {control.key: control for control in CONTROLS if not control.is_switch}


class SweepPage(w.VBox):
    """Queues a sweep; when its videos are made, their comparison opens.

    A sweep lies in a folder of its own below that of the results, with its recipe, so that a page
    that is opened later finds it.

    Parameters
    ----------
    queue : JobQueue
    params : heygem.config.params.Params
        Recipe of everything that the sweep does not vary; `inputs.output` is an absolute path.
    folder : path
        Initial folder of the file browsers.
    translate : callable
    """

    def __init__(
        self, queue: JobQueue, params: Params, *, folder: PathLike, translate: Translate
    ) -> None:
        self.queue, self.params, self.translate = queue, params, translate
        self.results = Path(params.inputs.output)
        self.control = w.Dropdown(
            options=[(control.name(translate), key) for key, control in _SLIDERS.items()],
            description=translate("sweep_control"), style={"description_width": "initial"},
            layout=_wide(),
        )  # fmt: skip
        self.values = w.Text(
            description=translate("sweep_values"), style={"description_width": "initial"},
            layout=_wide(),
        )  # fmt: skip
        self.help = w.HTML()
        self.audio = FilePicker(translate("audio"), folder, kind="audio", translate=translate)
        self.videos = FilesPicker(translate("videos"), folder, kind="video", translate=translate)
        self.button = w.Button(
            description=translate("sweep_start"), button_style="success", icon="play",
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.sweep = w.Dropdown(
            options=[], description=translate("sweep_shown"),
            style={"description_width": "initial"}, layout=_wide(),
        )  # fmt: skip
        self.message, self.comparison = w.HTML(), w.HTML()
        self.task = LatestTask()
        self._time_left = SmoothedTimeLeft()
        self._shown = ""  # the sweep whose comparison is on the page
        choosing = w.VBox(
            [
                w.HTML(html.escape(translate("sweep_help"))),
                w.HBox([self.control, self.values], layout=w.Layout(flex_flow="row wrap")),
                self.help,
                w.HBox([self.audio, self.videos], layout=w.Layout(flex_flow="row wrap")),
                w.HBox([self.button]),
            ]
        )
        choosing.add_class("hg-card")
        super().__init__(
            [
                choosing,
                self.sweep,
                self.message,
                StatusBar(self.task, translate),
                self.comparison,
            ]
        )
        self.control.observe(lambda _: self._suggest(), "value")
        self.button.on_click(lambda _: self.start())
        self.sweep.observe(lambda _: self.refresh(), "value")
        self._suggest()
        self._list_sweeps()
        poll(self, POLL_S, SweepPage.refresh)

    def start(self) -> None:
        """Queue the chosen sweep and start the worker; an error is shown."""
        self.message.value = ""
        try:
            name = self._queue()
        except HeygemError as error:
            self.message.value = error_html(error, self.translate)
            return
        self._list_sweeps()
        self.sweep.value = name
        self.refresh()

    def refresh(self) -> None:
        """Show how far the sweep is, and its comparison once all is made."""
        name = self.sweep.value
        if not name or name == self._shown or self.task.busy:
            return
        totals = self.queue.totals(batch=name)
        count = sum(total.number for total in totals.values())
        open_count = totals["pending"].number + totals["running"].number
        if open_count:
            self.comparison.value = ""
            running = self.queue.jobs(states=["running"], batch=name)
            left_s = seconds_left(totals, running)
            left_s = None if left_s is None else self._time_left.update(left_s)
            left = time_left(left_s, self.translate)
            done = {"done": count - open_count, "total": count, "left": left}
            self.message.value = html.escape(self.translate("sweep_running", **done))
            return
        self._time_left.restart()
        self._shown, self.message.value = name, ""
        page = self.results / name / sweep_comparison.PAGE
        if page.is_file():
            self._show(page)
        else:
            self.task.submit(lambda *report: self._write_comparison(name, *report), self._show)

    def _queue(self) -> str:
        """Queue the chosen sweep; returns its name."""
        key, values = self.control.value, read_values(self.values.value)
        people = list(self.videos.list.value)
        if not people:
            raise HeygemError("no video is chosen", remedy="choose one or more above")
        if not self.audio.chosen:
            raise HeygemError("no audio is chosen", remedy="a job needs a video and a sound")
        name = f"{_PREFIX}{key.rpartition('.')[2]}-{time.strftime('%Y%m%d-%H%M%S')}"
        none: dict[str, Any] = {"inputs.pairs": None, "inputs.audios": (), "inputs.text": None}
        chosen = {"inputs.videos": people, "inputs.audio": self.audio.chosen}
        folder = self.results / name
        params = self.params.override(
            none | chosen | {"inputs.output": str(folder), "sweep": {key: values}}
        )
        items = plan_items(params)
        folder.mkdir(parents=True)
        write_text(folder / RECIPE, params.to_yaml())
        self.queue.add(items, batch=name)
        background.start(self.queue)
        return name

    def _write_comparison(self, name: str, progress: Any, cancel: Any) -> Path:
        """Write the comparison of a sweep; returns its page."""
        params = Params.from_yaml(self.results / name / RECIPE)
        written = queued_batch.compare(
            self.queue, params, name, lang=language_of(self.translate), progress=progress,
            cancel=cancel,
        )  # fmt: skip
        if "comparison" not in written.files:
            raise InputError(
                "nothing of this sweep can be compared",
                seen="; ".join(written.warnings) or name,
                remedy="at least two videos of one person must be made; Batch shows their errors",
            )
        return written.files["comparison"]

    def _show(self, page: Path) -> None:
        """Show a comparison in a frame; its links start from its own folder."""
        base = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "/") + page_url(page.parent) + "/"
        head = f'<base href="{html.escape(base, quote=True)}" target="_blank">'
        text = page.read_text(encoding="utf-8").replace("<head>", f"<head>{head}", 1)
        title = html.escape(self.translate("sweep_comparison"), quote=True)
        self.comparison.value = (
            f'<iframe title="{title}" srcdoc="{html.escape(text, quote=True)}" '
            'style="width:100%;height:80vh;border:1px solid #8888;border-radius:6px"></iframe>'
        )

    def _suggest(self) -> None:
        """Values around the present one, for the chosen control."""
        control = _SLIDERS[self.control.value]
        value = float(self.params.dotted()[control.key])
        self.values.value = ", ".join(f"{each:g}" for each in suggested(control, value))
        limits = {"low": control.low, "high": control.high, "unit": control.unit}
        text = self.translate("sweep_range", **limits)
        self.help.value = f"<small>{html.escape(text)}</small>"

    def _list_sweeps(self) -> None:
        """Name the sweeps that there are, the newest first."""
        folders = [path.parent.name for path in self.results.glob(f"{_PREFIX}*/{RECIPE}")]
        names = sorted(folders, key=lambda name: name[-15:], reverse=True)
        self.sweep.options = [("", ""), *((name, name) for name in names)]  # selects the first
        self.sweep.layout.display = "" if names else "none"


def read_values(text: str) -> list[float]:
    """Numbers out of what was typed, each once.

    Raises
    ------
    ParameterError
        One is no number, or there are fewer than two.
    """
    values: list[float] = []
    for part in re.split(r"[\s,;，、；]+", text.strip()):
        try:
            values.append(float(part))
        except ValueError as error:
            raise ParameterError(
                "the values of a sweep are numbers", seen=part, remedy="such as 0.8, 1, 1.2"
            ) from error
    values = list(dict.fromkeys(values))
    if len(values) < 2:
        raise ParameterError(
            "a sweep compares at least two values", seen=text, remedy="such as 0.8, 1, 1.2"
        )
    return values


def suggested(control: Control, value: float) -> list[float]:
    """A value and its neighbours on both sides, a tenth of the slider's range away."""
    step = (control.high - control.low) / 10
    near = [value - step, value, value + step]
    return [round(each, 6) for each in near if control.low <= each <= control.high]


def _wide() -> w.Layout:
    """One for each field: `display` hides all that share a layout."""
    return w.Layout(width="auto", min_width="320px")
