"""The producer's page: batches, single previews, results, and how the machine is doing."""

import html
import shutil
from pathlib import Path

import ipywidgets as w

from heygem.jobs import Board
from heygem.params import Params
from heygem.widgets.gallery import Gallery
from heygem.widgets.line import Line
from heygem.widgets.preview import Preview
from heygem.widgets.words import words

LOW_DISK_GB = 5.0
LOW_MEMORY_GB = 1.5


class System(w.VBox):
    """Device, memory, disk and line, with what to do where one runs short."""

    def __init__(self, board, folder, *, say):
        self._board, self._folder, self._say = board, Path(folder), say
        self.text = w.HTML()
        self.button = w.Button(description=say("refresh"), icon="refresh")
        self.button.on_click(lambda _: self.refresh())
        super().__init__([self.button, self.text])
        self.refresh()

    def refresh(self):
        """Measure again."""
        import psutil

        say = self._say
        memory = psutil.virtual_memory()
        place = next(p for p in (self._folder, *self._folder.parents) if p.exists())
        disk = shutil.disk_usage(place)
        free_gb = {"memory": memory.available / 1e9, "disk": disk.free / 1e9}
        jobs = self._board.jobs()
        waiting = sum(job.state in ("waiting", "running") for job in jobs)
        rows = [
            ("device", device_name()),
            ("memory", say("of", free=free_gb["memory"], total=memory.total / 1e9)),
            ("disk", say("of", free=free_gb["disk"], total=disk.total / 1e9)),
            ("queue", f"{waiting} / {len(jobs)}"),
        ]
        lines = [f"<div><b>{html.escape(say(k))}:</b> {html.escape(v)}</div>" for k, v in rows]
        low = {"disk": LOW_DISK_GB, "memory": LOW_MEMORY_GB}
        lines += [
            f"<div>⚠ {html.escape(say('alert_' + k))}</div>" for k in low if free_gb[k] < low[k]
        ]
        self.text.value = "".join(lines)


def device_name():
    """What computes: the GPU's name, or the CPU with its cores."""
    import os

    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return f"CPU, {os.cpu_count()} cores"


class Studio(w.Tab):
    """Four tabs: batch, single, history, system.

    Parameters
    ----------
    params : heygem.params.Params, optional
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
        self.params = params if params is not None else Params()
        self.board = Board(line)
        output = self.params.inputs.output
        # The worker has its own current folder.
        self.params = self.params.override({"inputs.output": str(Path(output).absolute())})
        self.batch = Line(self.board, self.params, folder=folder, say=say)
        self.single = Preview(params=self.params, folder=folder, lang=lang)
        self.history = Gallery(output, say=say)
        self.system = System(self.board, output, say=say)
        names = ("tab_batch", "tab_single", "tab_history", "tab_system")
        super().__init__(
            [self.batch, self.single, self.history, self.system], titles=[say(n) for n in names]
        )
        self.observe(self._turned, "selected_index")

    def _turned(self, change):
        page = self.children[change["new"] or 0]
        if page in (self.history, self.system):
            page.refresh()
