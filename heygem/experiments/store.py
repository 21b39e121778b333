"""MLflow: one run per batch, one child per video.

The store is SQLite with artifacts beside it, since MLflow no longer takes a plain folder. A video
never waits for it and is never lost with it: all calls are made by one thread of their own, the
first that fails is warned about, and the rest are dropped.
"""

import contextlib
import logging
import os
import queue
import socket
import sqlite3
import threading
import time
from pathlib import Path

import psutil

from heygem.config.params import Params
from heygem.config.renamed import with_current_names

log = logging.getLogger(__name__)

START_S = 60.0  # a new store is created within this; its tables take 6 s on a slow disk
PATIENCE_S = 5.0  # how long the end of a batch waits for one call once the store answers
COPY_BYTES_PER_S = 20e6  # a slow disk; the store gets a copy of each video
MAX_VALUE = 6000  # characters of a parameter; MLflow refuses longer ones
_DATABASE = "mlflow.db"
_HOST, _PID, _BORN = "heygem.host", "heygem.pid", "heygem.pid_started"


def store(folder) -> str:
    """URI of the store in a folder, absolute because notebooks run in folders of their own."""
    return f"sqlite:///{Path(folder).absolute() / _DATABASE}"


def runs_address(folder) -> str:
    """Address of the runs last recorded in a folder's store, below the root of the MLflow UI.

    Left to itself that page opens among empty charts for chat applications.
    """
    database = (Path(folder).absolute() / _DATABASE).as_uri()
    with contextlib.suppress(sqlite3.Error):
        with contextlib.closing(sqlite3.connect(f"{database}?mode=ro", uri=True)) as store_:
            newest = "select experiment_id from runs order by start_time desc limit 1"
            row = store_.execute(newest).fetchone()
        if row is not None:
            return f"#/experiments/{row[0]}/runs?workflowType=machine_learning"
    return "#/experiments?workflowType=machine_learning"


def quiet():
    """Set MLflow's switches before it is imported: no telemetry, no endless retries."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    # Alembic tells about each of its forty steps when the store is created.
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)


def experiment(client, folder, name: str) -> str:
    """Id of an experiment; a new one keeps its artifacts in the store's own folder."""
    from mlflow.exceptions import MlflowException

    known = client.get_experiment_by_name(name)
    if known is not None:
        return known.experiment_id
    place = Path(folder).absolute() / "artifacts" / name.replace("/", "_")
    try:
        return client.create_experiment(name, artifact_location=place.as_uri())
    except MlflowException:  # another process was quicker
        return client.get_experiment_by_name(name).experiment_id


def note(params: Params, *, kind: str, name: str, settings: dict, numbers: dict, folder) -> str:
    """Record something that is finished as one run of the experiment `EXPERIMENT-KIND`.

    settings : values by key; numbers : finite floats by name; folder : kept with the run.

    Returns
    -------
    str
        The run's id.
    """
    quiet()
    from mlflow.tracking import MlflowClient

    place = Path(params.mlflow.folder).absolute()
    place.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=store(place))
    known = experiment(client, place, f"{params.mlflow.experiment}-{kind}")
    tags = {**_owner(), "params_hash": params.digest(), "heygem.kind": kind}
    identity = client.create_run(known, run_name=name, tags=tags).info.run_id
    log_settings(client, identity, settings)
    log_numbers(client, identity, numbers)
    client.log_artifacts(identity, str(folder))
    client.set_terminated(identity)
    return identity


def log_settings(client, run_id: str, settings: dict):
    """Values of a run by key, as many and as long as MLflow takes them."""
    from mlflow.entities import Param

    rows = [
        Param(key, ("" if value is None else str(value))[:MAX_VALUE])
        for key, value in settings.items()
    ]
    for i in range(0, len(rows), 100):  # MLflow takes a hundred at a time
        client.log_batch(run_id, params=rows[i : i + 100])


def log_numbers(client, run_id: str, numbers: dict):
    """Numbers of a run by name."""
    from mlflow.entities import Metric

    now_ms = _now_ms()
    rows = [Metric(key, value, now_ms, 0) for key, value in numbers.items()]
    for i in range(0, len(rows), 1000):  # MLflow takes a thousand at a time
        client.log_batch(run_id, metrics=rows[i : i + 1000])


