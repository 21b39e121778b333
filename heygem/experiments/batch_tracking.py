"""A batch in MLflow: one run for the batch, with one child run per item.

A video never waits for MLflow and is never lost with it. One daemon thread makes all calls; the
first that fails or takes too long is reported as a warning, and the rest are dropped.

MLflow's own asynchronous logging (`synchronous=False`, MLflow 3.17.2) cannot replace that thread:
it covers parameters, metrics and tags only, while creating the store, creating runs and copying
videos block; at exit it joins its threads without a time limit, so that a locked store would keep
the process alive; and it logs one error per call.
"""

import contextlib
import logging
import math
import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from heygem.config.params import Params
from heygem.core.interrupts import is_cancelled
from heygem.experiments import store

if TYPE_CHECKING:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

CREATION_TIMEOUT_S = 60.0  # for a new store; its tables take 6 s on a slow disk
STOP_TIMEOUT_S = 1.5  # likewise, of a batch that the user stopped
CALL_TIMEOUT_S = 5.0  # the end of a batch waits this long for one call
COPY_BYTES_PER_S = 20e6  # of a slow disk; the store receives a copy of each video
_RUN_STATUS = {"done": "FINISHED", "skipped": "FINISHED", "cancelled": "KILLED"}


class ItemOutcome(Protocol):
    """What is recorded of an item; `heygem.batch.outcome.Outcome` is one.

    `status` is "done", "failed", "skipped" or "cancelled"; `details` the folder of pictures and
    manifest; `manifest` empty for a failed item.
    """

    @property
    def name(self) -> str: ...
    @property
    def video(self) -> Path: ...
    @property
    def status(self) -> str: ...
    @property
    def speech(self) -> str: ...
    @property
    def params(self) -> Params | None: ...
    @property
    def output(self) -> Path | None: ...
    @property
    def details(self) -> Path | None: ...
    @property
    def error(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def manifest(self) -> dict[str, Any]: ...


class Tracker(Protocol):
    """Records the items of a batch."""

    problem: str  # why nothing is recorded, empty if all is well
    address: str  # of the batch's run in the MLflow UI, below its root

    def log(self, outcome: ItemOutcome) -> None:
        """Record one finished item."""


class _NoTracker:
    problem = address = ""

    def log(self, outcome: ItemOutcome) -> None:
        pass


@contextlib.contextmanager
def track_batch(params: Params, *, names: list[str]) -> Iterator[Tracker]:
    """Record a batch of items with these names; does nothing if `mlflow.enabled` is false."""
    if not params.mlflow.enabled:
        yield _NoTracker()
        return
    tracker = BatchTracker(params, names)
    status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    finally:
        tracker.close(status)


class BatchTracker:
    """Passes everything to a thread that calls MLflow; see `Tracker`."""

    _client: "MlflowClient"
    _experiment: str
    _batch_run: str
    _monitor: "SystemMetricsMonitor | None"

    def __init__(self, params: Params, names: list[str]) -> None:
        self.problem = ""
        self.address = ""
        self._params = params
        self._folder = Path(params.mlflow.folder).absolute()
        self._counts: Counter[str] = Counter()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_broken = threading.Event()
        self._has_ended = threading.Event()
        self._last_call = time.monotonic()  # when the thread last began or finished a call
        self._timeout_s = CREATION_TIMEOUT_S
        started_ms = store.now_ms()
        self._calls.put(_import_mlflow)
        self._calls.put(lambda: self._start_batch_run(names, started_ms))
        threading.Thread(target=self._make_calls, name="mlflow", daemon=True).start()

    def log(self, outcome: ItemOutcome) -> None:
        """Record one finished item as a child run."""
        ended_ms = store.now_ms()
        self._calls.put(lambda: self._record_item(outcome, ended_ms))

    def close(self, status: str) -> None:
        """Record the end; wait while the store answers, then give up with a warning.

        A batch that was stopped waits for a moment only. The next one closes its run.
        """
        self._calls.put(lambda: self._end_batch_run(status))
        self._calls.put(None)
        began = time.monotonic()
        while not self._has_ended.wait(0.05):
            now = time.monotonic()
            if is_cancelled() and now - began > STOP_TIMEOUT_S:
                self._give_up("the batch was stopped")
                return
            if now - self._last_call > self._timeout_s:
                self._give_up(f"no answer within {self._timeout_s:.0f} s")
                return

    def _make_calls(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                if not self._is_broken.is_set():
                    self._last_call = time.monotonic()
                    call()
                    self._last_call = time.monotonic()
        except Exception as error:
            log.debug("MLflow failed", exc_info=True)
            self._give_up(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        finally:
            self._has_ended.set()

    def _give_up(self, reason: str) -> None:
        if not self._is_broken.is_set():
            self._is_broken.set()
            self.problem = (
                f"MLflow does not record this run ({reason}); videos are not affected; "
                f"store: {store.tracking_uri(self._folder)}"
            )
            log.warning(self.problem)

    def _start_batch_run(self, names: list[str], started_ms: int) -> None:
        if store.exists(self._folder):
            self._timeout_s = CALL_TIMEOUT_S
        self._client = store.open_client(self._folder)
        experiment_name = self._params.mlflow.experiment
        self._experiment = store.experiment_id(self._client, self._folder, experiment_name)
        self._close_abandoned_runs()
        tags = {"params_hash": self._params.digest(), "heygem.kind": "batch"}
        run = self._client.create_run(
            self._experiment,
            start_time=started_ms,
            run_name=f"{len(names)} videos" if len(names) != 1 else names[0],
            tags={**store.owner_tags(), **tags},
        )
        self._batch_run = run.info.run_id
        self.address = f"#/experiments/{self._experiment}/runs/{self._batch_run}"
        store.log_params(self._client, self._batch_run, self._params.dotted())
        self._client.log_text(self._batch_run, self._params.to_yaml(), "params.yaml")
        self._monitor = self._start_system_monitor()
        self._timeout_s = CALL_TIMEOUT_S

    def _close_abandoned_runs(self) -> None:
        """End runs whose process has died: MLflow would list them as running for ever."""
        host = socket.gethostname()
        running = self._client.search_runs(
            [self._experiment],
            f"attributes.status = 'RUNNING' and tags.`{store.HOST_TAG}` = '{host}'",
        )
        for run in running:
            if not store.owner_is_running(run.data.tags):
                self._client.set_terminated(run.info.run_id, status="KILLED")

    def _start_system_monitor(self) -> "SystemMetricsMonitor | None":
        """Record CPU, memory, disk, network and GPU over time, on the batch's run."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
        try:
            monitor = SystemMetricsMonitor(
                self._batch_run,
                sampling_interval=2,
                tracking_uri=store.tracking_uri(self._folder),
            )
            monitor.start()
            return monitor
        except Exception:  # a machine without such counters still records its videos
            log.debug("no system metrics", exc_info=True)
            return None

    def _record_item(self, outcome: ItemOutcome, ended_ms: int) -> None:
        self._counts[outcome.status] += 1
        params = outcome.params or self._params
        run = self._client.create_run(
            self._experiment,
            start_time=ended_ms - round(outcome.seconds * 1000),
            run_name=outcome.name,
            tags=self._item_tags(outcome, params),
        )
        run_id = run.info.run_id
        store.log_params(self._client, run_id, params.dotted())
        metrics = manifest_metrics(outcome.manifest) | {"seconds": outcome.seconds}
        store.log_metrics(self._client, run_id, metrics)
        if outcome.status == "done" and outcome.output is not None and outcome.details is not None:
            self._timeout_s = CALL_TIMEOUT_S + outcome.output.stat().st_size / COPY_BYTES_PER_S
            self._client.log_artifact(run_id, str(outcome.output), "video")
            for file in sorted(outcome.details.glob("[!.]*")):
                self._client.log_artifact(run_id, str(file))
            self._timeout_s = CALL_TIMEOUT_S
        status = _RUN_STATUS.get(outcome.status, "FAILED")
        self._client.set_terminated(run_id, status, ended_ms)

    def _item_tags(self, outcome: ItemOutcome, params: Params) -> dict[str, str]:
        tags = {
            **store.owner_tags(),
            "params_hash": params.digest(),
            "heygem.kind": "video",
            "heygem.status": outcome.status,
            "heygem.video": store.storable(outcome.video),
            "heygem.sound": store.storable(outcome.speech),
            "mlflow.parentRunId": self._batch_run,
        }
        if outcome.error:
            tags["heygem.error"] = store.storable(outcome.error)
        if outcome.manifest:
            tags["heygem.item_id"] = outcome.manifest["id"]
            tags["heygem.output_sha256"] = outcome.manifest["output"]["sha256"]
        return tags

    def _end_batch_run(self, status: str) -> None:
        if self._monitor is not None:
            self._monitor.finish()
        counts = {f"items.{name}": float(count) for name, count in self._counts.items()}
        store.log_metrics(self._client, self._batch_run, counts)
        if self._counts["cancelled"]:
            status = "KILLED"
        elif self._counts["failed"]:
            status = "FAILED"
        self._client.set_terminated(self._batch_run, status)


def _import_mlflow() -> None:
    store.disable_telemetry()
    import mlflow.tracking  # noqa: F401  takes seconds


def manifest_metrics(manifest: Mapping[str, Any]) -> dict[str, float]:
    """Finite numbers of a manifest under dotted names: timings, counts, measures."""
    if not manifest:
        return {}
    metrics = {"warnings": float(len(manifest.get("warnings", ())))}
    for section in ("timings", "skipped_frames", "measures"):
        for key, value in (manifest.get(section) or {}).items():
            if isinstance(value, int | float) and math.isfinite(value):
                metrics[f"{section}.{_metric_name(key)}"] = float(value)
    for key in ("frames", "duration_s", "bytes"):
        value = manifest.get("output", {}).get(key)
        if value is not None:
            metrics[f"output.{key}"] = float(value)
    return metrics


def _metric_name(text: str) -> str:
    """A name that MLflow accepts."""
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in str(text))
