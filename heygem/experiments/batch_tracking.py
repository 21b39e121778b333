"""A batch in MLflow: one run for the batch, with one child run per item; one for a single video.

A video never waits for MLflow and is never lost with it, nor is its record: each record is first
written to a spool beside the store (`heygem.experiments.spool`), and one daemon thread gives them
to MLflow (`heygem.experiments.recorder`), or to a process that does (`delivery_process`). The end
of a batch waits a moment for it. What MLflow has not taken by then is delivered by the next batch,
or by `heygem experiments deliver`.

MLflow's own asynchronous logging (`synchronous=False`, MLflow 3.17.2) cannot replace that thread:
it covers parameters, metrics and tags only, while creating the store, creating runs and copying
videos block; at exit it joins its threads without a time limit, so that a locked store would keep
the process alive; and it logs one error per call.
"""

import contextlib
import logging
import os
import secrets
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from heygem.config.params import Params
from heygem.core.interrupts import is_cancelled
from heygem.experiments import batch_summary, store
from heygem.experiments.delivery import describe
from heygem.experiments.delivery_process import RemoteRecorder
from heygem.experiments.recorder import Recorder, import_mlflow
from heygem.experiments.run_records import (
    ItemOutcome,
    batch_record,
    end_record,
    folder_name,
    item_record,
    shared_batch_record,
    shared_id,
    single_record,
    storable_settings,
)
from heygem.experiments.spool import Spool

log = logging.getLogger(__name__)

IMPORT_TIMEOUT_S = 60.0  # for MLflow itself; how long that takes says nothing about the store
STOP_TIMEOUT_S = 1.5  # likewise, of a batch that the user stopped
CALL_TIMEOUT_S = 5.0  # the end of a batch waits this long for one call
RETRY_S = 20.0  # after a failure; meanwhile records gather in the spool
SILENCE_S = 300.0  # after a store did not answer, batches of this process do not wait for it


class Tracker(Protocol):
    """Records the items of a batch."""

    problem: str  # why MLflow does not have everything, empty if all is well
    address: str  # of the batch's run in the MLflow UI, below its root

    def log(self, outcome: ItemOutcome) -> None:
        """Record one finished item."""


class _NoTracker:
    problem = address = ""

    def log(self, outcome: ItemOutcome) -> None:
        pass

    def end(self, outcomes: Iterable[ItemOutcome], elapsed_s: float) -> None:
        pass

    def end_with(
        self, items: Sequence[batch_summary.ItemFacts], elapsed_s: float, **more: Any
    ) -> None:
        pass


@contextlib.contextmanager
def track_batch(
    params: Params, *, names: list[str], batch: str = "", own_process: bool = False
) -> Iterator[Tracker]:
    """Record items with these names; does nothing if `mlflow.enabled` is false.

    Parameters
    ----------
    params : Params
    names : list of str
    batch : str
        Of a batch whose items several processes make: its name, under which all of them find its
        run; see `join_batch`. Default: these items are the batch.
    own_process : bool
        Give records to MLflow in another process, unless this one has loaded MLflow, or cannot
        pass a pipe on (Windows); see `heygem.experiments.delivery_process`.
    """
    if not params.mlflow.enabled:
        yield _NoTracker()
        return
    tracker = BatchTracker(params, names, batch, own_process=own_process)
    status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    finally:
        tracker.close(status)


def join_batch(params: Params, batch: str) -> "BatchTracker | _NoTracker":
    """The tracker of a batch whose items several processes make, to `end` its run.

    Parameters
    ----------
    params : Params
        The recipe of the batch.
    batch : str
        As of `track_batch`.
    """
    return BatchTracker(params, [], batch) if params.mlflow.enabled else _NoTracker()


_silent_since: dict[Path, float] = {}  # stores that did not answer, by monotonic time


