"""Takes items from the queue on the head and hands each to an idle actor.

An item is claimed only when an actor can take it, so the queue's order and fairness hold and a
slow node is given less. The driver holds every claim for its actor: it sends the heartbeats,
passes cancellations on, and gives the item back when the actor or its node dies. If the driver
dies, its actors end with it and the queue takes the items back.
"""

import contextlib
import logging
import os
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import ray

from heygem.batch.cluster import post_mortem
from heygem.batch.cluster.actors import ActorOptions
from heygem.batch.cluster.fleet import START_S, Fleet, Member
from heygem.batch.cluster.nodes import CORES, RESOURCE, ClusterError
from heygem.batch.cluster.post_mortem import Evidence
from heygem.batch.cluster.results import remove_mark
from heygem.batch.cluster.storage import Folder
from heygem.batch.cluster.tracking import HeadTracker
from heygem.batch.item import guards
from heygem.batch.outcome import Outcome
from heygem.batch.queue import JobQueue
from heygem.batch.queue.job import FINISHED, Job, Signal
from heygem.batch.queue.retry import (
    CRASHED,
    DISK_FULL,
    INTERNAL,
    KILLED,
    OUT_OF_MEMORY,
    TIMEOUT,
)
from heygem.batch.workers.room import RoomWatch
from heygem.batch.workers.worker import LIMIT_PER_S, LIMIT_S
from heygem.core.errors import HeygemError

log = logging.getLogger(__name__)

POLL_S = 0.2
REFRESH_S = 1.0  # how often to look at the nodes
BEAT_S = 1.0  # between heartbeats of an item; longer with hundreds of actors
BEATS_PER_S = 200  # of all items together, at most
CANCEL_GRACE_S = 8.0  # an item that does not stop within this time is ended with its actor
SILENCE_S = 60.0  # an actor that does not answer for so long is ended
STOP_GRACE_S = 4.0  # for all items at a shutdown; see `core.interrupts.LIMIT_S`
NODE_LOSSES = 3  # items whose nodes died so often are treated as the cause
NO_ACTOR_S = 120.0  # without room for any actor for so long, the run ends
# Ray has no classes for these: parts of its messages.
_PROCESS_DIED = "its worker process has died"
_LOW_MEMORY = "running low on memory"


