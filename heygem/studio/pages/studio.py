"""The studio app: batches, single previews, results, the state of the machine, sweeps."""

import html
from pathlib import Path
from typing import Any

import ipywidgets as w

from heygem.batch.queue import earlier_folder as queue_import
from heygem.batch.workers import background
from heygem.config.pairs import Pair
from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.core.i18n import translator
from heygem.core.types import PathLike
from heygem.server.client import HubQueue, JobQueue, open_queue
from heygem.studio import links
from heygem.studio.pages.batch import BatchPage
from heygem.studio.pages.history import HistoryPage
from heygem.studio.pages.preview import PreviewPage
from heygem.studio.pages.sweep import SweepPage
from heygem.studio.pages.system import SystemPage
from heygem.studio.queue_items import items_of
from heygem.studio.status import error_html

TABS = ("tab_batch", "tab_single", "tab_history", "tab_system", "tab_sweep")


class SinglePage(w.VBox):
    """A preview of one video, and a button that queues the whole video.

    Parameters
    ----------
    queue : JobQueue or HubQueue
    params, folder, lang
        As for `PreviewPage`.
    """

    def __init__(
        self, queue: JobQueue | HubQueue, *, params: Params, folder: PathLike, lang: str
    ) -> None:
        self.preview = PreviewPage(params=params, folder=folder, lang=lang)
        self._queue, self._params, translate = queue, params, self.preview.translate
        self.button = w.Button(
            description=translate("make_full_video"), button_style="success", icon="film",
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.message = w.HTML()
        self.button.on_click(lambda _: self.queue_video())
        super().__init__([self.preview, w.HBox([self.button, self.message])])

    def queue_video(self) -> None:
        """Queue the chosen files and start the worker; an error is shown beside the button."""
        translate, page = self.preview.translate, self.preview
        try:
            video, audio = (
                Path(picker.chosen).absolute() if picker.chosen else ""
                for picker in (page.video, page.audio)
            )
            if not (video and audio):
                raise HeygemError("a job needs a video and a sound", remedy="choose both")
            self._queue.add(items_of([Pair(video=str(video), audio=str(audio))], self._params))
            background.start(self._queue)
            self.message.value = html.escape(translate("queued"))
        except HeygemError as error:
            self.message.value = error_html(error, translate)


class StudioApp(w.Tab):
    """Five tabs: batch, single, history, system, sweep.

    Parameters
    ----------
    params : heygem.config.params.Params, optional
        Recipe of everything made here; `inputs.output` receives the results.
    folder : path
        Initial folder of the file browsers.
    queue_path : path, optional
        Database of the queue; default: the project's (see `heygem.batch.queue.default_path`), which
        command line and workers use too; on JupyterHub, the service's queue.
    lang : {"en", "zh", ""}
        Empty: as `HEYGEM_LANG` says, else English.
    """

    def __init__(
        self,
        *,
        params: Params | None = None,
        folder: PathLike = ".",
        queue_path: PathLike | None = None,
        lang: str = "",
    ) -> None:
        translate = translator(lang)
        self.params = params if params is not None else Params()
        self.queue = open_queue(None if queue_path is None else Path(queue_path))
        if isinstance(self.queue, JobQueue):
            queue_import.import_earlier(self.queue)
        output = self.params.inputs.output
        # The worker process has a current folder of its own.
        self.params = self.params.override({"inputs.output": str(Path(output).absolute())})
        self.batch = BatchPage(self.queue, self.params, folder=folder, translate=translate)
        self.single = SinglePage(self.queue, params=self.params, folder=folder, lang=lang)
        self.history = HistoryPage(
            output,
            translate=translate,
            choice=self.batch.choice,
            make_again=self.batch.make_again,
        )
        self.system = SystemPage(self.queue, output, translate=translate)
        pages = [self.batch, self.single, self.history, self.system]
        if isinstance(self.queue, JobQueue):  # results that are compared lie on this machine
            self.sweep = SweepPage(self.queue, self.params, folder=folder, translate=translate)
            pages.append(self.sweep)
        super().__init__(pages, titles=[translate(key) for key in TABS[: len(pages)]])
        self.observe(self._tab_selected, "selected_index")
        self.batch.jobs.show_result = self.show_result
        if links.query().get("result"):
            self.selected_index = self.children.index(self.history)

    def show_result(self, path: Path) -> None:
        """Play a result on the history page."""
        self.history.wish(path)
        self.selected_index = self.children.index(self.history)

    def _tab_selected(self, change: dict[str, Any]) -> None:
        page = self.children[change["new"] or 0]
        self.system.visible = page is self.system
        if page in (self.history, self.system):
            page.refresh()
