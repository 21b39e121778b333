"""A worker of the queue: takes jobs, has them made by a process that it supervises, records them.

The worker itself stays small. Models live in the process that makes the items
(`heygem.batch.workers.item_process`), in a process group of its own, and stay there from item to
item. An item that takes too long, that does not stop when it is cancelled, or whose process dies,
costs that process group and nothing else; the next item gets a new one.
"""

import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from heygem.batch.item import begun_mark
from heygem.batch.outcome import Outcome
from heygem.batch.queue import JobQueue
from heygem.batch.queue.database import QueueError
from heygem.batch.queue.job import Job, Signal
from heygem.batch.queue.retry import CRASHED, DISK_FULL, KILLED, OUT_OF_MEMORY, TIMEOUT
from heygem.batch.workers.child import Child
from heygem.batch.workers.room import RoomWatch
from heygem.core import interrupts, logs, memory
from heygem.core.errors import HeygemError
from heygem.core.types import Progress

if TYPE_CHECKING:
    from heygem.batch.item.model_cache import ModelCache as Models

log = logging.getLogger(__name__)

MAKE = "heygem.batch.workers.worker:make_item"
BEAT_S = 1.0  # between heartbeats
POLL_S = 0.5  # of an idle worker, for new jobs
IDLE_S = 300.0  # how long models stay in memory without a job
CANCEL_GRACE_S = 0.8  # an item that does not stop within this time is ended with its process
STOP_GRACE_S = 2.5  # likewise, when the worker is to end (see `core.interrupts.GRACE_S`)
END_S = 90.0  # for the end of a batch in MLflow, which waits less where the store is away
START_S = 120.0  # for the process that makes items to come up; its start is not the item's
INSIST_S = 60.0  # how long to try to record an outcome while the database is held
#: Time limit of an item [s]: so much, and so much for each second of speech.
LIMIT_S, LIMIT_PER_S = 1800.0, 120.0


def make_item(
    job: Job, models: "Models", progress: Progress, cancel: threading.Event, **records: Any
) -> Outcome:
    """Make the item of a job in this process; see `heygem.batch.item.making.make_item`."""
    from heygem.batch.item import making

    return making.make_item(job, models, progress, cancel, **records)


def ModelCache() -> "Models":  # noqa: N802  named like the class that it makes
    """Models for `make_item`, kept from item to item."""
    from heygem.batch.item import model_cache

    return model_cache.ModelCache()


class Worker:
    """Makes the jobs of a queue, one at a time.

    Parameters
    ----------
    queue : JobQueue
    make : str, optional
        `module:function` that makes an item, called in the other process as `make_item` is.
    time_limit_s : float, optional
        Of one item; default: half an hour, and two minutes for each second of speech.
    until_empty : bool
        Whether `run` returns when the queue has no open job.
    batch : str, optional
        With `until_empty`: no open job of this batch.
    idle_exit : bool
        Whether `run` returns after `idle_s` without a job.
    idle_s : float
        How long models stay in memory without a job.
    """

    def __init__(
        self,
        queue: JobQueue,
        *,
        make: str = MAKE,
        time_limit_s: float | None = None,
        until_empty: bool = False,
        batch: str | None = None,
        idle_exit: bool = False,
        idle_s: float = IDLE_S,
    ) -> None:
        self.queue = queue
        self.name = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(2)}"
        self._make = make
        self._time_limit_s = time_limit_s
        self._until_empty, self._batch = until_empty, batch
        self._idle_exit, self._idle_s = idle_exit, idle_s
        self._child: Child | None = None
        self._room = RoomWatch(queue, self._has_room)

    def run(self, stop: threading.Event | None = None) -> None:
        """Work until `stop` is set (an item that is being made goes back to the queue).

        Raises
        ------
        QueueError
            The queue's database cannot be used.
        """
        stop = stop or threading.Event()
        self.queue.register(self.name)
        idle_since = time.monotonic()
        try:
            while not stop.is_set():
                self._end_batches(stop)
                if self._until_empty and not self.queue.is_open(batch=self._batch):
                    return
                job = self.queue.claim(self.name)
                if job is not None:
                    self._make_job(job, stop)
                    idle_since = time.monotonic()
                    continue
                is_idle = time.monotonic() - idle_since >= self._idle_s
                if self.queue.report_idle(self.name) or (is_idle and self._idle_exit):
                    return
                if is_idle:
                    self._end_child()
                self._room.look()
                stop.wait(POLL_S)
        finally:
            self._end_child()
            self.queue.unregister(self.name)

    # --- one job ---

    def _make_job(self, job: Job, stop: threading.Event) -> None:
        child = self._running_child()
        watch = _Watch(self, job, child, stop)
        try:
            child.order("make", job)
            outcome = watch.outcome()
        except BaseException:
            self._end_child()
            self.queue.release(job.id, self.name, "the worker was stopped")
            raise
        is_dead = not child.is_alive()
        if is_dead:
            self._end_child()
        if outcome is None:
            return
        if outcome.status == "cancelled" and not watch.is_cancelled:
            self.queue.release(job.id, self.name, "the worker was stopped")
            return
        if is_dead:  # while this worker holds the job, so that nobody begins it anew
            begun_mark.clear_unfinished(job)
        if outcome.code == DISK_FULL:
            self.queue.pause(DISK_FULL)
        self._record(job, outcome)

    def _record(self, job: Job, outcome: Outcome) -> None:
        """Record an outcome, also where somebody holds the database for a while."""
        deadline = time.monotonic() + INSIST_S
        while True:
            try:
                self.queue.finish(job.id, self.name, outcome)
                return
            except QueueError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    def _limit_s(self, job: Job) -> float:
        return self._time_limit_s or LIMIT_S + LIMIT_PER_S * job.length_s

    def _running_child(self) -> Child:
        if self._child is None or not self._child.is_alive():
            self._end_child()
            self._child = Child(self._make, log_path=self.queue.path.with_name("worker.log"))
        return self._child

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _end_batches(self, stop: threading.Event) -> None:
        """End the runs of batches in MLflow whose last item is finished, whoever made that.

        The batch that this worker works for is ended by whoever has started the worker.
        """
        for ended in self.queue.take_ended_batches(but=self._batch):
            child = self._running_child()
            child.order("end", ended=ended)
            until = time.monotonic() + END_S
            while child.is_alive() and not stop.is_set() and time.monotonic() < until:
                if "ended" in (child.receive(timeout_s=0.2) or {}):
                    break

    def _has_room(self, job: Job) -> bool:
        """Whether the disks have room, as the process that makes items sees them."""
        child = self._running_child()
        child.order("room", job)
        message = child.receive(timeout_s=60.0)
        return message is None or bool(message.get("room"))


