"""The comparison page: choose recorded runs, see what differs, play them in step."""

import html
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import ipywidgets as w
import traitlets

from heygem.core.errors import HeygemError, InputError
from heygem.core.i18n import translator
from heygem.core.types import PathLike, Progress
from heygem.experiments import runs
from heygem.experiments.comparison import plots, report
from heygem.experiments.comparison.report import Comparison
from heygem.experiments.runs import Run
from heygem.studio.background import LatestTask
from heygem.studio.run_table import RunTable
from heygem.studio.status import StatusBar
from heygem.studio.style import PageStyle
from heygem.studio.synced_player import SyncedPlayer
from heygem.studio.urls import page_url


class ComparePage(w.VBox):
    """Table of runs, player, tables, contact sheet and plots; results can be logged to MLflow.

    Parameters
    ----------
    comparison : heygem.experiments.comparison.report.Comparison, optional
        Shown at once.
    store : path
        Folder of the MLflow store.
    output : path
        Receives the files of each comparison, in a subfolder of its own.
    count : int
        Instants on the contact sheet.
    last : int
        Without a comparison, so many of the last runs with a video are compared, where there are
        two or more.
    lang : {"en", "zh", ""}
        Empty: as `HEYGEM_LANG` says, else English.

    Attributes
    ----------
    comparison : heygem.experiments.comparison.report.Comparison or None
    """

    comparison = traitlets.Any(None, allow_none=True)

    def __init__(
        self,
        comparison: Comparison | None = None,
        *,
        store: PathLike = "mlruns",
        output: PathLike = "runs/compare",
        count: int = 6,
        last: int = 0,
        lang: str = "",
    ) -> None:
        self.translate = translate = translator(lang)
        self.store, self.output, self.count = Path(store), Path(output), count
        self.task = LatestTask()
        self.status = StatusBar(self.task, translate)
        self.table = RunTable(translate)
        self.empty = w.HTML(
            f'<p class="hg-empty-state">{html.escape(translate("compare_empty"))}</p>'
        )
        self.player = SyncedPlayer(translate)
        self.refresh_button = w.Button(description=translate("refresh"), icon="refresh")
        self.compare_button = w.Button(description=translate("compare"), button_style="primary")
        row = w.Layout(flex_flow="row wrap", align_items="center")
        self.results_box = self._build_results(row)
        super().__init__(
            [
                PageStyle(),
                self.table,
                self.empty,
                w.HBox([self.compare_button, self.refresh_button], layout=row),
                self.status,
                self.results_box,
            ],
            layout=w.Layout(width="100%"),
        )
        self.refresh_button.on_click(lambda _: self.refresh())
        self.compare_button.on_click(lambda _: self.compare())
        self.film_button.on_click(lambda _: self.make_film())
        self.log_button.on_click(lambda _: self.log_comparison())
        self.refresh()
        if comparison is not None:
            self.table.chosen = [run.id for run in comparison.runs]
            self.show(comparison)
            return
        with_video = [row["id"] for row in self.table.rows if row["video"]]
        if last > 1 and len(with_video) > 1:  # a failed run has nothing to look at
            self.table.chosen = with_video[:last]
            self.compare()

    def _build_results(self, row: w.Layout) -> w.VBox:
        translate = self.translate
        auto = w.Layout(width="auto")
        self.film_button = w.Button(description=translate("compare_film"), icon="film", layout=auto)
        self.log_button = w.Button(description=translate("compare_log"), icon="save", layout=auto)
        self.message = w.HTML()
        self.tables, self.sheet, self.plots = w.HTML(), w.HTML(), w.HTML()
        self.results = w.Accordion(
            [self.tables, self.sheet, self.plots],
            titles=[
                translate("compare_tables"), translate("compare_sheet"), translate("compare_plots")
            ],
        )  # fmt: skip
        return w.VBox(
            [
                self.player,
                self.results,
                w.HBox([self.film_button, self.log_button, self.message], layout=row),
            ],
            layout=w.Layout(width="100%", display="none"),
        )

    def refresh(self) -> None:
        """Read the store again; runs that no longer exist are no longer chosen."""
        try:
            recorded = runs.list_runs(self.store) if self.store.exists() else []
        except HeygemError as error:
            self.status.show_error(error)
            return
        self.table.rows = [_table_row(run) for run in recorded]
        self.empty.layout.display = "none" if recorded else ""
        self.table.layout.display = "" if recorded else "none"
        ids = {run.id for run in recorded}
        self.table.chosen = [run_id for run_id in self.table.chosen if run_id in ids]

    def compare(self) -> None:
        """Compare the chosen runs."""
        ids = list(self.table.chosen)
        if len(ids) < 2:
            self.status.show_error(InputError(self.translate("compare_least")))
            return
        # A folder of its own keeps the files of earlier comparisons.
        folder = self.output / f"{datetime.now():%Y%m%d-%H%M%S}"

        def work(progress: Progress, cancel: threading.Event) -> Comparison:
            chosen = runs.select_runs(self.store, ids=ids)
            return report.compare_runs(
                chosen, folder, count=self.count, progress=progress, cancel=cancel
            )

        self.task.submit(work, self.show)

    def show(self, comparison: Comparison) -> None:
        """Show a comparison."""
        missing = [
            comparison.title(k) for k in range(len(comparison.runs)) if k not in comparison.videos
        ]
        message = ""
        if missing:
            message = self.translate("compare_no_video", names=", ".join(missing))
        self.message.value = html.escape(message)
        self.tables.value = report.tables_html(comparison, self.translate)
        self.sheet.value = _images_html(comparison, "sheet")
        self.plots.value = _images_html(comparison, "curves", "measures")
        videos = [
            {
                "url": page_url(comparison.videos[k]),
                "letter": comparison.letters[k],
                "name": comparison.runs[k].name,
                "colour": plots.run_colour(k),
                "mouth": list(comparison.mouth_centres.get(k, (0.5, 0.5))),
            }
            for k in comparison.videos
        ]
        with self.player.hold_sync():
            self.player.ready, self.player.audible = False, 0
            self.player.frame_s = comparison.frame_s
            self.player.videos = videos
        self.results_box.layout.display = ""
        self.results.selected_index = 0
        self.comparison = comparison

    def make_film(self) -> None:
        """Write one video with the compared videos side by side."""

        def show(comparison: Comparison) -> None:
            self.comparison = comparison
            path = comparison.files.get("film", comparison.folder)
            self.message.value = html.escape(self.translate("compare_written", folder=path))

        self._submit(self._with_film, show)

    def log_comparison(self) -> None:
        """Record the comparison and its video in MLflow."""

        def work(
            comparison: Comparison, progress: Progress, cancel: threading.Event
        ) -> tuple[Comparison, str]:
            comparison = self._with_film(comparison, progress, cancel)
            progress("MLflow", 0, 0)
            return comparison, report.record_comparison(comparison, self.store)

        def show(recorded: tuple[Comparison, str]) -> None:
            self.comparison, run = recorded
            self.message.value = html.escape(self.translate("logged", run=run))
            self.refresh()

        self._submit(work, show)

    def _submit(
        self,
        work: Callable[[Comparison, Progress, threading.Event], Any],
        on_done: Callable[[Any], None],
    ) -> None:
        comparison = self.comparison
        self.message.value = ""
        if comparison is not None:
            self.task.submit(lambda progress, cancel: work(comparison, progress, cancel), on_done)

    def _with_film(
        self, comparison: Comparison, progress: Progress, cancel: threading.Event
    ) -> Comparison:
        if "film" in comparison.files:
            return comparison
        sound = list(comparison.videos)[self.player.audible] if comparison.videos else 0
        return report.add_film(comparison, sound=sound, progress=progress, cancel=cancel)


def _table_row(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "kind": run.kind,
        "status": run.status,
        "started": int(run.started.timestamp() * 1000),
        "seconds": run.seconds,
        "experiment": run.experiment,
        "video": run.video is not None,
    }


def _images_html(comparison: Comparison, *names: str) -> str:
    """Images embedded in the page: they are small, and the server may not reach their folder."""
    return "".join(
        f'<img src="{report.data_url(comparison.files[name])}" alt="{name}" '
        'style="max-width:100%;background:#fff;display:block">'
        for name in names
        if name in comparison.files
    )
