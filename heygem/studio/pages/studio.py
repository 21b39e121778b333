"""The studio app: batches, single previews, results, and the state of the machine."""

import html
from pathlib import Path
from typing import Any

import ipywidgets as w

from heygem.batch.folder_queue import JobQueue
from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.core.i18n import translator
from heygem.core.types import PathLike
from heygem.studio.pages.batch import BatchPage
from heygem.studio.pages.history import HistoryPage
from heygem.studio.pages.preview import PreviewPage
from heygem.studio.pages.system import SystemPage
from heygem.studio.status import error_html

TABS = ("tab_batch", "tab_single", "tab_history", "tab_system")


class SinglePage(w.VBox):
    """A preview of one video, and a button that queues the whole video.

    Parameters
    ----------
    queue : heygem.batch.folder_queue.JobQueue
    params, folder, lang
        As for `PreviewPage`.
    """

    def __init__(self, queue: JobQueue, *, params: Params, folder: PathLike, lang: str) -> None:
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
            self._queue.add(video, audio, self._params)
            self._queue.start()
            self.message.value = html.escape(translate("queued"))
        except HeygemError as error:
            self.message.value = error_html(error, translate)


class StudioApp(w.Tab):
    """Four tabs: batch, single, history, system.

    Parameters
    ----------
    params : heygem.config.params.Params, optional
        Recipe of everything made here; `inputs.output` receives the results.
    folder : path
        Initial folder of the file browsers.
    queue_folder : path
        Folder of the job queue; pages that open the same one show the same queue.
    lang : {"en", "zh", ""}
        Empty: as `HEYGEM_LANG` says, else English.
    """

    def __init__(
        self,
        *,
        params: Params | None = None,
        folder: PathLike = ".",
        queue_folder: PathLike = "runs/studio/line",
        lang: str = "",
    ) -> None:
        translate = translator(lang)
        self.params = params if params is not None else Params()
        self.queue = JobQueue(queue_folder)
        output = self.params.inputs.output
        # The worker process has a current folder of its own.
        self.params = self.params.override({"inputs.output": str(Path(output).absolute())})
        self.batch = BatchPage(self.queue, self.params, folder=folder, translate=translate)
        self.single = SinglePage(self.queue, params=self.params, folder=folder, lang=lang)
        self.history = HistoryPage(output, translate=translate)
        self.system = SystemPage(self.queue, output, translate=translate)
        super().__init__(
            [self.batch, self.single, self.history, self.system],
            titles=[translate(key) for key in TABS],
        )
        self.observe(self._tab_selected, "selected_index")

    def _tab_selected(self, change: dict[str, Any]) -> None:
        page = self.children[change["new"] or 0]
        self.system.visible = page is self.system
        if page in (self.history, self.system):
            page.refresh()
