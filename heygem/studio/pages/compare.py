"""The comparing page: pick runs, see what differs, watch them in step."""

import html
from datetime import datetime
from pathlib import Path

import anywidget
import ipywidgets as w
import traitlets

from heygem.core.errors import HeygemError, InputError
from heygem.core.i18n import words
from heygem.experiments import runs
from heygem.experiments.comparison import plots, report
from heygem.studio.background import LatestTask
from heygem.studio.status import StatusBar
from heygem.studio.urls import page_url

_STATIC = Path(__file__).parents[1] / "static"
_TABLE_WORDS = (
    "filter", "choose", "count", "column_started", "column_name", "column_kind", "column_status",
    "column_seconds", "column_experiment", "column_video",
)  # fmt: skip
_PLAYER_WORDS = (
    "side", "play", "pause", "back", "forward", "loop", "timeline", "rate", "zoom", "listen_to",
    "load_failed",
)  # fmt: skip


class RunTable(anywidget.AnyWidget):
    """Recorded runs as a table to sort, to filter and to tick.

    Attributes
    ----------
    rows : list of dict
        id, name, kind, status, started (milliseconds), seconds, experiment, video (bool).
    chosen : list of str
        Ids in the order in which they were ticked.
    """

    _esm = _STATIC / "runtable.js"
    _css = _STATIC / "compare.css"

    labels = traitlets.Dict().tag(sync=True)
    rows = traitlets.List().tag(sync=True)
    chosen = traitlets.List().tag(sync=True)

    def __init__(self, say, **traits):
        super().__init__(labels={key: say(key) for key in _TABLE_WORDS}, **traits)


class SideBySide(anywidget.AnyWidget):
    """Several videos in step. Only addresses pass through the widget socket.

    Attributes
    ----------
    videos : list of dict
        url, letter, name, colour, mouth (shares of width and height).
    heard : int
        Number of the one that is not muted.
    frame_s : float
        Duration of a frame, for stepping.
    ready : bool
        The page has decoded a picture of each; set by the page.
    """

    _esm = _STATIC / "sidebyside.js"
    _css = _STATIC / "compare.css"

    labels = traitlets.Dict().tag(sync=True)
    videos = traitlets.List().tag(sync=True)
    heard = traitlets.Int(0).tag(sync=True)
    frame_s = traitlets.Float(0.04).tag(sync=True)
    ready = traitlets.Bool(False).tag(sync=True)

    def __init__(self, say, **traits):
        super().__init__(labels={key: say(key) for key in _PLAYER_WORDS}, **traits)