class _Watch:
    """Waits for the outcome of one job, with heartbeats, limits and cancellation."""

    def __init__(self, worker: Worker, job: Job, child: Child, stop: threading.Event) -> None:
        self._worker, self._job, self._child, self._stop = worker, job, child, stop
        self.is_cancelled = False
        self._deadline: float | None = None  # when a process that was asked to stop is ended
        self._progress: dict[str, Any] = {}
        self._oom_kills = memory.oom_kills()
        self._started = time.monotonic()
        self._limit_s = START_S

    def outcome(self) -> Outcome | None:
        """The outcome; None where somebody else holds the job by now."""
        next_beat = 0.0
        while True:
            message = self._child.receive(timeout_s=min(0.2, BEAT_S))
            if message is not None and "outcome" in message:
                return Outcome.from_message(message["outcome"])
            if message is not None:
                self._take(message)
            elif not self._child.is_alive():
                return self._dead()
            now = time.monotonic()
            if now >= next_beat:
                next_beat = now + BEAT_S
                if not self._beat(now):
                    self._child.kill()
                    return None
            if self._stop.is_set() and self._deadline is None:
                self._ask_to_stop("stop", now, STOP_GRACE_S)
            if self._deadline is not None and now >= self._deadline:
                self._child.kill()
                return self._ended("cancelled")
            if now - self._started > self._limit_s:
                self._child.kill()
                what = f"not finished within its time limit of {self._limit_s:.0f} s"
                return self._ended("failed", TIMEOUT, what, seen=f"stage: {self._stage()}")

    def _take(self, message: dict[str, Any]) -> None:
        if "oom_kills" in message:  # the process is up and begins
            self._oom_kills, self._started = message["oom_kills"], time.monotonic()
            self._limit_s = self._worker._limit_s(self._job)
        self._progress = message.get("progress", self._progress)

    def _beat(self, now: float) -> bool:
        """Send a heartbeat; returns whether the job is still this worker's."""
        try:
            signal = self._worker.queue.heartbeat(self._job.id, self._worker.name, self._progress)
        except QueueError as error:  # held by another program, or its disk is full: later again
            log.warning("no heartbeat of %s: %s", self._job.id, error)
            return True
        if signal is Signal.CANCEL and not self.is_cancelled:
            self.is_cancelled = True
            self._ask_to_stop("cancel", now, CANCEL_GRACE_S)
        return signal is not Signal.LOST

    def _ask_to_stop(self, order: str, now: float, grace_s: float) -> None:
        self._child.order(order)
        self._deadline = now + grace_s

    def _dead(self) -> Outcome:
        if self._deadline is not None:
            return self._ended("cancelled")
        status = self._child.wait()
        if status == -signal.SIGKILL:  # no process does that to itself
            code, what = KILLED, "somebody killed the process that made it"
            if memory.oom_kills() > self._oom_kills:
                code = OUT_OF_MEMORY
                what = "the system ended the process that made it, for want of memory"
            return self._ended("failed", code, what, seen=f"stage: {self._stage()}")
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        what = "the process that made it died"
        return self._ended("failed", CRASHED, what, seen=f"{how}, stage: {self._stage()}")

    def _stage(self) -> str:
        return str(self._progress.get("stage", "start"))

    def _ended(self, status: Any, code: str = "", what: str = "", seen: str = "") -> Outcome:
        error = HeygemError(what, seen=seen) if what else None
        seconds = time.monotonic() - self._started
        return Outcome.of_job(self._job, status, error, code=code, seconds=seconds)


def run_workers(
    queues: Sequence[JobQueue], stop: threading.Event | None = None, **options: Any
) -> None:
    """Run a worker on each of these (each with an object of its own), until all have ended.

    Parameters
    ----------
    queues : sequence of JobQueue
    stop : threading.Event, optional
        As for `Worker.run`.
    options
        Of `Worker`.

    Raises
    ------
    HeygemError
        The first that a worker has raised; the others are stopped.
    """
    stop = stop or threading.Event()
    errors: list[BaseException] = []

    def work(queue: JobQueue) -> None:
        try:
            Worker(queue, **options).run(stop)
        except BaseException as error:
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=work, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def main() -> None:
    """Entry point of `background`: a worker that ends when it has been idle."""
    logs.start_log()
    with interrupts.stoppable() as stop:
        Worker(JobQueue(sys.argv[1]), idle_exit=True).run(stop)


if __name__ == "__main__":
    main()
