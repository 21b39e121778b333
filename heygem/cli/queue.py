"""`heygem queue`, `heygem worker` and `heygem batch`."""

import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heygem.cli.generate import Audio, Out, Pairs, Text, Videos, print_items, read_recipe
from heygem.cli.options import Change, Overwrite, Recipe, printable
from heygem.core import i18n, interrupts, logs
from heygem.core.errors import ParameterError
from heygem.core.files import is_address, safe_name

if TYPE_CHECKING:
    from heygem.batch.items import Item
    from heygem.batch.queue import JobQueue
    from heygem.batch.queue.job import Job
    from heygem.config.params import Params

QueueFile = Annotated[
    Path | None,
    typer.Option("--queue", metavar="FILE.db", help="Another queue than runs/queue.db."),
]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="See heygem queue list.")]
Batch = Annotated[str | None, typer.Option("--batch", metavar="NAME", help="Only this batch.")]
Priority = Annotated[
    int, typer.Option("--priority", help="Larger comes first among your own items.")
]
Minutes = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        metavar="MINUTES",
        min=0.01,
        help="Longest time for one item; without it, 30 minutes and 2 for each second of speech.",
    ),
]

queue_app = typer.Typer(help="The queue of videos to make.", no_args_is_help=True)


def open_queue(path: Path | None) -> "JobQueue":
    """The queue that the commands work on; for the account of a hub's service, the hub's."""
    from heygem.batch.queue import JobQueue
    from heygem.batch.queue.earlier_folder import import_earlier
    from heygem.server import STATE_VARIABLE

    if path is None and os.environ.get(STATE_VARIABLE):
        from heygem.server.served_queue import open_served

        return open_served()
    queue = JobQueue(path)
    import_earlier(queue)
    return queue


@queue_app.command()
def add(
    videos: Videos = None,
    audio: Audio = None,
    text: Text = None,
    pairs: Pairs = None,
    out: Out = None,
    params: Recipe = None,
    changes: Change = None,
    overwrite: Overwrite = False,
    priority: Priority = 0,
    batch: Annotated[str, typer.Option("--batch", metavar="NAME", help="Name of them all.")] = "",
    path: QueueFile = None,
) -> None:
    """Add videos to the queue, with the options of heygem generate; prints their ids."""
    from heygem.batch.items import plan_items

    settings = read_recipe(videos, audio, text, pairs, out, params, changes, overwrite)
    queue, items = open_queue(path), plan_items(settings)
    for job in queue.add(items, priority=priority, batch=batch):
        typer.echo(f"{job.id}  {printable(job.output)}")
    for file in _missing_files(items):
        typer.echo(f"warning: {printable(file)} is not there now", err=True)
    if not queue.workers():
        typer.echo("nobody works on the queue: start heygem worker", err=True)


def _missing_files(items: "Sequence[Item]") -> list[str]:
    """Inputs that are not there; a store is not asked."""
    named = {
        path for item in items for path in (*item.params.inputs.videos, item.params.inputs.audio)
    }
    return sorted(
        path for path in named if path and not is_address(path) and not os.path.exists(path)
    )


@queue_app.command("list")
def list_jobs(
    states: Annotated[
        list[str] | None, typer.Option("--state", help="Only these; may be repeated.")
    ] = None,
    batch: Batch = None,
    limit: Annotated[int, typer.Option(min=1, help="Length of a page.")] = 50,
    page: Annotated[int, typer.Option(min=1, help="Number of the page.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON lines.")] = False,
    path: QueueFile = None,
) -> None:
    """Show the jobs of the queue, a page at a time."""
    from heygem.batch.queue.job import STATES

    chosen: Any = states
    unknown = set(states or ()) - set(STATES)
    if unknown:
        raise ParameterError("unknown state", seen=unknown.pop(), remedy=", ".join(STATES))
    queue = open_queue(path)
    queue.reap()
    jobs = queue.jobs(states=chosen, batch=batch, limit=limit, offset=limit * (page - 1))
    for job in jobs:
        typer.echo(json.dumps(job._asdict(), default=str) if as_json else _line(job))
    if not as_json:
        _print_summary(queue, batch)


@queue_app.command()
def watch(batch: Batch = None, path: QueueFile = None) -> None:
    """Show what happens until the queue is empty; Ctrl-C ends only the watching."""
    queue = open_queue(path)
    newest = max((event["number"] for event in queue.events()), default=0)
    while True:
        queue.reap()
        for event in queue.events(after=newest):
            newest = event["number"]
            at = datetime.fromtimestamp(event["time"]).strftime("%H:%M:%S")
            typer.echo(f"{at}  {event['kind']:<10} {event['job']:<10} {printable(event['detail'])}")
        if not queue.is_open(batch=batch):
            break
        time.sleep(0.5)
    _print_summary(queue, batch)


