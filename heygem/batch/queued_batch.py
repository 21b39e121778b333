"""A batch through the queue: its items are added, made by workers, and reported."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from heygem.batch.announcement import announce
from heygem.batch.item import manifest
from heygem.batch.items import DETAILS, Item, plan_items
from heygem.batch.outcome import Outcome
from heygem.batch.queue.job import OPEN, Job
from heygem.batch.queue.queue import JobQueue
from heygem.batch.queue.recorded_batches import EndedBatch
from heygem.batch.results import batch_files
from heygem.batch.results.batch_files import BatchFiles
from heygem.batch.runner import Report
from heygem.batch.workers.worker import run_workers
from heygem.config.params import Params
from heygem.core.files import is_address, read_json
from heygem.core.types import Progress
from heygem.experiments import batch_summary
from heygem.experiments.batch_summary import ItemFacts
from heygem.experiments.batch_tracking import join_batch, load_in_background

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
        job = waiting.get(item.location)
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
    on_pause: Callable[[str], None] = lambda reason: None,
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
    on_pause : callable, optional
        Called with the reason when the queue is found to be paused, once for each pause.

    Returns
    -------
    Report, list of Item
        Items that are not finished count as cancelled.
    """
    started = time.monotonic()
    stop = stop or threading.Event()
    items = plan_items(params)
    if params.mlflow.enabled:
        load_in_background()
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
    pause = ""
    while True:
        was_paused, pause = pause, queue.paused()
        if pause and pause != was_paused:
            on_pause(pause)
        is_over = not thread.is_alive()
        for job in _finished(queue, batch, {job.id for job in jobs} - reported):
            reported.add(job.id)
            on_finished(job)
        if is_over:
            break
        try:
            thread.join(0.5)
        except KeyboardInterrupt:  # in a notebook; a program sets `stop` instead
            stop.set()
    if errors:
        raise errors[0]
    for ended in queue.take_ended_batches(batch=batch):
        announce(ended)  # `finish` ends its run
    pairs = zip(jobs, items, strict=True)
    outcomes = tuple(_as_planned(outcome(queue.get(job.id)), item) for job, item in pairs)
    seconds = time.monotonic() - started
    return Report(Path(params.inputs.output), outcomes, seconds), items


def finish(
    report: Report,
    items: Sequence[Item],
    params: Params,
    *,
    batch: str = "",
    film: bool = True,
    zipped: bool = False,
    extra: Sequence[Path] = (),
    lang: str = "",
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> tuple[Report, BatchFiles]:
    """End the batch's run in MLflow, and write what a batch leaves beside its videos.

    Parameters
    ----------
    report, items
        From `run`.
    params, batch
        As of `run`.
    film, zipped, extra, lang, progress, cancel
        As of `heygem.batch.results.batch_files.write`.

    Returns
    -------
    Report, BatchFiles
        The report with the address in MLflow and all warnings.

    Raises
    ------
    Cancelled
    """
    tracker = join_batch(params, batch or batch_name(params))
    try:
        files = batch_files.write(
            report, params, items, film=film, zipped=zipped, extra=extra, lang=lang,
            progress=progress, cancel=cancel,
        )  # fmt: skip
    finally:
        tracker.end(report.outcomes, report.seconds)
    problems = (tracker.problem,) if tracker.problem else ()
    warnings = (*report.warnings, *problems, *files.warnings)
    report = replace(report, warnings=warnings, mlflow_page=tracker.address)
    return replace(report, record=files.files.get("record")), files


def compare(
    queue: JobQueue,
    params: Params,
    batch: str,
    *,
    lang: str = "",
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> BatchFiles:
    """Write what a batch leaves beside its videos, from its finished jobs; of a sweep, also films.

    Parameters
    ----------
    queue : JobQueue
    params : Params
        The recipe of the batch.
    batch : str
        Its name in the queue.
    lang, progress, cancel
        As of `heygem.batch.results.batch_files.write`.

    Raises
    ------
    Cancelled, InputError, ParameterError
    """
    items = plan_items(params)
    jobs = {job.output: job for job in queue.jobs(batch=batch)}
    queued = [item for item in items if item.location in jobs]
    outcomes = tuple(
        _as_planned(outcome(queue.get(jobs[item.location].id)), item) for item in queued
    )
    seconds = sum(each.seconds for each in outcomes)
    report = Report(Path(params.inputs.output), outcomes, seconds)
    return batch_files.write(report, params, queued, lang=lang, progress=progress, cancel=cancel)


def end_batch(ended: EndedBatch) -> str:
    """End the run in MLflow of a batch that nobody waits for, and tell the webhook.

    Returns
    -------
    str
        What failed, empty if all is well; a record for MLflow is kept and delivered later.
    """
    problem = announce(ended)
    params = Params.from_dict(ended.params)
    if not ended.batch or not params.mlflow.enabled:
        return problem
    tracker = join_batch(params, ended.batch)
    tracker.end_with([_facts(*item) for item in ended.items], ended.elapsed_s)
    return "; ".join(each for each in (tracker.problem, problem) if each)


def _facts(status: str, seconds: float, length_s: float, output: str) -> ItemFacts:
    """What a summary needs of a job; its measures are in the manifest, where that is here."""
    result = Path(output)
    content = {} if is_address(output) else read_json(result.parent / DETAILS / result.stem) or {}
    return batch_summary.item_facts(status, seconds, length_s, content)


def make(
    params: Params,
    *,
    batch: str = "",
    count: int = 1,
    on_finished: Callable[[Job], None] = lambda job: None,
) -> tuple[Report, list[Item]]:
    """As `run`, with the project's queue and workers of this process; for notebooks.

    Parameters
    ----------
    params : Params
    batch : str
        Default: the name of the folder of results.
    count : int
        Items made at once.
    on_finished : callable
        See `run`.
    """

    def work(stop: threading.Event) -> None:
        queues = [JobQueue() for _ in range(count)]
        run_workers(queues, stop, until_empty=True, batch=batch)

    batch = batch or batch_name(params)
    return run(JobQueue(), params, work, batch=batch, on_finished=on_finished)


def batch_name(params: Params) -> str:
    """Name of a batch that nobody has named: that of its folder."""
    return Path(params.inputs.output).absolute().name or "batch"


def _finished(queue: JobQueue, batch: str, ids: set[str]) -> Iterator[Job]:
    for job in queue.jobs(batch=batch):
        if job.id in ids and not job.open:
            yield job


def _as_planned(outcome: Outcome, item: Item) -> Outcome:
    """The outcome with its paths as the recipe names them; the queue has absolute ones."""
    paths: dict[str, Any] = {"video": item.video, "speech": item.speech}
    if outcome.output is not None:
        paths |= {"output": item.output, "details": item.details}
    return replace(outcome, **paths)


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