@contextlib.contextmanager
def batch(params: Params, *, names: list[str]):
    """Track a batch; yields an object whose `log(outcome)` records one `batch.Outcome`."""
    if not params.mlflow.enabled:
        yield _Silent()
        return
    tracker = Tracker(params, names)
    status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    finally:
        tracker.close(status)


class _Silent:
    problem = address = ""

    def log(self, outcome):
        pass


class Tracker:
    """Hands everything to a thread that talks to MLflow."""

    def __init__(self, params: Params, names: list[str]):
        self._params = params
        self._jobs: queue.SimpleQueue = queue.SimpleQueue()
        self._broken = threading.Event()
        self.problem = ""  # why nothing is recorded, in words
        self.address = ""  # of the batch's run in the MLflow UI, below its root
        self._ended = threading.Event()
        self._beat = time.monotonic()  # when the thread last finished a call
        self._patience_s = START_S
        self._started_ms = _now_ms()
        self._jobs.put(self._import)
        self._jobs.put(lambda: self._open(names))
        threading.Thread(target=self._work, name="mlflow", daemon=True).start()

    def log(self, outcome):
        """Record one finished item as a child run."""
        ended_ms = _now_ms()
        self._jobs.put(lambda: self._child(outcome, ended_ms))

    def close(self, status: str):
        """Record the end; waits while the store makes progress, then gives up with a warning."""
        self._jobs.put(lambda: self._finish(status))
        self._jobs.put(None)
        while not self._ended.wait(0.05):
            if time.monotonic() - self._beat > self._patience_s:
                self._give_up(f"no answer within {self._patience_s:.0f} s")
                return

    def _work(self):
        try:
            while (job := self._jobs.get()) is not None:
                if not self._broken.is_set():
                    self._beat = time.monotonic()
                    job()
                    self._beat = time.monotonic()
        except Exception as error:
            log.debug("MLflow failed", exc_info=True)
            self._give_up(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        finally:
            self._ended.set()

    def _give_up(self, reason):
        if not self._broken.is_set():
            self._broken.set()
            self.problem = (
                f"MLflow does not record this run ({reason}); videos are not affected; "
                f"store: {store(self._params.mlflow.folder)}"
            )
            log.warning(self.problem)

    def _import(self):
        quiet()
        from mlflow.tracking import MlflowClient

        self._client_class = MlflowClient

    def _open(self, names):
        folder = Path(self._params.mlflow.folder).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / _DATABASE).exists():
            self._patience_s = PATIENCE_S
        self._client = self._client_class(tracking_uri=store(folder))
        self._experiment = experiment(self._client, folder, self._params.mlflow.experiment)
        self._close_stale()
        run = self._client.create_run(
            self._experiment,
            start_time=self._started_ms,
            run_name=f"{len(names)} videos" if len(names) != 1 else names[0],
            tags={**_owner(), "params_hash": self._params.digest(), "heygem.kind": "batch"},
        )
        self._parent = run.info.run_id
        self.address = f"#/experiments/{self._experiment}/runs/{self._parent}"
        log_settings(self._client, self._parent, self._params.dotted())
        self._client.log_text(self._parent, self._params.to_yaml(), "params.yaml")
        self._monitor = self._watch_system()
        self._counts: dict[str, int] = {}
        self._patience_s = PATIENCE_S

    def _close_stale(self):
        """End the runs of processes that died: MLflow would show them as running for ever."""
        running = self._client.search_runs(
            [self._experiment],
            f"attributes.status = 'RUNNING' and tags.`{_HOST}` = '{socket.gethostname()}'",
        )
        for run in running:
            tags = run.data.tags
            if not _alive(tags.get(_PID), tags.get(_BORN)):
                self._client.set_terminated(run.info.run_id, status="KILLED")

    def _watch_system(self):
        """CPU, memory, disk, network and GPU over time, on the parent run."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)
        try:
            monitor = SystemMetricsMonitor(
                self._parent,
                sampling_interval=2,
                tracking_uri=store(self._params.mlflow.folder),
            )
            monitor.start()
            return monitor
        except Exception:  # a machine without such counters still records its videos
            log.debug("no system metrics", exc_info=True)
            return None

    def _child(self, outcome, ended_ms):
        self._counts[outcome.status] = self._counts.get(outcome.status, 0) + 1
        content, own = outcome.manifest, outcome.params or self._params
        tags = {
            **_owner(),
            "params_hash": own.digest(),
            "heygem.kind": "video",
            "heygem.status": outcome.status,
            "heygem.video": str(outcome.video)[:MAX_VALUE],
            "heygem.sound": outcome.speech[:MAX_VALUE],
            "mlflow.parentRunId": self._parent,
        }
        if outcome.error:
            tags["heygem.error"] = outcome.error[:MAX_VALUE]
        if content:
            tags["heygem.item_id"] = content["id"]
            tags["heygem.output_sha256"] = content["output"]["sha256"]
        run = self._client.create_run(
            self._experiment,
            start_time=ended_ms - round(outcome.seconds * 1000),
            run_name=outcome.name,
            tags=tags,
        )
        identity = run.info.run_id
        log_settings(self._client, identity, own.dotted())
        numbers = metrics(content) | {"seconds": outcome.seconds}
        log_numbers(self._client, identity, numbers)
        if outcome.status == "done":
            self._patience_s = PATIENCE_S + outcome.output.stat().st_size / COPY_BYTES_PER_S
            self._client.log_artifact(identity, str(outcome.output), "video")
            for detail in sorted(outcome.details.glob("[!.]*")):
                self._client.log_artifact(identity, str(detail))
            self._patience_s = PATIENCE_S
        status = {"done": "FINISHED", "skipped": "FINISHED", "cancelled": "KILLED"}
        self._client.set_terminated(identity, status.get(outcome.status, "FAILED"), ended_ms)

    def _finish(self, status):
        if self._monitor is not None:
            self._monitor.finish()
        counts = {f"items.{k}": float(v) for k, v in self._counts.items()}
        log_numbers(self._client, self._parent, counts)
        if self._counts.get("cancelled"):
            status = "KILLED"
        elif self._counts.get("failed"):
            status = "FAILED"
        self._client.set_terminated(self._parent, status)


def metrics(content: dict) -> dict[str, float]:
    """Numbers of a manifest under dotted names: timings, counts, measures."""
    if not content:
        return {}
    found = {"warnings": float(len(content.get("warnings", ())))}
    for section in ("timings", "skipped_frames", "measures"):
        for key, value in (content.get(section) or {}).items():
            if isinstance(value, int | float) and value == value and abs(value) != float("inf"):
                found[f"{section}.{_key(key)}"] = float(value)
    for key in ("frames", "duration_s", "bytes"):
        value = content.get("output", {}).get(key)
        if value is not None:
            found[f"output.{key}"] = float(value)
    return found


def _key(text):
    """A name MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in str(text))


