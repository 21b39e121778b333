"""A batch through the queue: its items are added, made by workers, and reported."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from heygem.batch import manifest
from heygem.batch.items import DETAILS, Item, plan_items
from heygem.batch.job import OPEN, Job
from heygem.batch.outcome import Outcome
from heygem.batch.queue import JobQueue
from heygem.batch.runner import Report
from heygem.config.params import Params
from heygem.core.files import read_json

#: Makes jobs until no one of the batch is open, or the event is set.
Work = Callable[[threading.Event], None]


def add_missing(
    queue: JobQueue, items: Sequence[Item], *, batch: str, owner: str = "", priority: int = 0
) -> list[Job]:
    """Add a batch; items that an earlier call has added and that are still open are not repeated.

    Returns
    -------
    list of Job
        One for each item, in the same order.
    """
    waiting = {job.output: job for job in queue.jobs(states=OPEN, batch=batch, owner=owner)}
    known: dict[str, Job] = {}
    for item in items:
        job = waiting.get(str(item.output.absolute()))
        if job is None:
            continue
        if queue.get(job.id).item().params.digest() == item.params.digest():
            known[item.name] = job
        else:  # the recipe was changed since
            queue.cancel(job.id)
    missing = [item for item in items if item.name not in known]
    added = queue.add(missing, owner=owner, priority=priority, batch=batch) if missing else []
    known |= {item.name: job for item, job in zip(missing, added, strict=True)}
    return [known[item.name] for item in items]


def run(
    queue: JobQueue,
    params: Params,
    work: Work,
    *,
    batch: str,
    owner: str = "",
    priority: int = 0,
    stop: threading.Event | None = None,
    on_finished: Callable[[Job], None] = lambda job: None,
) -> tuple[Report, list[Item]]:
    """Add the items of a recipe, have them made, and report on them.

    Parameters
    ----------
    queue : JobQueue
    params : Params
    work : callable
        Called in a thread of its own; see `Work`.
    batch, owner, priority
        See `JobQueue.add`.
    stop : threading.Event, optional
        Set it to stop: what is not finished stays in the queue.
    on_finished : callable, optional
        Called with each job as soon as it is finished.

    Returns
    -------
    Report, list of Item
        Items that are not finished count as cancelled.
    """
    started = time.monotonic()
    stop = stop or threading.Event()
    items = plan_items(params)
    jobs = add_missing(queue, items, batch=batch, owner=owner, priority=priority)
    errors: list[BaseException] = []

    def make_all() -> None:
        try:
            work(stop)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=make_all)
    thread.start()
    reported: set[str] = set()
    while True:
        is_over = not thread.is_alive()
        for job in _finished(queue, batch, {job.id for job in jobs} - reported):
            reported.add(job.id)
            on_finished(job)
        if is_over:
            break
        thread.join(0.5)
    if errors:
        raise errors[0]
    outcomes = tuple(outcome(queue.get(job.id)) for job in jobs)
    seconds = time.monotonic() - started
    return Report(Path(params.inputs.output), outcomes, seconds), items


def _finished(queue: JobQueue, batch: str, ids: set[str]) -> Iterator[Job]:
    for job in queue.jobs(batch=batch):
        if job.id in ids and not job.open:
            yield job


def outcome(job: Job) -> Outcome:
    """What became of a job, as a report takes it; `job` has its recipe."""
    item = job.item()
    folder = item.output.parent / DETAILS / item.name
    content = read_json(folder) or {}
    common: dict[str, Any] = {"speech": item.speech, "params": item.params, "seconds": job.seconds}
    if job.state == "done":
        is_same = content.get("id") == job.identity and manifest.is_manifest(content)
        return Outcome(
            item.name,
            item.video,
            "done" if job.timings else "skipped",
            output=item.output,
            details=folder,
            warnings=job.warnings,
            manifest=content if is_same else {},
            **common,
        )
    if job.state != "failed":
        return Outcome(item.name, item.video, "cancelled", **common)
    code = job.error.get("code", "")
    return Outcome(
        item.name,
        item.video,
        "failed",
        error=job.message,
        code=code,
        reason={key: value for key, value in job.error.items() if key != "code"},
        bad_input=code not in ("QUARANTINED", "INTERNAL", "OUT_OF_MEMORY", "CHECK_FAILED"),
        **common,
    )
