"""The system tab: device, memory, disk and line, with what to do where one runs short."""

import html
import os
import shutil
from pathlib import Path

import ipywidgets as w
import psutil

from heygem.studio.status import watch

LOW_DISK_GB = 5.0
LOW_MEMORY_GB = 1.5
LOOK_S = 3.0


class System(w.VBox):
    """How the machine is doing.

    Parameters
    ----------
    queue : heygem.batch.queue.JobQueue
    folder : path
        Whose disk is looked at.
    say : callable

    Attributes
    ----------
    shown : bool
        While the tab is in front, the numbers are kept up to date.
    """

    def __init__(self, queue, folder, *, say):
        self._queue, self._folder, self._say = queue, Path(folder), say
        self.shown = False
        self.text = w.HTML()
        self.button = w.Button(description=say("refresh"), icon="refresh")
        self.dismiss_button = w.Button(
            description=say("dismiss"), tooltip=say("dismiss_help"), layout=w.Layout(width="auto")
        )
        self.button.on_click(lambda _: self.refresh())
        self.dismiss_button.on_click(lambda _: self._dismiss())
        super().__init__([w.HBox([self.button, self.dismiss_button]), self.text])
        self.refresh()
        watch(self, LOOK_S, lambda page: page.refresh() if page.shown else None)

    def refresh(self):
        """Measure again."""
        say = self._say
        facts = measure(self._queue, self._folder)
        count = facts["jobs"]
        rows = [
            ("device", facts["device"]),
            ("memory", say("of", free=facts["memory_gb"], total=facts["memory_total_gb"])),
            ("disk", say("of", free=facts["disk_gb"], total=facts["disk_total_gb"])),
            ("queue", say("counts", **count)),
            ("process", say("process_" + facts["process"], gb=facts["process_gb"])),
        ]
        if "gpu_gb" in facts:
            gpu = say("of", free=facts["gpu_gb"], total=facts["gpu_total_gb"])
            rows.insert(1, ("gpu_memory", gpu))
        lines = [f"<div><b>{html.escape(say(k))}:</b> {html.escape(v)}</div>" for k, v in rows]
        lines += [f'<div role="alert">⚠ {html.escape(say(key))}</div>' for key in alerts(facts)]
        self.text.value = "".join(lines)
        self.dismiss_button.disabled = facts["process"] != "idle"

    def _dismiss(self):
        self._queue.release_worker()
        self.refresh()


def measure(queue, folder):
    """Numbers on the machine and the line: dict; gigabytes are 10**9 bytes."""
    memory = psutil.virtual_memory()
    place = next(
        p for p in (Path(folder).absolute(), *Path(folder).absolute().parents) if p.exists()
    )
    disk = shutil.disk_usage(place)
    jobs, process, process_gb = queue.jobs(), "none", 0.0
    number = queue.worker_pid()
    if number is not None:
        process = "busy" if queue.start_requested() else "idle"
        try:
            process_gb = psutil.Process(number).memory_info().rss / 1e9
        except psutil.Error:  # it has just gone
            process = "none"
    states = ("waiting", "running", "done", "failed")
    return {
        "device": device_name(),
        "memory_gb": memory.available / 1e9,
        "memory_total_gb": memory.total / 1e9,
        "disk_gb": disk.free / 1e9,
        "disk_total_gb": disk.total / 1e9,
        "jobs": {state: sum(job.state == state for job in jobs) for state in states},
        "process": process,
        "process_gb": process_gb,
        **_gpu_memory(),
    }


def alerts(facts):
    """Keys of what somebody should look after."""
    found = []
    if facts["disk_gb"] < LOW_DISK_GB:
        found.append("alert_disk")
    if facts["memory_gb"] < LOW_MEMORY_GB:
        found.append("alert_memory")
    if facts["jobs"]["failed"]:
        found.append("alert_failed")
    return found


def device_name():
    """What computes: the GPU's name, or the CPU with its cores."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return f"CPU, {os.cpu_count()} cores"


def _gpu_memory():
    import torch

    if not torch.cuda.is_available():
        return {}
    free, total = torch.cuda.mem_get_info()
    return {"gpu_gb": free / 1e9, "gpu_total_gb": total / 1e9}
