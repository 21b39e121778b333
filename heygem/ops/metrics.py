"""Metrics for Prometheus, on loopback: queue, items, stages, failures, machine, ledger.

Numbers are read from the queue's database at each scrape and stored nowhere else, so the exporter
may be restarted at any time. A counter falls when finished items are cleared from the queue, which
Prometheus takes for a restart.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import psutil
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from heygem.batch.queue import JobQueue
from heygem.batch.queue.job import OPEN, STATES, Job
from heygem.core.errors import HeygemError, InputError
from heygem.core.types import PathLike
from heygem.core.version import code_version
from heygem.ops import machine, report, work

LOOPBACK = "127.0.0.1"
PORT = 9464
LEDGER_S = 600.0  # how often the ledger is verified, which takes a second for thousands of rows
ITEM_BUCKETS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
STAGE_BUCKETS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


class HeygemCollector:
    """Reads everything at each scrape, one scrape at a time.

    Parameters
    ----------
    queue_path : path, optional
        Database of the queue; default: the project's. It need not be there yet.
    results : path, optional
        Folder on the disk of the results, for its free space; default: the current one.
    """

    def __init__(self, queue_path: PathLike | None = None, results: Path | None = None) -> None:
        self._queue_path = queue_path
        self._results = results
        self._lock = threading.Lock()
        self._ledger: tuple[float, str] | None = None  # when it was verified, and the result

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering the collector is not to read the queue."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics; `heygem_up` is 0 where the queue could not be read."""
        with self._lock:
            metrics = [*_machine_metrics(self._results), *self._ledger_metrics()]
            try:
                queue = work.open_queue(self._queue_path)
                if queue is not None:
                    try:
                        metrics += _queue_metrics(queue)
                    finally:
                        queue.close()  # each scrape has a thread of its own
                is_up = 1
            except HeygemError:
                is_up = 0
            metrics.append(_gauge("heygem_up", "Whether the queue could be read.", is_up))
            info = GaugeMetricFamily("heygem_build_info", "Version.", labels=["version"])
            info.add_metric([code_version()["version"]], 1)
            yield from [*metrics, info]

    def _ledger_metrics(self) -> list[Metric]:
        now = time.monotonic()
        if self._ledger is None or now - self._ledger[0] >= LEDGER_S:
            try:
                state = report.ledger_state()
            except HeygemError as error:
                state = str(error)
            self._ledger = (now, state)
        state = self._ledger[1]
        if not state:
            return []
        verified = state.startswith("verified")
        return [_gauge("heygem_ledger_verified", "Whether every row is as written.", verified)]


def _queue_metrics(queue: JobQueue) -> list[Metric]:
    jobs = queue.jobs()
    return [*_backlog_metrics(jobs, queue.paused()), *_finished_metrics(jobs)]


def _backlog_metrics(jobs: list[Job], paused: str) -> list[Metric]:
    now = time.time()
    states = GaugeMetricFamily("heygem_queue_items", "Items by state.", labels=["state"])
    counts = Counter(job.state for job in jobs)
    for state in STATES:
        states.add_metric([state], counts[state])
    pending = [job.created for job in jobs if job.state == "pending"]
    running = [job.started for job in jobs if job.state == "running"]
    waiting = GaugeMetricFamily(
        "heygem_queue_waiting_seconds", "Speech that is still to do.", labels=["owner"]
    )
    by_owner: Counter[str] = Counter()
    for job in jobs:
        if job.state in OPEN:
            by_owner[job.owner] += job.length_s  # type: ignore[assignment]
    for owner, seconds in sorted(by_owner.items()):
        waiting.add_metric([owner], seconds)
    return [
        states,
        waiting,
        _gauge(
            "heygem_queue_oldest_pending_seconds",
            "Age of the oldest pending item.",
            max(now - min(pending), 0) if pending else 0,
        ),
        _gauge(
            "heygem_queue_longest_running_seconds",
            "For how long the oldest running item is being made.",
            max(now - min(running), 0) if running else 0,
        ),
        _gauge("heygem_queue_paused", "Whether no item is begun.", bool(paused)),
        *_worker_metrics(jobs),
    ]


def _worker_metrics(jobs: list[Job]) -> list[Metric]:
    """Memory and processor of the processes that hold running items on this machine."""
    memory = GaugeMetricFamily(
        "heygem_worker_memory_bytes", "Resident memory of a worker.", labels=["worker"]
    )
    processor = CounterMetricFamily(
        "heygem_worker_cpu_seconds", "Processor time of a worker.", labels=["worker"]
    )
    for job in jobs:
        if job.state != "running" or not job.process:
            continue
        try:
            process = psutil.Process(int(job.process["pid"]))
            family = [process, *process.children(recursive=True)]
            memory.add_metric([job.worker], sum(each.memory_info().rss for each in family))
            times = [each.cpu_times() for each in family]
            processor.add_metric([job.worker], sum(each.user + each.system for each in times))
        except (psutil.Error, KeyError, ValueError):
            continue
    return [memory, processor]


