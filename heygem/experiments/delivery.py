"""Gives MLflow the records of a spool: each once, however often it is interrupted.

The id of a record is a tag of its run. A record without a mark may have been given before its
process died, so MLflow is asked for a run with that tag first; such a run is completed, not made
again. A store that was removed or replaced meanwhile is made again, and gets all records of the
spool.
"""

import contextlib
import csv
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heygem.core.publish import has_hash
from heygem.core.types import PathLike
from heygem.experiments import spool as spool_files
from heygem.experiments import store
from heygem.experiments.spool import Spool

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

RECORD_TAG = "heygem.record"
COPY_BYTES_PER_S = 20e6  # of a slow disk; the store receives a copy of each video
CURVE_METRIC = "lip_aperture"
CURVE_POINTS = 1000  # of one video; MLflow takes so many in one call
_ALL_RUNS = 3  # MLflow's ViewType.ALL: a run that the user deleted is not made again
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE")


class Delivery:
    """Gives the records of one spool to a store.

    Parameters
    ----------
    folder : path
        Of the store.
    spool : Spool
    answered : callable, optional
        Called before each call of MLflow with the seconds that it may take beyond the usual.
    """

    def __init__(
        self,
        folder: PathLike,
        spool: Spool,
        *,
        answered: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._folder = Path(folder).absolute()
        self.spool = spool
        self._answered = answered
        self._opened: MlflowClient | None = None
        self._state: tuple[int, int] | None = None

    def deliver(self, record: dict[str, Any]) -> str:
        """Give one record to MLflow, if it does not have it; returns the id of its run.

        Raises
        ------
        Exception
            MLflow, SQLAlchemy and the disk have no common class of errors.
        """
        client = self._client()
        if record["id"] in self.spool.delivered:
            return self.spool.delivered[record["id"]]
        kinds = {"batch": self._batch, "item": self._item, "end": self._end}
        try:
            run_id = kinds[record["kind"]](client, record)
        except Exception as error:
            if getattr(error, "error_code", "") not in _REFUSALS:
                raise
            # Another try would be refused too, and everything behind it would wait for ever.
            log.warning("MLflow refuses the record of %r: %s", record.get("name"), error)
            run_id = ""
        self.spool.mark(record["id"], run_id)
        return run_id

    def deliver_all(self) -> None:
        """Give every record to MLflow; see `deliver`."""
        for _ in range(2):  # again if the store turns out to be another one
            for record in self.spool.records:
                self.deliver(record)
            if not self.spool.waiting():
                return

    def _client(self) -> "MlflowClient":
        """A client of the store as it is now."""
        state = self._store_state()
        if self._opened is None or state is None or state != self._state:
            self._answered(0.0)
            self._opened = store.open_client(self._folder, answered=lambda: self._answered(0.0))
            now = self._store_state()
            if self._state is not None and now != self._state:
                log.warning("the MLflow store %s was replaced; recording again", self._folder)
                self.spool.forget_deliveries()
            self._state = now
        return self._opened

    def _store_state(self) -> tuple[int, int] | None:
        with contextlib.suppress(OSError):
            status = os.stat(self._folder / store.DATABASE)
            return status.st_dev, status.st_ino
        return None

    def _run(self, client: "MlflowClient", record: dict[str, Any], tags: dict[str, str]) -> str:
        """Id of the run with the tag of a record; made where there is none."""
        self._answered(0.0)
        experiment = store.experiment_id(client, self._folder, record["experiment"])
        with spool_files.exclusive(self._folder):
            found = client.search_runs(
                [experiment],
                filter_string=f"tags.`{RECORD_TAG}` = '{record['id']}'",
                run_view_type=_ALL_RUNS,
                max_results=1,
            )
            if found:
                return str(found[0].info.run_id)
            self._answered(0.0)
            run = client.create_run(
                experiment,
                start_time=record["started_ms"],
                run_name=record["name"],
                tags={**record["tags"], **tags, RECORD_TAG: record["id"]},
            )
        return str(run.info.run_id)

    def _batch(self, client: "MlflowClient", record: dict[str, Any]) -> str:
        run_id = self._run(client, record, {})
        self._answered(0.0)
        self._log_recipe(client, run_id, record)
        return run_id

    def _log_recipe(self, client: "MlflowClient", run_id: str, record: dict[str, Any]) -> None:
        settings = record.get("params", {})
        if record["kind"] == "end" and settings:  # of a batch made again, perhaps with others
            recorded = client.get_run(run_id).data.params
            settings = {key: each for key, each in settings.items() if key not in recorded}
        store.log_params(client, run_id, settings)
        if record.get("recipe"):
            client.log_text(run_id, record["recipe"], "params.yaml")

    def _item(self, client: "MlflowClient", record: dict[str, Any]) -> str:
        parent = self._parent(client, record)
        if record.get("single"):
            run_id = parent
            client.update_run(run_id, name=record["name"])
            for key, value in record["tags"].items():
                client.set_tag(run_id, key, value)
        else:
            run_id = self._run(client, record, {"mlflow.parentRunId": parent})
        self._answered(0.0)
        store.log_params(client, run_id, record["params"])
        store.log_metrics(client, run_id, record["metrics"], record["ended_ms"])
        self._copy_files(client, run_id, record)
        self._answered(0.0)
        client.set_terminated(run_id, record["status"], record["ended_ms"])
        return run_id

    def _end(self, client: "MlflowClient", record: dict[str, Any]) -> str:
        run_id = self._parent(client, record)
        self._answered(0.0)
        self._log_recipe(client, run_id, record)
        for key, value in record.get("tags", {}).items():
            client.set_tag(run_id, key, value)
        if record.get("name"):
            client.update_run(run_id, name=record["name"])
        store.log_metrics(client, run_id, record["metrics"], record["ended_ms"])
        client.set_terminated(run_id, record["status"], record["ended_ms"])
        return run_id

    def _parent(self, client: "MlflowClient", record: dict[str, Any]) -> str:
        """Id of the batch's run; all records again if this store never had it.

        An id in the spool proves nothing: while no process had the store open, it may have been
        replaced.
        """
        from mlflow.exceptions import MlflowException

        batch = next(each for each in self.spool.records if each["id"] == record["batch"])
        run_id = self.spool.delivered.get(batch["id"])
        if run_id is not None:
            self._answered(0.0)
            try:
                client.get_run(run_id)
                return run_id
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
            self.spool.forget_deliveries()
        return self.deliver(batch)

    def _copy_files(self, client: "MlflowClient", run_id: str, record: dict[str, Any]) -> None:
        """Store the video and its figures, as far as they are still those that were recorded."""
        video = record.get("video")
        if not video:
            return
        path = Path(video["path"])
        if not has_hash(path, video["sha256"]):
            client.set_tag(run_id, "heygem.artifacts", "the video was changed or removed meanwhile")
            return
        self._answered(path.stat().st_size / COPY_BYTES_PER_S)
        client.log_artifact(run_id, str(path), "video")
        store.log_series(
            client, run_id, CURVE_METRIC, _curve(Path(video["details"])), record["ended_ms"]
        )
        for file in sorted(Path(video["details"]).glob("[!.]*")):
            self._answered(0.0)
            client.log_artifact(run_id, str(file))


def _curve(details: Path) -> list[tuple[float, float]]:
    """Times [s] and lip aperture [IOD] of a video, for a chart; at most `CURVE_POINTS` of them."""
    try:
        with open(details / "lip_curve.csv", newline="") as stream:
            rows = [(float(row["time_s"]), float(row["opening"])) for row in csv.DictReader(stream)]
    except (OSError, ValueError, KeyError):
        return []  # an engine that draws without a trajectory has none
    return rows[:: -(-len(rows) // CURVE_POINTS) or 1]


@dataclass(frozen=True)
class Delivered:
    """What `deliver_pending` did: records that MLflow got, records that wait, and why they do."""

    records: int = 0
    waiting: int = 0
    problem: str = ""


def deliver_pending(
    folder: PathLike,
    *,
    stop: Callable[[], bool] = lambda: False,
    answered: Callable[[float], None] = lambda _seconds: None,
) -> Delivered:
    """Give MLflow what ended processes have left in the spool of a store.

    Parameters
    ----------
    folder : path
        Of the store.
    stop : callable
        Asked before each record whether to leave the rest for another time.
    answered : callable
        As of `Delivery`.
    """
    delivered = waiting = 0
    problem = ""
    for path in spool_files.pending(folder):
        spool = Spool.take(path)
        if spool is None:
            continue
        before = len(spool.waiting())
        try:
            if not problem and not stop():
                _deliver_abandoned(Delivery(folder, spool, answered=answered), stop)
        except Exception as error:
            log.debug("MLflow failed", exc_info=True)
            problem = describe(error)
        left = len(spool.waiting())
        delivered, waiting = delivered + max(0, before - left), waiting + left
        spool.close(remove=left == 0)
    return Delivered(delivered, waiting, problem)


def _deliver_abandoned(delivery: Delivery, stop: Callable[[], bool]) -> None:
    """Deliver the records of a process that has ended; one that was killed wrote no end."""
    records = delivery.spool.records
    ended = {record["batch"] for record in records if record["kind"] == "end"}
    for batch in [each for each in records if each["kind"] == "batch"]:
        if batch["id"] not in ended and not batch.get("shared"):
            last_ms = max(each.get("ended_ms", each["started_ms"]) for each in records)
            end = {"kind": "end", "id": f"{batch['id']}-end", "batch": batch["id"]}
            delivery.spool.append(end | {"ended_ms": last_ms, "status": "KILLED", "metrics": {}})
    for _ in range(2):  # as `Delivery.deliver_all`
        for record in records:
            if stop():
                return
            delivery.deliver(record)
        if not delivery.spool.waiting():
            return


def describe(error: BaseException) -> str:
    """An error of MLflow in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