class Driver:
    """Makes the jobs of a queue on the cluster that Ray is connected to.

    Parameters
    ----------
    queue : JobQueue
    options : ActorOptions, optional
    cores : int
        Cores of an actor on a node without a GPU.
    time_limit_s : float, optional
        Of one item; default: as for `heygem.batch.workers.worker.Worker`.
    """

    def __init__(
        self,
        queue: JobQueue,
        options: ActorOptions | None = None,
        *,
        cores: int = CORES,
        time_limit_s: float | None = None,
    ) -> None:
        self.queue = queue
        self.fleet = Fleet(options or ActorOptions(), cores=cores)
        self._name = f"ray-{socket.gethostname()}-{os.getpid()}"
        self._time_limit_s = time_limit_s
        self._tracker = HeadTracker()
        self._node_losses: Counter[str] = Counter()
        self._parked: list[Job] = []  # claimed, and waiting for an actor with a GPU
        self._refreshed_s = 0.0
        self._room = RoomWatch(queue, guards.has_room)
        self._last_member_s = time.monotonic()

    def run(
        self,
        cancel: threading.Event | None = None,
        *,
        until_empty: bool = True,
        batch: str | None = None,
    ) -> None:
        """Work until the queue has no open job (of this batch), or `cancel` is set.

        Raises
        ------
        ClusterError
            No node has had room for an actor for two minutes.
        """
        cancel = cancel or threading.Event()
        self.queue.register(self._name)
        try:
            while not cancel.is_set():
                self._look_at_nodes()
                for ended in self.queue.take_ended_batches(but=batch):
                    self._tracker.end(ended)
                self._room.look()
                if (
                    not self._parked
                    and not self.fleet.busy()
                    and until_empty
                    and not self.queue.is_open(batch=batch)
                ):
                    return
                self._dispatch()
                self._await_answers()
                self._beat()
            self._stop()
        finally:
            self._give_back("the driver of the cluster has ended")
            self.fleet.close()
            self._tracker.close(at_once=cancel.is_set())
            self.queue.unregister(self._name)

    # --- the loop's steps ---

    def _look_at_nodes(self) -> None:
        now = time.monotonic()
        if now - self._refreshed_s < REFRESH_S:
            return
        self._refreshed_s = now
        for member in self.fleet.refresh():
            self._lose(member, "its node is gone")
        if self.fleet.has_started():
            self._last_member_s = now
        elif now - self._last_member_s > (START_S if self.fleet.members else NO_ACTOR_S):
            problems = "; ".join(f"{slot}: {why}" for slot, why in self.fleet.problems.items())
            raise ClusterError(
                "no node of the cluster makes items",
                seen=problems or f"{len(self.fleet.alive)} nodes without a GPU or enough cores",
                remedy="start nodes with more cores, or say how many actors they hold: "
                f"ray start --resources '{{\"{RESOURCE}\": 1}}'",
            )

    def _dispatch(self) -> None:
        for member in self.fleet.idle():
            job = self._next(member)
            if job is not None:
                member.give(job)

    def _next(self, member: Member) -> Job | None:
        """A job that this member can make; one that needs a GPU waits for a member with one."""
        has_gpu = member.slot.gpus > 0
        if has_gpu and self._parked:
            return self._parked.pop(0)
        job = self.queue.claim(self._name)
        if job is None or has_gpu or job.params.get("device") != "cuda":
            return job
        with_gpu = [slot for slot in self.fleet.members if slot.gpus > 0]
        if not with_gpu:
            self._fail(
                job, "NO_GPU", "the recipe asks for a GPU (device: cuda), and no node has one"
            )
        elif len(self._parked) < len(with_gpu):
            self._parked.append(job)
        else:
            self.queue.release(job.id, self._name, "waits for a GPU", delay_s=10.0)
        return None

    def _await_answers(self) -> None:
        pending = list(self.fleet.pending())
        if not pending:
            time.sleep(POLL_S)
            return
        ready, _ = ray.wait(pending, num_returns=1, timeout=POLL_S, fetch_local=False)
        if ready:
            ready, _ = ray.wait(pending, num_returns=len(pending), timeout=0, fetch_local=False)
        answered = set(ready)
        for member in list(self.fleet.members.values()):
            if member.started in answered:
                self.fleet.confirm_started(member)
            if member.status in answered:
                self._take_status(member)
            if member.result in answered:
                self._take_result(member)

    def _beat(self) -> None:
        busy = self.fleet.busy()
        beat_s = max(BEAT_S, len(busy) / BEATS_PER_S)
        now = time.monotonic()
        for member in busy:
            assert member.job is not None
            silent_s = now - member.asked_s
            limit_s = self._time_limit_s or LIMIT_S + LIMIT_PER_S * member.job.length_s
            if member.cancelled_s and now - member.cancelled_s > CANCEL_GRACE_S:
                self._end_cancelled(member)
            elif now - member.begun_s > limit_s:
                self._end_late(member, limit_s)
            elif member.status is None and silent_s >= beat_s:
                member.asked_s = now
                member.status = member.handle.status.options(concurrency_group="control").remote()
            elif member.status is not None and silent_s > SILENCE_S:
                self._lose(member, f"it has not answered for {SILENCE_S:.0f} s")
        for job in list(self._parked):
            if self.queue.heartbeat(job.id, self._name, {}) in (Signal.CANCEL, Signal.LOST):
                self._parked.remove(job)
                self.queue.finish(job.id, self._name, Outcome.of_job(job, "cancelled"))

    # --- answers ---

    def _take_status(self, member: Member) -> None:
        """Send the item's heartbeat, and pass on what the queue says."""
        reference, member.status = member.status, None
        try:
            status = ray.get(reference)
        except ray.exceptions.RayError as error:
            self._lose(member, str(error))
            return
        if member.job is None:
            return
        progress = dict(status["progress"])
        if progress:
            progress["elapsed_s"] = round(time.monotonic() - member.begun_s, 1)
            progress["node"] = member.slot.name
        signal = self.queue.heartbeat(member.job.id, self._name, progress)
        if signal in (Signal.CANCEL, Signal.LOST) and not member.cancelled_s:
            member.cancelled_s = time.monotonic()
            member.is_unwanted = signal is Signal.LOST
            member.handle.cancel.options(concurrency_group="control").remote(member.job.id)

    def _take_result(self, member: Member) -> None:
        try:
            outcome = Outcome.from_message(ray.get(member.result))
        except ray.exceptions.RayTaskError as error:
            log.exception("an actor failed in its own code")
            job = member.take()
            self._fail(job, INTERNAL, str(error.cause or error))
            return
        except ray.exceptions.RayError as error:
            self._lose(member, str(error))
            return
        is_unwanted = member.is_unwanted
        job = member.take()
        self.fleet.forget_failures(member.slot)
        if not is_unwanted:
            self._finish(job, outcome)

    def _finish(self, job: Job, outcome: Outcome) -> None:
        finished = self.queue.finish(job.id, self._name, outcome)
        if outcome.code == DISK_FULL and "node" not in outcome.reason:  # the results' own disk
            self.queue.pause(DISK_FULL)
        if finished is not None and finished.state in FINISHED:
            self._tracker.log(job, outcome)

    def _lose(self, member: Member, reason: str) -> None:
        """An actor died: replace it, and have its item made again."""
        reason = " ".join(reason.split())[:300]
        job = member.job
        self.fleet.remove(member, reason)
        if job is None:
            return
        member.take()
        if member.is_unwanted:
            return
        node = member.slot.node
        is_alive = node in self.fleet.alive
        evidence = post_mortem.examine(node, member.trace) if is_alive else None
        if evidence is None and _PROCESS_DIED not in reason:
            self.fleet.alive.discard(node)  # the cluster itself notices that seconds later
            if self._node_losses[job.id] + 1 < NODE_LOSSES:
                # A lost machine says nothing against the item.
                self._node_losses[job.id] += 1
                self.queue.release(job.id, self._name, f"the node {member.slot.host} is gone")
                return
        code, cause = _cause(member, reason, evidence)
        self._fail_dead(job, code, f"the process that made it on {member.slot.name} {cause}")

    def _end_cancelled(self, member: Member) -> None:
        """End an item that does not stop, with its actor."""
        is_unwanted = member.is_unwanted
        job = member.take()
        self.fleet.remove(member, "its item was cancelled and did not stop")
        if not is_unwanted:
            self._clear(job)
            self.queue.finish(job.id, self._name, Outcome.of_job(job, "cancelled"))

    def _end_late(self, member: Member, limit_s: float) -> None:
        """End an item that takes too long, with its actor."""
        job = member.take()
        self.fleet.remove(member, "its item took too long")
        self._fail_dead(job, TIMEOUT, f"not finished within its time limit of {limit_s:.0f} s")

    def _fail_dead(self, job: Job, code: str, error: str) -> None:
        """Record the failure of an item whose actor has ended, and remove what that has left."""
        self._clear(job)
        self._fail(job, code, error)

    def _clear(self, job: Job) -> None:
        """Remove the mark of an item that nobody makes now, wherever its results go."""
        with contextlib.suppress(HeygemError, OSError):
            folder = Folder(job.params["inputs"]["output"])
            remove_mark(folder, Path(job.output).name)

    def _fail(self, job: Job, code: str, error: str) -> None:
        self._finish(job, Outcome.of_job(job, "failed", HeygemError(error), code=code))

    # --- the end ---

    def _stop(self) -> None:
        """Stop all items; what is finished meanwhile is recorded."""
        for member in self.fleet.busy():
            assert member.job is not None
            member.handle.cancel.options(concurrency_group="control").remote(member.job.id)
        until = time.monotonic() + STOP_GRACE_S
        while self.fleet.busy() and time.monotonic() < until:
            references = [member.result for member in self.fleet.busy()]
            ready, _ = ray.wait(references, num_returns=1, timeout=POLL_S, fetch_local=False)
            for member in self.fleet.busy():
                if member.result in ready:
                    self._take_stopped(member)

    def _take_stopped(self, member: Member) -> None:
        job, reference = member.job, member.result
        assert job is not None
        member.take()
        with contextlib.suppress(ray.exceptions.RayError):
            outcome = Outcome.from_message(ray.get(reference))
            if outcome.status != "cancelled":
                self._finish(job, outcome)
                return
        self.queue.release(job.id, self._name, "the driver of the cluster was stopped")

    def _give_back(self, reason: str) -> None:
        """Put every item back that this driver holds."""
        for member in self.fleet.busy():
            self.queue.release(member.take().id, self._name, reason)
        for job in self._parked:
            self.queue.release(job.id, self._name, reason)
        self._parked.clear()


def _cause(member: Member, reason: str, evidence: Evidence | None) -> tuple[str, str]:
    """The code of the death of an actor, and its cause in words."""
    is_process_dead = _PROCESS_DIED in reason  # else it was ended here, because it was silent
    if _LOW_MEMORY in reason or (evidence and evidence.oom_kills > member.oom_kills):
        return OUT_OF_MEMORY, "was ended for want of memory"
    if evidence and evidence.crash:
        return CRASHED, f"crashed: {evidence.crash}"
    if evidence and is_process_dead:
        return KILLED, "was killed by somebody"
    return CRASHED, f"died: {reason}"