def _owner() -> dict[str, str]:
    process = psutil.Process()
    return {
        _HOST: socket.gethostname(),
        _PID: str(process.pid),
        _BORN: f"{process.create_time():.0f}",
    }


def _alive(pid, born) -> bool:
    """Whether that very process still runs; its number alone may have been given to another."""
    try:
        process = psutil.Process(int(pid))
        return abs(process.create_time() - float(born)) < 2
    except (psutil.Error, TypeError, ValueError):
        return False


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def run_of(entry):
    """Where MLflow shows the run of a ledger row: a dict of store and run id, or None.

    MLflow is a convenience beside the ledger: a store that is gone or broken is no fault here.
    """
    told = with_current_names(entry.body.get("params", {}), notify=False).get("mlflow", {})
    folder = Path(told.get("folder") or "mlruns").absolute()
    if not told.get("enabled") or not (folder / "mlflow.db").is_file():
        return None
    quiet()
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=store(folder))
        places = [e.experiment_id for e in client.search_experiments()]
        wish = f"tags.`heygem.output_sha256` = '{entry.subject}'"
        runs = client.search_runs(places, filter_string=wish, max_results=1)
    except (ImportError, MlflowException, OSError):
        return None
    if not runs:
        return None
    info = runs[0].info
    return {"folder": str(folder), "experiment_id": info.experiment_id, "run_id": info.run_id}