class BatchTracker:
    """Writes records to a spool, and has a thread give them to MLflow; see `Tracker`."""

    def __init__(
        self,
        params: Params,
        names: list[str],
        batch: str = "",
        *,
        own_process: bool = False,
    ) -> None:
        self.problem = ""
        self.address = ""
        self._params = params
        self._folder = Path(params.mlflow.folder).absolute()
        self._outcomes: list[batch_summary.ItemFacts] = []
        self._own_process = own_process
        self._recorder: Recorder | RemoteRecorder | None = None
        self._news = threading.Event()  # a record was added, or the batch has ended
        self._is_closing = self._has_given_up = False
        self._has_ended = threading.Event()
        self._last_call = time.monotonic()  # when the thread last began a call of MLflow
        self._timeout_s = IMPORT_TIMEOUT_S
        self._started_s = time.monotonic()
        self._is_shared, self._name = bool(batch), batch or folder_name(params)
        self._count, self._is_single = len(names), not batch and len(names) == 1
        self._batch_id = shared_id(params, batch) if batch else secrets.token_hex(16)
        self._spool: Spool | None = None
        try:
            self._spool = Spool.create(self._folder)
        except OSError as error:
            self._give_up(f"no record can be written: {describe(error)}")
            self._has_ended.set()
            return
        self._append(self._begin(names, batch))
        threading.Thread(target=self._deliver, name="mlflow", daemon=True).start()

    def _begin(self, names: list[str], batch: str) -> dict[str, Any]:
        """The record of the begin."""
        if batch:
            return shared_batch_record(self._params, batch)
        if self._is_single:
            return single_record(self._params, names[0], self._batch_id)
        return batch_record(self._params, names, self._batch_id)

    def log(self, outcome: ItemOutcome) -> None:
        """Record one finished item as a child run, or a single video in the only one."""
        self._outcomes.append(batch_summary.facts(outcome))
        params, is_single = outcome.params or self._params, self._is_single
        self._append(item_record(outcome, params, self._batch_id, is_single=is_single))

    def close(self, status: str) -> None:
        """Record the end; wait while the store answers, then leave the rest to a later delivery.

        A batch that was stopped waits for a moment only, and so does one whose store did not
        answer the batch before it.
        """
        if not self._is_shared:
            elapsed_s = time.monotonic() - self._started_s
            name = "" if self._is_single else self._name
            self._append(
                end_record(
                    self._outcomes, self._batch_id, status, elapsed_s,
                    name=name, count=self._count,
                )
            )  # fmt: skip
        self._wait()

    def end(self, outcomes: Iterable[ItemOutcome], elapsed_s: float) -> None:
        """Give the run of a batch that several processes made its recipe, summary and end.

        Parameters
        ----------
        outcomes : iterable of ItemOutcome
            Of all its items.
        elapsed_s : float
            Of the batch, by the clock on the wall.
        """
        facts = [batch_summary.facts(outcome) for outcome in outcomes]
        recipe = {
            "params": storable_settings(self._params.dotted()),
            "recipe": self._params.to_yaml(),
        }
        tags = {"params_hash": self._params.digest()}
        self.end_with(facts, elapsed_s, **recipe, tags=tags)

    def end_with(
        self, items: Sequence[batch_summary.ItemFacts], elapsed_s: float, **more: Any
    ) -> None:
        """As `end`, from what is known of a batch whose recipe nobody has at hand."""
        record = end_record(items, self._batch_id, "FINISHED", elapsed_s, name=self._name)
        self._append(record | more)
        self._wait()

    def _wait(self) -> None:
        """Wait for the thread; see `close`."""
        self._is_closing = True  # after the last record, so that the thread does not miss it
        self._news.set()
        began = time.monotonic()
        silent_since = _silent_since.get(self._folder)
        was_silent = silent_since is not None and began - silent_since < SILENCE_S
        while not self._has_ended.wait(0.05):
            now = time.monotonic()
            if is_cancelled() and now - began > STOP_TIMEOUT_S:
                return self._give_up("the batch was stopped")
            if was_silent and now - began > STOP_TIMEOUT_S:
                return self._give_up("it did not answer before")
            if now - max(self._last_call, began) > self._timeout_s:
                _silent_since[self._folder] = now
                return self._give_up(f"no answer within {self._timeout_s:.0f} s")
        if not self._has_given_up:
            _silent_since.pop(self._folder, None)

    def _append(self, record: dict[str, Any]) -> None:
        if self._spool is None:
            return
        try:
            self._spool.append(record)
        except OSError:
            log.warning("the record of %r is in memory only", record.get("name"), exc_info=True)
        self._news.set()

    def _answered(self, extra_s: float) -> None:
        self._last_call = time.monotonic()
        self._timeout_s = CALL_TIMEOUT_S + extra_s

    def _deliver(self) -> None:
        """Give MLflow what is in the spool, and in idle time what earlier batches have left."""
        assert self._spool is not None
        has_backlog, problem = True, ""
        try:
            is_remote = self._own_process and "mlflow" not in sys.modules and os.name == "posix"
            kind = RemoteRecorder if is_remote else Recorder
            recorder = kind(self._folder, self._spool, answered=self._answered)
            self._recorder = recorder
            recorder.load()
        except Exception as error:
            self._give_up(describe(error))
        while not self._has_given_up:
            self._news.clear()
            closing = self._is_closing
            try:
                if closing:
                    recorder.stop_watching()
                recorder.deliver_all()
                self._watch(recorder)
                problem = ""
            except Exception as error:
                log.debug("MLflow failed", exc_info=True)
                problem = describe(error)
            if closing:
                break
            if problem:
                self._wait_for_end(RETRY_S)
            elif has_backlog:
                has_backlog = False
                recorder.deliver_pending(self._news.is_set)
            else:
                self._news.wait()
        self._finish(problem)

    def _wait_for_end(self, seconds: float) -> None:
        """Wait, but not beyond the end of the batch."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._is_closing:
            time.sleep(0.05)

    def _finish(self, problem: str) -> None:
        assert self._spool is not None
        if self._spool.waiting():
            self._give_up(problem or "it was interrupted")
        elif self._recorder is not None:
            self._recorder.close()
        self._spool.close(remove=not self._spool.waiting())
        self._has_ended.set()

    def _give_up(self, reason: str) -> None:
        if self._has_given_up:
            return
        self._has_given_up = True
        if self._recorder is not None:
            self._recorder.close()
        where = (
            f"the record is kept in {self._spool.path} and delivered by the next run, or by "
            f"heygem experiments deliver --folder {self._folder}"
            if self._spool is not None
            else "nothing is recorded"
        )
        self.problem = (
            f"MLflow does not take the record of this run ({reason}); videos are not affected; "
            f"{where}; store: {store.tracking_uri(self._folder)}"
        )
        log.warning(self.problem)

    def _watch(self, recorder: Recorder | RemoteRecorder) -> None:
        """Find the address of the batch's run; record the machine's load on it."""
        assert self._spool is not None
        run_id = self._spool.delivered.get(self._batch_id)
        if run_id and not self.address:
            self.address = recorder.watch(run_id, loads=not (self._is_closing or self._is_shared))


def load_in_background() -> None:
    """Begin to load MLflow, for a batch that needs it at its end."""
    threading.Thread(target=import_mlflow, name="load mlflow", daemon=True).start()