def _finished_metrics(jobs: list[Job]) -> list[Metric]:
    finished = CounterMetricFamily(
        "heygem_items_finished", "Items that ended, by outcome.", labels=["state"]
    )
    counts = Counter(job.state for job in jobs)
    for state in ("done", "failed", "cancelled"):
        finished.add_metric([state], counts[state])
    failures = CounterMetricFamily(
        "heygem_item_failures", "Items that failed, by error code.", labels=["code"]
    )
    codes = Counter(job.error.get("code", work.UNKNOWN) for job in jobs if job.state == "failed")
    for code, count in sorted(codes.items()):
        failures.add_metric([code], count)
    jobs_made = [job for job in jobs if job.state == "done" and job.timings]
    items = HistogramMetricFamily("heygem_item_seconds", "Processing time of an item.")
    _fill(items, [], [job.seconds for job in jobs_made], ITEM_BUCKETS_S)
    stages = HistogramMetricFamily(
        "heygem_stage_seconds", "Processing time of a stage of an item.", labels=["stage"]
    )
    by_stage: dict[str, list[float]] = {}
    for job in jobs_made:
        for key, seconds in job.timings.items():
            if key.endswith("_s"):
                by_stage.setdefault(key.removesuffix("_s"), []).append(float(seconds))
    for stage, values in sorted(by_stage.items()):
        _fill(stages, [stage], values, STAGE_BUCKETS_S)
    video = CounterMetricFamily("heygem_video_seconds", "Length of the videos that were made.")
    video.add_metric([], sum(job.length_s for job in jobs_made))
    attempts = CounterMetricFamily("heygem_item_retries", "Attempts after the first.")
    attempts.add_metric([], sum(max(job.attempts - 1, 0) for job in jobs))
    return [finished, failures, items, stages, video, attempts]


def _machine_metrics(results: Path | None) -> list[Metric]:
    memory = psutil.virtual_memory()
    free = GaugeMetricFamily("heygem_disk_free_bytes", "Free space.", labels=["place"])
    total = GaugeMetricFamily("heygem_disk_size_bytes", "Size of the disk.", labels=["place"])
    for disk in machine.disks(results):
        free.add_metric([disk.place], disk.free_bytes)
        total.add_metric([disk.place], disk.total_bytes)
    labels = ["gpu", "name"]
    load = GaugeMetricFamily("heygem_gpu_utilization_ratio", "Load of a GPU, 0..1.", labels=labels)
    used = GaugeMetricFamily("heygem_gpu_memory_used_bytes", "GPU memory in use.", labels=labels)
    size = GaugeMetricFamily("heygem_gpu_memory_total_bytes", "GPU memory.", labels=labels)
    for gpu in machine.gpus():
        load.add_metric([gpu.index, gpu.name], gpu.utilization)
        used.add_metric([gpu.index, gpu.name], gpu.used_bytes)
        size.add_metric([gpu.index, gpu.name], gpu.total_bytes)
    busy = machine.processor_load()
    return [
        _gauge("heygem_cpu_utilization_ratio", "Load of all cores, 0..1.", busy),
        _gauge("heygem_memory_available_bytes", "Memory that programs can take.", memory.available),
        _gauge("heygem_memory_total_bytes", "Memory of the machine.", memory.total),
        free, total, load, used, size,
    ]  # fmt: skip


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))


def _fill(
    histogram: HistogramMetricFamily,
    labels: list[str],
    values: list[float],
    bounds: Iterable[float],
) -> None:
    buckets = [(str(float(bound)), sum(v <= bound for v in values)) for bound in bounds]
    histogram.add_metric(labels, [*buckets, ("+Inf", len(values))], sum(values))


def registry(queue_path: PathLike | None = None, results: Path | None = None) -> CollectorRegistry:
    """A registry with heygem's metrics; see `HeygemCollector` for the parameters."""
    collectors = CollectorRegistry()
    collectors.register(HeygemCollector(queue_path, results))
    return collectors


def serve(
    port: int = PORT, queue_path: PathLike | None = None, results: Path | None = None
) -> tuple[WSGIServer, threading.Thread]:
    """Start to answer on `http://127.0.0.1:PORT/metrics`; other machines cannot reach it.

    Returns
    -------
    WSGIServer, Thread
        Stop it with `server.shutdown()`.

    Raises
    ------
    InputError
        The port is taken.
    """
    try:
        server, thread = start_http_server(
            port, addr=LOOPBACK, registry=registry(queue_path, results)
        )
        return server, thread
    except OSError as error:
        raise InputError(
            f"cannot listen on {LOOPBACK}:{port}: {error.strerror}",
            remedy="is the exporter running already? give another --port",
        ) from error
