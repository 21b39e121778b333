"""The MLflow store: a SQLite database in a folder, with the artifacts of all runs beside it."""

import contextlib
import logging
import math
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from heygem.config.params import Params
from heygem.config.renamed import with_current_names
from heygem.core.types import PathLike
from heygem.experiments.database import DATABASE, prepare
from heygem.experiments.relocation import ARTIFACTS
from heygem.provenance.ledger import Entry

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MAX_VALUE = 6000  # characters of a parameter or tag; MLflow refuses longer ones
#: The UI has two halves; without it, every address opens the one for chat applications.
_HALF = "workflowType=machine_learning"
# Tags that identify the process that records a run.
HOST_TAG, PID_TAG, PROCESS_START_TAG = "heygem.host", "heygem.pid", "heygem.pid_started"


def tracking_uri(folder: PathLike) -> str:
    """URI of the store in a folder; absolute, because notebooks change their working folder."""
    return f"sqlite:///{Path(folder).absolute() / DATABASE}"


def exists(folder: PathLike) -> bool:
    """Whether anything was ever recorded in a folder."""
    return (Path(folder) / DATABASE).is_file()


def open_client(folder: PathLike, *, answered: Callable[[], None] = lambda: None) -> "MlflowClient":
    """A client of the store in a folder, which is made on first use; see `database.prepare`.

    Raises
    ------
    OSError
        The folder cannot be written.
    """
    disable_telemetry()
    from mlflow.tracking import MlflowClient

    prepare(Path(folder).absolute(), answered=answered)
    return MlflowClient(tracking_uri=tracking_uri(folder))


def latest_runs_path(folder: PathLike) -> str:
    """Path below the root of the MLflow UI that lists the experiment of the newest run.

    The root itself opens charts for chat applications, which are empty here.
    """
    database = (Path(folder).absolute() / DATABASE).as_uri()
    with contextlib.suppress(sqlite3.Error):
        with contextlib.closing(sqlite3.connect(f"{database}?mode=ro", uri=True)) as connection:
            newest = "select experiment_id from runs order by start_time desc limit 1"
            row = connection.execute(newest).fetchone()
        if row is not None:
            return f"#/experiments/{row[0]}/runs?{_HALF}"
    return f"#/experiments?{_HALF}"


def run_path(experiment: str, run_id: str) -> str:
    """Path of a run below the root of the MLflow UI; see `latest_runs_path`."""
    return f"#/experiments/{experiment}/runs/{run_id}?{_HALF}"


def disable_telemetry() -> None:
    """Configure MLflow before it is imported: no telemetry, no long retries, no migration log."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    # A connection that is kept open keeps writing into a database that was removed meanwhile.
    os.environ.setdefault("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    # Alembic logs each of its forty steps when the store is created.
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)


def experiment_id(client: "MlflowClient", folder: PathLike, name: str) -> str:
    """Id of an experiment; a new one stores its artifacts in the store's own folder."""
    from mlflow.exceptions import MlflowException

    existing = client.get_experiment_by_name(name)
    if existing is not None:
        return existing.experiment_id
    artifacts = Path(folder).absolute() / ARTIFACTS / name.replace("/", "_")
    try:
        return client.create_experiment(name, artifact_location=artifacts.as_uri())
    except MlflowException:
        existing = client.get_experiment_by_name(name)  # created by another process meanwhile
        if existing is None:
            raise
        return existing.experiment_id


def record_run(
    params: Params,
    *,
    kind: str,
    name: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, float],
    folder: PathLike,
) -> str:
    """Record finished work as one run of the experiment `EXPERIMENT-KIND`.

    Parameters
    ----------
    params
        Its section `mlflow` names store and experiment.
    kind, name
        Tag `heygem.kind` and name of the run.
    settings, metrics
        Logged as parameters and metrics.
    folder
        Its files are stored with the run.

    Returns
    -------
    str
        The run's id.
    """
    store_folder = Path(params.mlflow.folder).absolute()
    client = open_client(store_folder)
    experiment = experiment_id(client, store_folder, f"{params.mlflow.experiment}-{kind}")
    tags = {**owner_tags(), "params_hash": params.digest(), "heygem.kind": kind}
    run_id = client.create_run(experiment, run_name=name, tags=tags).info.run_id
    log_params(client, run_id, settings)
    log_metrics(client, run_id, metrics)
    client.log_artifacts(run_id, str(folder))
    client.set_terminated(run_id)
    return run_id