class Comparing(w.VBox):
    """Table of runs, player, tables, contact sheet, figures; and the way back into MLflow.

    Parameters
    ----------
    told : heygem.experiments.comparison.report.Comparison, optional
        Shown at once.
    store : path
        Folder of the MLflow store.
    output : path
        Receives the files of each comparison, in a folder of its own.
    count : int
        Instants on the contact sheet.
    lang : {"en", "zh", ""}

    Attributes
    ----------
    told : heygem.experiments.comparison.report.Comparison or None
    """

    told = traitlets.Any(None, allow_none=True)

    def __init__(self, told=None, *, store="mlruns", output="runs/compare", count=6, lang=""):
        self.say = say = words(lang)
        self.store, self.output, self.count = Path(store), Path(output), count
        self.worker = LatestTask()
        self.status = StatusBar(self.worker, say)
        self.table = RunTable(say)
        self.player = SideBySide(say)
        auto = w.Layout(width="auto")
        self.refresh_button = w.Button(description=say("refresh"), icon="refresh")
        self.compare_button = w.Button(description=say("compare"), button_style="primary")
        self.film_button = w.Button(description=say("compare_film"), icon="film", layout=auto)
        self.log_button = w.Button(description=say("compare_log"), icon="save", layout=auto)
        self.said = w.HTML()
        self.tables, self.sheet, self.plots = w.HTML(), w.HTML(), w.HTML()
        self.results = w.Accordion(
            [self.tables, self.sheet, self.plots],
            titles=[say("compare_tables"), say("compare_sheet"), say("compare_plots")],
        )
        row = w.Layout(flex_flow="row wrap", align_items="center")
        self.results_box = w.VBox(
            [
                self.player,
                self.results,
                w.HBox([self.film_button, self.log_button, self.said], layout=row),
            ],
            layout=w.Layout(width="100%", display="none"),
        )
        super().__init__(
            [
                self.table,
                w.HBox([self.compare_button, self.refresh_button], layout=row),
                self.status,
                self.results_box,
            ],
            layout=w.Layout(width="100%"),
        )
        self.refresh_button.on_click(lambda _: self.refresh())
        self.compare_button.on_click(lambda _: self.compare())
        self.film_button.on_click(lambda _: self.make_film())
        self.log_button.on_click(lambda _: self.log())
        self.refresh()
        if told is not None:
            self.table.chosen = [run.id for run in told.runs]
            self.show(told)

    def refresh(self):
        """Look into the store again; runs that are gone lose their tick."""
        try:
            found = runs.listed(self.store)
        except HeygemError as error:
            self.status.show(error)
            return
        self.table.rows = [_plain(run) for run in found]
        known = {run.id for run in found}
        self.table.chosen = [run for run in self.table.chosen if run in known]

    def compare(self):
        """Compare the ticked runs."""
        ids = list(self.table.chosen)
        if len(ids) < 2:
            self.status.show(InputError(self.say("compare_least")))
            return
        # A folder of its own: what an earlier comparison wrote stays as it was.
        folder = self.output / f"{datetime.now():%Y%m%d-%H%M%S}"

        def work(progress, cancel):
            found = runs.chosen(self.store, ids=ids)
            return report.make(found, folder, count=self.count, progress=progress, cancel=cancel)

        self.worker.submit(work, self.show)

    def show(self, told):
        """Show a comparison that was made."""
        missing = [told.title(k) for k in range(len(told.runs)) if k not in told.shown]
        words_ = self.say("compare_no_video", names=", ".join(missing)) if missing else ""
        self.said.value = html.escape(words_)
        self.tables.value = report.tables_html(told, self.say)
        self.sheet.value = _pictures(told, "sheet")
        self.plots.value = _pictures(told, "curves", "measures")
        videos = [
            {
                "url": page_url(told.runs[k].video),
                "letter": told.letters[k],
                "name": told.runs[k].name,
                "colour": plots.colour(k),
                "mouth": list(told.mouths.get(k, (0.5, 0.5))),
            }
            for k in told.shown
        ]
        with self.player.hold_sync():
            self.player.ready, self.player.heard = False, 0
            self.player.frame_s = told.frame_s
            self.player.videos = videos
        self.results_box.layout.display = ""
        self.results.selected_index = 0
        self.told = told

    def make_film(self):
        """Put the videos beside each other in one."""

        def done(told):
            self.told = told
            path = told.files.get("film", told.folder)
            self.said.value = html.escape(self.say("compare_written", folder=path))

        self._work(lambda told, progress, cancel: self._filmed(told, progress, cancel), done)

    def log(self):
        """Record the comparison, film included, in MLflow."""

        def work(told, progress, cancel):
            told = self._filmed(told, progress, cancel)
            progress("MLflow", 0, 0)
            return told, report.record(told, self.store)

        def done(result):
            self.told, run = result
            self.said.value = html.escape(self.say("logged", run=run))
            self.refresh()

        self._work(work, done)

    def _work(self, work, done):
        told = self.told
        self.said.value = ""
        if told is not None:
            self.worker.submit(lambda progress, cancel: work(told, progress, cancel), done)

    def _filmed(self, told, progress, cancel):
        if "film" in told.files:
            return told
        sound = told.shown[self.player.heard] if told.shown else 0
        return report.add_film(told, sound=sound, progress=progress, cancel=cancel)


def _plain(run):
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


def _pictures(told, *names):
    """Pictures inside the page: they are small, and the server may not reach their folder."""
    return "".join(
        f'<img src="{report.inline(told.files[name])}" alt="{name}" '
        'style="max-width:100%;background:#fff;display:block">'
        for name in names
        if name in told.files
    )
