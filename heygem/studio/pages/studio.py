"""The producer's page: batches, single previews, results, and how the machine is doing."""

import html
from pathlib import Path

import ipywidgets as w

from heygem.batch.queue import JobQueue
from heygem.config.params import Params
from heygem.core.errors import HeygemError
from heygem.core.i18n import words
from heygem.server import policy
from heygem.studio.pages.batch import Line
from heygem.studio.pages.history import Gallery
from heygem.studio.pages.preview import Preview
from heygem.studio.pages.system import System
from heygem.studio.status import error_html


class Single(w.VBox):
    """Three seconds of one person, and a button that puts the whole video into the line.

    Parameters
    ----------
    queue : heygem.batch.queue.JobQueue
    params, folder, lang
        As for `Preview`.
    """

    def __init__(self, queue, *, params, folder, lang):
        self.preview = Preview(params=params, folder=folder, lang=lang)
        self._queue, self._params, say = queue, params, self.preview.say
        self.button = w.Button(
            description=say("make_full_video"), button_style="success", icon="film",
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.said = w.HTML()
        self.button.on_click(lambda _: self.make())
        super().__init__([self.preview, w.HBox([self.button, self.said])])

    def make(self):
        """Put what is chosen into the line, and see to it that the line is worked on."""
        say, page = self.preview.say, self.preview
        try:
            video, sound = (Path(f.chosen).absolute() if f.chosen else ""
                            for f in (page.video, page.audio))  # fmt: skip
            self._queue.add(video, sound, self._params)
            self._queue.start()
            self.said.value = html.escape(say("queued"))
        except HeygemError as error:
            self.said.value = error_html(error, say)


class Studio(w.Tab):
    """Four tabs: batch, single, history, system.

    Parameters
    ----------
    params : heygem.config.params.Params, optional
        Recipe of everything that is made here; `inputs.output` receives the results.
    folder : path
        Where the file browsers start.
    line : path
        Folder of the line of jobs; whoever opens the same one sees the same line.
    lang : {"en", "zh", ""}
        Empty: as `HEYGEM_LANG` says, else English.
    """

    def __init__(self, *, params=None, folder=".", line="runs/studio/line", lang=""):
        self.say = say = words(lang)
        folder = policy.start_folder(folder)
        self.params = params if params is not None else Params()
        self.queue = JobQueue(line, admission=policy.admit_pairs)
        output = self.params.inputs.output
        # The worker has its own current folder.
        self.params = self.params.override({"inputs.output": str(Path(output).absolute())})
        self.batch = Line(self.queue, self.params, folder=folder, say=say)
        self.single = Single(self.queue, params=self.params, folder=folder, lang=lang)
        self.history = Gallery(output, say=say)
        self.system = System(self.queue, output, say=say)
        names = ("tab_batch", "tab_single", "tab_history", "tab_system")
        super().__init__(
            [self.batch, self.single, self.history, self.system], titles=[say(n) for n in names]
        )
        self.observe(self._turned, "selected_index")

    def _turned(self, change):
        page = self.children[change["new"] or 0]
        self.system.shown = page is self.system
        if page in (self.history, self.system):
            page.refresh()
