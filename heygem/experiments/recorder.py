"""What gives one spool to MLflow, and the machine's load meanwhile, in this process."""

import gc
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from heygem.experiments import store
from heygem.experiments.delivery import Delivery, deliver_pending
from heygem.experiments.spool import Spool

if TYPE_CHECKING:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)


class Recorder:
    """The calls of MLflow that a batch needs.

    Parameters
    ----------
    folder : Path
        Of the store.
    spool : Spool
        Of the batch.
    answered : callable
        As of `Delivery`.
    """

    def __init__(self, folder: Path, spool: Spool, *, answered: Callable[[float], None]) -> None:
        self._folder, self._answered = folder, answered
        self._delivery = Delivery(folder, spool, answered=answered)
        self._monitor: SystemMetricsMonitor | None = None

    def load(self) -> None:
        """Load MLflow. It takes seconds, which say nothing about the store."""
        import_mlflow()

    def deliver_all(self) -> None:
        """Give MLflow all records; see `Delivery.deliver_all`."""
        self._delivery.deliver_all()

    def watch(self, run_id: str, *, loads: bool) -> str:
        """The address of a batch's run; with `loads`, record the machine's load on it from now on.

        That is CPU, memory, disk, network and GPU.
        """
        client = store.open_client(self._folder)
        experiment = client.get_run(run_id).info.experiment_id
        _close_abandoned_runs(client, experiment)
        if loads:
            self._monitor = _start_system_monitor(self._folder, run_id)
        return store.run_path(experiment, run_id)

    def stop_watching(self) -> None:
        """End the record of the machine's load."""
        if self._monitor is not None:
            self._monitor.finish()

    def deliver_pending(self, stop: Callable[[], bool]) -> None:
        """Give MLflow what earlier batches have left, until `stop`."""
        deliver_pending(self._folder, stop=stop, answered=self._answered)

    def close(self) -> None:
        """Nothing: a call that hangs is left to itself."""


def import_mlflow() -> None:
    """Load what talks to a store."""
    store.disable_telemetry()
    was_enabled = gc.isenabled()
    gc.disable()  # a fifth of the time is a search for garbage among what stays
    try:
        import mlflow.store.tracking.sqlalchemy_store
        import mlflow.tracking  # noqa: F401
    finally:
        if was_enabled:
            gc.enable()


def _close_abandoned_runs(client: "MlflowClient", experiment: str) -> None:
    """End runs whose process has died: MLflow would list them as running for ever."""
    host = socket.gethostname()
    running = client.search_runs(
        [experiment], f"attributes.status = 'RUNNING' and tags.`{store.HOST_TAG}` = '{host}'"
    )
    for run in running:
        if not store.owner_is_running(run.data.tags):
            client.set_terminated(run.info.run_id, status="KILLED")


def _start_system_monitor(folder: Path, run_id: str) -> "SystemMetricsMonitor | None":
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
    try:
        monitor = SystemMetricsMonitor(
            run_id, sampling_interval=2, tracking_uri=store.tracking_uri(folder)
        )
        monitor.start()
        return monitor
    except Exception:  # a machine without such counters still records its videos
        log.debug("no system metrics", exc_info=True)
        return None
