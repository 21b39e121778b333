"""What follows when an item was not made: another attempt, a smaller one, or none.

A bad input or setting fails at once: another attempt would meet the same. What ran out of memory is
made smaller: half the batch, then a quarter of it on the CPU. What waits for a disk, for memory or
for another run in its folder costs no attempt. What ended with its process, took
longer than its limit or failed for no known reason is made again as it is. After `MAX_ATTEMPTS`
the job is quarantined: it fails with that code and the reason of each attempt.

A worker that is gone (killed, or its machine was) says nothing against the item that it held, nor
does a process that somebody has killed: that takes `MAX_LOSSES`.
"""

from dataclasses import dataclass, replace
from typing import Any

from heygem.batch.outcome import Outcome
from heygem.batch.queue.job import Job, State

MAX_ATTEMPTS = 3
MAX_LOSSES = 10
QUARANTINED = "QUARANTINED"
OUT_OF_MEMORY = "OUT_OF_MEMORY"
CRASHED = "CRASHED"  # the process that made it died
KILLED = "KILLED"  # somebody ended the process that made it, and not for want of memory
TIMEOUT = "TIMEOUT"  # it took longer than its limit
INTERNAL = "INTERNAL"  # an unexpected error
BUSY = "BUSY"  # another run holds the output folder
DISK_FULL = "DISK_FULL"
CHECK_FAILED = "CHECK_FAILED"  # the finished file is not what its manifest says
DISK_LOST = "DISK_LOST"  # a disk or network folder does not answer
MEMORY_SHORT = "MEMORY_SHORT"  # other programs use the memory that it needs
AGAIN = (CRASHED, TIMEOUT, INTERNAL, CHECK_FAILED)
STORAGE = "STORAGE"  # the store of inputs or results cannot be reached
HEAD = "HEAD"  # the head of the cluster, which has the ledger, cannot be reached
#: The item waits for another program, or a person.
WAITING = (BUSY, DISK_FULL, DISK_LOST, MEMORY_SHORT, STORAGE, HEAD)

RETRY_S = 5.0  # before the next attempt; a machine that just ran short needs a moment
WAIT_S = 30.0


@dataclass(frozen=True)
class Next:
    """What is recorded of a job that was not made.

    Attributes
    ----------
    state : str
        "pending" for another attempt, else "failed".
    delay_s : float
        Until the next attempt.
    attempts : int
    error : dict
        See `heygem.batch.queue.job.Job`.
    history : tuple of str
    smaller : dict
    losses : int
    """

    state: State
    delay_s: float
    attempts: int
    error: dict[str, str]
    history: tuple[str, ...]
    smaller: dict[str, Any]
    losses: int


def after_failure(job: Job, outcome: Outcome) -> Next:
    """What follows from an outcome with the status "failed"."""
    parts = dict(outcome.reason) or {"what": outcome.error}
    error = {"code": outcome.code or INTERNAL, **parts}
    line = f"{error['code']}: {outcome.error}"
    if outcome.code == KILLED:
        return _after_loss(job, line, error, delay_s=RETRY_S)
    failed = Next("failed", 0.0, job.attempts, error, (*job.history, line), job.smaller, job.losses)
    again = replace(failed, state="pending", delay_s=RETRY_S)
    if outcome.code in WAITING:
        attempts = max(job.attempts - 1, 0)
        return replace(again, delay_s=WAIT_S, attempts=attempts, history=job.history)
    if outcome.code == OUT_OF_MEMORY:
        smaller = _smaller(job)
        return replace(again, smaller=smaller) if smaller else failed
    if outcome.code not in AGAIN:
        return failed
    attempted = len(failed.history)
    if attempted < MAX_ATTEMPTS:
        return replace(again, delay_s=RETRY_S * 2 ** (attempted - 1))
    return replace(failed, error=_quarantine(failed.history))


def _smaller(job: Job) -> dict[str, Any]:
    """Settings of the next attempt after memory ran out; empty where nothing is left to reduce.

    Half the batch first, then half of that on the CPU, which has more memory than a GPU.
    """
    tries = sum(line.startswith(OUT_OF_MEMORY) for line in job.history)
    settings = job.item().params
    size, device = settings.resources.batch_size, settings.device
    if tries >= 2 or (size == 1 and device == "cpu"):
        return {}
    smaller: dict[str, Any] = {"resources.batch_size": max(size // 2, 1)}
    if tries or size == 1:
        smaller["device"] = "cpu"
    return job.smaller | smaller


def after_loss(job: Job, who: str) -> Next:
    """What follows when the worker that held a job is gone."""
    return _after_loss(job, f"LOST: {who} is gone", job.error, delay_s=0.0)


def _after_loss(job: Job, line: str, error: dict[str, str], *, delay_s: float) -> Next:
    """Another attempt, which does not count: nobody knows how far the last one came."""
    attempts, losses = max(job.attempts - 1, 0), job.losses + 1
    if losses < MAX_LOSSES:
        return Next("pending", delay_s, attempts, error, job.history, job.smaller, losses)
    history = (*job.history, line)
    return Next("failed", 0.0, attempts, _quarantine(history), history, job.smaller, losses)


def _quarantine(history: tuple[str, ...]) -> dict[str, str]:
    return {
        "code": QUARANTINED,
        "what": f"{len(history)} attempts failed" if len(history) > 1 else history[-1],
        "seen": " | ".join(history),
        "remedy": "look at the reasons; then put it into the queue again with heygem queue retry",
    }
