"""The actors of a cluster: started where there is room, replaced where they die."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from heygem.batch.cluster.actors import ActorOptions, ItemActor, ask_actor
from heygem.batch.cluster.nodes import CORES, Slot, plan_slots
from heygem.batch.cluster.records import Records
from heygem.batch.queue.job import Job
from heygem.core.version import code_version

log = logging.getLogger(__name__)

START_S = 300.0  # an actor that has not started by then is given up
FIRST_WAIT_S = 2.0  # before another actor is started where one died; doubled up to LONGEST_WAIT_S
LONGEST_WAIT_S = 60.0


@dataclass
class Member:
    """One actor, and what it does.

    Attributes
    ----------
    slot : Slot
    handle : ray.actor.ActorHandle
    started : ray.ObjectRef or None
        Of its first answer; None once that came.
    job : Job or None
        What it makes.
    result, status : ray.ObjectRef or None
        Calls without an answer yet.
    begun_s, asked_s, cancelled_s : float
        When the job, the last status call and its cancellation began [s, monotonic]; 0 for never.
    is_unwanted : bool
        Whether nobody waits for the job any more.
    trace : str
        Where its process leaves the trace of a crash; see `post_mortem`.
    oom_kills : int
        Of its node, when its last job began.
    """

    slot: Slot
    handle: Any
    started: Any
    created_s: float = field(default_factory=time.monotonic)
    job: Job | None = None
    result: Any = None
    status: Any = None
    begun_s: float = 0.0
    asked_s: float = 0.0
    cancelled_s: float = 0.0
    is_unwanted: bool = False
    trace: str = ""
    oom_kills: int = 0

    @property
    def is_idle(self) -> bool:
        """Whether it can take an item."""
        return self.started is None and self.job is None

    def give(self, job: Job) -> None:
        """Have it make an item."""
        self.job, self.begun_s = job, time.monotonic()
        self.cancelled_s, self.asked_s, self.is_unwanted = 0.0, self.begun_s, False
        self.result = self.handle.make.remote(job)

    def take(self) -> Job:
        """The item that it made, which it no longer has."""
        assert self.job is not None
        job, self.job, self.result, self.status = self.job, None, None, None
        return job


class Fleet:
    """All actors of one driver.

    Parameters
    ----------
    options : ActorOptions
    cores : int
        Cores of an actor on a node without a GPU.
    """

    def __init__(self, options: ActorOptions, *, cores: int = CORES) -> None:
        self._options = options
        self._cores = cores
        self._failures: dict[Slot, tuple[int, float]] = {}  # how often, and when it may be tried
        self.members: dict[Slot, Member] = {}
        self.problems: dict[str, str] = {}  # by slot: why it makes nothing
        self.alive: set[str] = set()
        self._records = (
            ray.remote(Records)
            .options(
                num_cpus=0,
                max_restarts=-1,
                scheduling_strategy=_this_node(),
            )
            .remote()
        )
        ray.get(self._records.answer.remote("facts", (), {}))  # errors of keys and ledger end here

    def refresh(self) -> list[Member]:
        """Start actors where there is room; returns members whose nodes are gone."""
        nodes = ray.nodes()
        self.alive = {node["NodeID"] for node in nodes if node["Alive"]}
        slots = plan_slots(nodes, self._cores)
        gone = [member for slot, member in self.members.items() if slot.node not in self.alive]
        now = time.monotonic()
        for slot in slots:
            failures, not_before = self._failures.get(slot, (0, 0.0))
            if slot not in self.members and now >= not_before:
                self.members[slot] = self._start(slot)
        for member in list(self.members.values()):
            if member.started is not None and now - member.created_s > START_S:
                self.remove(member, "it did not start in time")
        return gone

    def idle(self) -> list[Member]:
        """Members that can take an item, those with a GPU first."""
        idle = [member for member in self.members.values() if member.is_idle]
        return sorted(idle, key=lambda member: -member.slot.gpus)

    def has_started(self) -> bool:
        """Whether any actor works."""
        return any(member.started is None for member in self.members.values())

    def busy(self) -> list[Member]:
        """Members that make an item."""
        return [member for member in self.members.values() if member.job is not None]

    def pending(self) -> Iterator[Any]:
        """References to every call without an answer."""
        for member in self.members.values():
            yield from (
                each for each in (member.started, member.result, member.status) if each is not None
            )

    def confirm_started(self, member: Member) -> None:
        """Take a member's first answer; one that runs other code would make other items."""
        try:
            facts = ray.get(member.started)
        except ray.exceptions.RayError as error:
            self.remove(member, _last_line(error))
            return
        if facts["code"] != code_version()["source_sha256"]:
            self.remove(member, "the node has another version of heygem")
            return
        member.started = None
        member.trace, member.oom_kills = facts["trace"], facts["oom_kills"]
        self.problems.pop(member.slot.name, None)
        log.info("an actor is ready on %s (process %d)", member.slot.name, facts["process"])

    def remove(self, member: Member, reason: str) -> None:
        """End an actor; another one is started in its place after a while."""
        ray.kill(member.handle)
        self.members.pop(member.slot, None)
        failures = self._failures.get(member.slot, (0, 0.0))[0] + 1
        wait_s = min(FIRST_WAIT_S * 2 ** (failures - 1), LONGEST_WAIT_S)
        self._failures[member.slot] = failures, time.monotonic() + wait_s
        self.problems[member.slot.name] = reason
        log.warning("the actor on %s has ended: %s", member.slot.name, reason)

    def forget_failures(self, slot: Slot) -> None:
        """A slot that made an item works."""
        self._failures.pop(slot, None)

    def close(self) -> None:
        """End all actors."""
        for member in self.members.values():
            ray.kill(member.handle)
        self.members.clear()
        ray.kill(self._records)

    def _start(self, slot: Slot) -> Member:
        actor = ray.remote(concurrency_groups={"control": 2}, max_restarts=0)(ItemActor)
        actor = actor.options(**slot.options())
        handle = actor.remote(ask_actor(self._records), self._options)
        return Member(slot, handle, handle.describe.remote())


def _this_node() -> Any:
    """The scheduling strategy of what must run beside the queue and the keys."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _last_line(error: BaseException) -> str:
    """Of a traceback, the line that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