def storable(value: object) -> str:
    """A value as text that the database takes: cut, file names that are not UTF-8 escaped."""
    return str(value)[:MAX_VALUE].encode("utf-8", "backslashreplace").decode()[:MAX_VALUE]


def log_params(client: "MlflowClient", run_id: str, settings: Mapping[str, Any]) -> None:
    """Log settings as parameters of a run; None becomes empty, long values are cut."""
    from mlflow.entities import Param

    rows = [Param(key, "" if value is None else storable(value)) for key, value in settings.items()]
    for i in range(0, len(rows), 100):  # MLflow's limit of one call
        client.log_batch(run_id, params=rows[i : i + 100])


def grouped_name(dotted: str) -> str:
    """The name of a metric in the store: "timings/render_s" for "timings.render_s".

    MLflow's page puts metrics with the same first part into one section of its charts.
    """
    return dotted.replace(".", "/", 1)


def dotted_name(grouped: str) -> str:
    """The reverse of `grouped_name`; what MLflow measures of the machine stays "system/...".

    Names of earlier versions, which have no group, stay as they are.
    """
    return grouped if grouped.startswith("system/") else grouped.replace("/", ".", 1)


def log_metrics(
    client: "MlflowClient",
    run_id: str,
    metrics: Mapping[str, float],
    timestamp_ms: int | None = None,
) -> None:
    """Log finite numbers as metrics of a run; the same ones of the same time are stored once.

    They are stored under the names of `grouped_name`.
    """
    from mlflow.entities import Metric

    timestamp_ms = now_ms() if timestamp_ms is None else timestamp_ms
    rows = [Metric(grouped_name(key), value, timestamp_ms, 0) for key, value in metrics.items()]
    for i in range(0, len(rows), 1000):  # MLflow's limit of one call
        client.log_batch(run_id, metrics=rows[i : i + 1000])


def log_series(
    client: "MlflowClient",
    run_id: str,
    key: str,
    points: Sequence[tuple[float, float]],
    timestamp_ms: int,
) -> None:
    """Log values over time [s] as one metric; its steps are milliseconds from the beginning."""
    from mlflow.entities import Metric

    rows = [
        Metric(key, value, timestamp_ms + step, step)
        for step, value in ((round(1000 * time_s), value) for time_s, value in points)
        if math.isfinite(value)
    ]
    for i in range(0, len(rows), 1000):  # MLflow's limit of one call
        client.log_batch(run_id, metrics=rows[i : i + 1000])


def owner_tags() -> dict[str, str]:
    """Tags that identify this process, see `owner_is_running`."""
    process = psutil.Process()
    return {
        HOST_TAG: socket.gethostname(),
        PID_TAG: str(process.pid),
        PROCESS_START_TAG: f"{process.create_time():.0f}",
    }


def owner_is_running(tags: Mapping[str, str]) -> bool:
    """Whether the process that recorded a run still exists, on this host.

    A process id alone is not enough: the system may have reused it.
    """
    try:
        process = psutil.Process(int(tags[PID_TAG]))
        return abs(process.create_time() - float(tags[PROCESS_START_TAG])) < 2
    except (psutil.Error, KeyError, ValueError):
        return False


def now_ms() -> int:
    """Unix time in milliseconds, as MLflow counts."""
    return time.time_ns() // 1_000_000


def find_run(entry: Entry) -> dict[str, str] | None:
    """The run that recorded the result of a ledger row.

    MLflow is a convenience beside the ledger: a missing or broken store is no error here.

    Returns
    -------
    dict or None
        `folder` of the store, `experiment_id` and `run_id`; None without a run.
    """
    params = with_current_names(entry.body.get("params", {}), notify=False)
    settings = params.get("mlflow", {})
    folder = Path(settings.get("folder") or "mlruns").absolute()
    if not settings.get("enabled") or not exists(folder):
        return None
    try:
        from mlflow.exceptions import MlflowException
    except ImportError:
        return None
    try:
        client = open_client(folder)
        experiments = [each.experiment_id for each in client.search_experiments()]
        filter_string = f"tags.`heygem.output_sha256` = '{entry.subject}'"
        runs = client.search_runs(experiments, filter_string=filter_string, max_results=1)
    except (MlflowException, OSError):
        return None
    if not runs:
        return None
    info = runs[0].info
    return {"folder": str(folder), "experiment_id": info.experiment_id, "run_id": info.run_id}