@queue_app.command()
def cancel(
    ids: Ids = None,
    every: Annotated[bool, typer.Option("--all", help="Every job that is not finished.")] = False,
    batch: Batch = None,
    path: QueueFile = None,
) -> None:
    """Stop jobs: a running one within a second, a pending one before it begins."""
    queue = open_queue(path)
    _require_choice(ids, every or batch is not None)
    count = sum(queue.cancel(job_id) for job_id in ids) if ids else queue.cancel_all(batch=batch)
    typer.echo(f"{count} cancelled")


@queue_app.command()
def retry(
    ids: Ids = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every failed job.")] = False,
    cancelled: Annotated[bool, typer.Option("--cancelled", help="Every cancelled job.")] = False,
    batch: Batch = None,
    path: QueueFile = None,
) -> None:
    """Put failed or cancelled jobs into the queue again."""
    queue = open_queue(path)
    _require_choice(ids, failed or cancelled)
    count = sum(queue.retry(job_id) for job_id in ids or ())
    states: list[Any] = [
        name for name, chosen in (("failed", failed), ("cancelled", cancelled)) if chosen
    ]
    count += queue.retry_all(states=states, batch=batch) if states else 0
    typer.echo(f"{count} in the queue again")


@queue_app.command()
def pause(
    reason: Annotated[str, typer.Option(help="Shown to whoever waits.")] = "",
    path: QueueFile = None,
) -> None:
    """Begin no other job; running ones are finished."""
    queue = open_queue(path)
    queue.pause(reason) if reason else queue.pause()


@queue_app.command()
def resume(path: QueueFile = None) -> None:
    """End a pause."""
    typer.echo("resumed" if open_queue(path).resume() else "was not paused")


@queue_app.command()
def clear(
    done: Annotated[bool, typer.Option("--done", help="Only those that are done.")] = False,
    batch: Batch = None,
    path: QueueFile = None,
) -> None:
    """Remove finished, failed and cancelled jobs from the list; videos stay."""
    states: Any = ["done"] if done else ["done", "failed", "cancelled"]
    typer.echo(f"{open_queue(path).clear(states=states, batch=batch)} removed")


def worker(
    count: Annotated[int, typer.Option(min=1, help="Items made at once.")] = 1,
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when the queue is empty.")
    ] = False,
    idle_exit: Annotated[
        bool, typer.Option("--idle-exit", help="End after five minutes without a job.")
    ] = False,
    time_limit: Minutes = None,
    path: QueueFile = None,
) -> None:
    """Make the jobs of the queue; Ctrl-C or SIGTERM puts what is being made back within seconds."""
    from heygem.batch.workers.worker import run_workers

    with interrupts.stoppable() as stop:
        run_workers(
            [open_queue(path) for _ in range(count)],
            stop,
            until_empty=until_empty,
            idle_exit=idle_exit,
            time_limit_s=time_limit and 60 * time_limit,
        )


def batch(
    params: Annotated[Path, typer.Argument(metavar="PARAMS.yaml", help="Recipe; see params/.")],
    changes: Change = None,
    overwrite: Overwrite = False,
    name: Annotated[
        str, typer.Option("--name", help="Of the batch; default: that of the recipe.")
    ] = "",
    count: Annotated[int | None, typer.Option("--count", min=1, help="Items made at once.")] = None,
    priority: Priority = 0,
    time_limit: Minutes = None,
    zipped: Annotated[bool, typer.Option("--zip", help="Write a ZIP of all results too.")] = False,
    film: Annotated[
        bool, typer.Option(help="Of a sweep, write a film of its variants side by side.")
    ] = True,
    lang: Annotated[
        str, typer.Option(help="Language of gallery and comparison, en or zh; else $HEYGEM_LANG.")
    ] = "",
    cluster: Annotated[
        str, typer.Option("--cluster", metavar="ray", help="On a cluster; see docs/cluster.md.")
    ] = "",
    address: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Of its head; default: this machine alone."),
    ] = "",
    path: QueueFile = None,
) -> None:
    """Add a recipe's videos to the queue, make them, and report: gallery, table, comparison.

    What an earlier run has finished is not made again. After Ctrl-C the rest stays in the queue.
    """
    from heygem.batch import queued_batch, runner

    i18n.language(lang)  # an unknown one is refused now
    settings = read_recipe(None, None, None, None, None, params, changes, overwrite)
    name = name or params.stem
    queue = open_queue(path)
    _check_cluster(cluster, address, count)
    _check_addresses(settings, cluster, zipped)
    options: dict[str, Any] = {"batch": name, "time_limit_s": time_limit and 60 * time_limit}
    with logs.quiet_libraries(), interrupts.stoppable() as stop:
        report, items = queued_batch.run(
            queue,
            settings,
            lambda stop: (
                _work_on_cluster(path, stop, address, count, options)
                if cluster
                else _work_here(path, stop, count or 1, options)
            ),
            batch=name,
            priority=priority,
            stop=stop,
            on_finished=lambda job: typer.echo(_line(job), err=True),
            on_pause=lambda reason: typer.echo(
                f"the queue is paused: {printable(reason)}; a pause by hand ends with "
                "heygem queue resume",
                err=True,
            ),
        )
        is_whole = not stop.is_set()  # who stopped it does not wait for films
        if is_address(settings.inputs.output):
            report = replace(report, folder=queue.path.parent / safe_name(name))
        report, files = queued_batch.finish(
            report,
            items,
            settings,
            batch=name,
            film=film and is_whole,
            zipped=zipped and is_whole,
            lang=lang,
        )
    print_items(runner.summary(report, settings))
    for key, file in files.files.items():
        typer.echo(f"{key}: {printable(file)}")
    waiting = sum(outcome.status == "cancelled" for outcome in report.outcomes)
    if waiting and queue.is_open(batch=name):
        typer.echo(f"{waiting} wait in the queue: heygem worker --until-empty, or", err=True)
        typer.echo(f"heygem queue cancel --batch {printable(name)}", err=True)
    raise typer.Exit(report.exit_code)


