"""The system page: device, memory, disk and queue, with advice where something runs short."""

import html
import os
from pathlib import Path
from typing import Any

import ipywidgets as w
import psutil

from heygem.batch.workers import background
from heygem.core import disk
from heygem.core.gpu import has_cuda
from heygem.core.i18n import Translate
from heygem.core.types import PathLike
from heygem.server.client import HubQueue, JobQueue
from heygem.studio.status import poll

LOW_DISK_GB = 5.0
LOW_MEMORY_GB = 1.5
POLL_S = 3.0


class SystemPage(w.VBox):
    """State of the machine and of the worker process.

    Parameters
    ----------
    queue : JobQueue or HubQueue
    folder : path
        Folder whose disk is reported.
    translate : callable

    Attributes
    ----------
    visible : bool
        Whether the page is in front; only then the numbers are updated.
    """

    def __init__(
        self, queue: JobQueue | HubQueue, folder: PathLike, *, translate: Translate
    ) -> None:
        self._queue, self._folder, self._translate = queue, Path(folder), translate
        self.visible = False
        self.text = w.HTML()
        self.refresh_button = w.Button(description=translate("refresh"), icon="refresh")
        self.release_button = w.Button(
            description=translate("dismiss"), tooltip=translate("dismiss_help"),
            layout=w.Layout(width="auto"),
        )  # fmt: skip
        self.refresh_button.on_click(lambda _: self.refresh())
        self.release_button.on_click(lambda _: self._release_worker())
        super().__init__([w.HBox([self.refresh_button, self.release_button]), self.text])
        self.refresh()
        poll(self, POLL_S, lambda page: page.refresh() if page.visible else None)

    def refresh(self) -> None:
        """Measure again."""
        translate = self._translate
        facts = measure_system(self._queue, self._folder)
        worker = facts["worker"]
        rows = [
            ("device", facts["device"] or translate("cpu_cores", count=os.cpu_count())),
            ("memory", translate("of", free=facts["memory_gb"], total=facts["memory_total_gb"])),
            ("disk", translate("of", free=facts["disk_gb"], total=facts["disk_total_gb"])),
            ("queue", translate("counts", **facts["jobs"])),
            ("process", translate("process_" + worker, gb=facts["worker_gb"])),
        ]
        if "gpu_gb" in facts:
            gpu = translate("of", free=facts["gpu_gb"], total=facts["gpu_total_gb"])
            rows.insert(1, ("gpu_memory", gpu))
        facts_html = "".join(
            f"<dt>{html.escape(translate(key))}</dt><dd>{html.escape(text)}</dd>"
            for key, text in rows
        )
        lines = [f'<dl class="hg-facts hg-card">{facts_html}</dl>']
        for key in alerts(facts):
            lines.append(f'<div role="alert">⚠ {html.escape(translate(key))}</div>')
        self.text.value = "".join(lines)
        self.release_button.disabled = worker != "idle"

    def _release_worker(self) -> None:
        self._queue.release_workers()
        self.refresh()


def measure_system(queue: JobQueue | HubQueue, folder: PathLike) -> dict[str, Any]:
    """Numbers about the machine, the queue and its worker; a gigabyte is 10**9 bytes.

    `worker` is "busy", "idle" (models loaded, no jobs) or "none".
    """
    memory = psutil.virtual_memory()
    free, total = disk.usage(folder)
    worker, worker_gb = background.worker_state(queue)
    counts = queue.counts()
    return {
        "device": device_name(),
        "memory_gb": memory.available / 1e9,
        "memory_total_gb": memory.total / 1e9,
        "disk_gb": free / 1e9,
        "disk_total_gb": total / 1e9,
        "jobs": counts,
        "worker": worker,
        "worker_gb": worker_gb,
        **_gpu_memory(),
    }


def alerts(facts: dict[str, Any]) -> list[str]:
    """Keys of the warnings that follow from `measure_system`."""
    conditions = {
        "alert_disk": facts["disk_gb"] < LOW_DISK_GB,
        "alert_memory": facts["memory_gb"] < LOW_MEMORY_GB,
        "alert_failed": facts["jobs"]["failed"] > 0,
    }
    return [key for key, holds in conditions.items() if holds]


def device_name() -> str:
    """Name of the GPU; empty where the processor computes."""
    if not has_cuda():
        return ""
    import torch

    return torch.cuda.get_device_name(0)


def _gpu_memory() -> dict[str, float]:
    if not has_cuda():
        return {}
    import torch

    free, total = torch.cuda.mem_get_info()
    return {"gpu_gb": free / 1e9, "gpu_total_gb": total / 1e9}