def _work_here(
    path: Path | None, stop: threading.Event, count: int, options: dict[str, Any]
) -> None:
    from heygem.batch.workers.worker import run_workers

    run_workers([open_queue(path) for _ in range(count)], stop, until_empty=True, **options)


def _work_on_cluster(
    path: Path | None,
    stop: threading.Event,
    address: str,
    actors: int | None,
    options: dict[str, Any],
) -> None:
    from heygem.batch.cluster import nodes, run

    run.work(
        open_queue(path), address=address or nodes.LOCAL, actors=actors, cancel=stop, **options
    )


def _check_cluster(cluster: str, address: str, count: int | None) -> None:
    """Refuse options of a cluster that do not go together, before anything is queued."""
    if cluster not in ("", "ray"):
        raise ParameterError("unknown kind of cluster", seen=cluster, remedy="--cluster ray")
    if address and not cluster:
        raise ParameterError("--address is that of a cluster", remedy="add --cluster ray")
    if cluster:
        from heygem.batch.cluster import nodes

        nodes.require_ray()
        nodes.require_no_count(address or nodes.LOCAL, count)


def _check_addresses(settings: "Params", cluster: str, zipped: bool) -> None:
    """Refuse addresses of stores without a cluster, whose nodes read and write them."""
    inputs = settings.inputs
    named = [*inputs.videos, *inputs.audios, inputs.audio or "", inputs.output]
    address = next((each for each in named if is_address(each)), None)
    if address is not None and not cluster:
        raise ParameterError(
            "addresses of stores are for a cluster",
            seen=address,
            remedy="add --cluster ray (this machine alone will do), or copy the files to a folder",
        )
    if zipped and is_address(inputs.output):
        raise ParameterError(
            "a ZIP is made of files in a folder",
            seen=inputs.output,
            remedy="leave out --zip, or give a folder with inputs.output",
        )


def add_commands(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(queue_app, name="queue")
    app.command()(worker)
    app.command()(batch)


def _require_choice(ids: Sequence[str] | None, is_given: bool) -> None:
    if not ids and not is_given:
        raise ParameterError("no job is named", remedy="give ids, or an option such as --batch")


def _line(job: "Job") -> str:
    """One job on one line."""
    detail = ""
    if job.state == "running":
        progress = job.progress
        detail = f"{progress.get('stage', '')} {progress.get('done', 0)}/{progress.get('total', 0)}"
    elif job.state == "done":
        detail = f"{job.seconds:.1f} s"
    elif job.error:
        detail = f"{job.error.get('code', '')}: {job.message}"
    owner = f" ({job.owner})" if job.owner else ""
    return f"{job.id}  {job.state:<9} {printable(job.name)}{owner}  {printable(detail)}".rstrip()


def _print_summary(queue: "JobQueue", batch: str | None) -> None:
    counts = {state: number for state, number in queue.counts(batch=batch).items() if number}
    text = ", ".join(f"{number} {state}" for state, number in counts.items()) or "no jobs"
    workers = len(queue.workers())
    typer.echo(f"{text}; {workers} worker{'s' * (workers != 1)}", err=True)
    if paused := queue.paused():
        typer.echo(f"paused: {printable(paused)}", err=True)
    for notice in queue.notices():
        typer.echo(f"notice: {printable(notice)}", err=True)
