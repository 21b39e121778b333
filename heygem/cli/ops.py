"""Commands for whoever operates heygem: logs, report, metrics, alerts, backups, retention."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heygem.cli.keys import PassphraseFile, read_passphrase
from heygem.cli.options import printable

if TYPE_CHECKING:
    from heygem.ops.alerts import AlertCheck


def logs(
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Continue as it is written.")
    ] = False,
    item: Annotated[str, typer.Option(help="Only of this item, or of this id in the queue.")] = "",
    level: Annotated[str, typer.Option(help="At least this serious: debug ... error.")] = "info",
    since: Annotated[str, typer.Option(help="From then on: 30m, 2h, 1d or 2026-11-21T22:00.")] = "",
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of them.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON lines, as stored.")] = False,
    file: Annotated[
        Path | None, typer.Option(metavar="LOG.jsonl", help="Another log, such as an item's.")
    ] = None,
) -> None:
    """Show what happened: the newest records of the log of this machine."""
    from heygem.core.errors import InputError, ParameterError
    from heygem.core.logs import LEVELS, log_file
    from heygem.ops import log_view

    if level.upper() not in LEVELS:
        raise ParameterError(
            "unknown level", seen=level, remedy=f"give one of {', '.join(LEVELS).lower()}"
        )
    path = file or log_file()
    if not follow and not log_view.files(path):
        raise InputError("there is no log", seen=path, remedy="make a video first, or name --file")
    start = log_view.parse_since(since) if since else None
    selection = log_view.Filter(level.upper(), item, start)

    def show(record: log_view.Record) -> None:
        typer.echo(log_view.printable(record.line) if as_json else log_view.to_text(record))

    for record in (
        log_view.read(selection, path) if since else log_view.newest(selection, lines, path)
    ):
        show(record)
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            for record in log_view.follow(selection, path):
                show(record)


QueuePath = Annotated[
    Path | None, typer.Option("--queue", metavar="Q.db", help="Another queue than the project's.")
]
metrics_app = typer.Typer(help="Metrics for Prometheus.", no_args_is_help=True)


def report(
    day: Annotated[bool, typer.Option("--day", help="The last 24 hours (the default).")] = False,
    week: Annotated[bool, typer.Option("--week", help="The last seven days.")] = False,
    since: Annotated[str, typer.Option(help="From then on: 12h, 3d or 2026-11-21T18:00.")] = "",
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write HTML, Markdown and JSON there.")
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Also what was made there past the queue."),
    ] = None,
    mlflow: Annotated[bool, typer.Option(help="Record it as an MLflow run.")] = False,
    mlflow_folder: Annotated[str, typer.Option(help="Folder of the MLflow store.")] = "mlruns",
    queue: QueuePath = None,
) -> None:
    """What was made, how long it took, what failed and what to do: printed as Markdown."""
    from datetime import UTC, datetime

    from heygem.core.errors import ParameterError
    from heygem.ops import log_view, work
    from heygem.ops import report as reports

    if sum([day, week, bool(since)]) > 1:
        raise ParameterError("give one of --day, --week and --since")
    until = datetime.now(UTC)
    start = log_view.parse_since(since or ("7d" if week else "1d"), now=until)
    period = {"since": start.timestamp(), "until": until.timestamp()}
    opened = work.open_queue(queue)
    items = work.together(
        work.queue_items(opened, **period), work.folder_items(results or (), **period)
    )
    summary = reports.summarize(
        items, since=start, until=until, queue=opened, ledger=reports.ledger_state()
    )
    typer.echo(reports.to_markdown(summary), nl=False)
    if out is not None:
        for path in reports.save(summary, out):
            typer.echo(f"written: {path}", err=True)
    if mlflow:
        from heygem.config.params import Params

        params = Params.from_dict({"mlflow": {"folder": mlflow_folder}})
        typer.echo(f"MLflow run {reports.record(summary, params)}", err=True)


@metrics_app.command("serve")
def serve_metrics(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 9464,
    queue: QueuePath = None,
    results: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of results, for its disk.")
    ] = None,
) -> None:
    """Answer Prometheus on this machine only, until it is stopped."""
    import threading

    from heygem.ops import metrics

    server, thread = metrics.serve(port, queue, results)
    typer.echo(f"http://{metrics.LOOPBACK}:{port}/metrics  (Ctrl-C to stop)")
    stopped = threading.Event()
    _on_stop(stopped.set)
    stopped.wait()
    server.shutdown()
    thread.join()


@metrics_app.command("show")
def show_metrics(queue: QueuePath = None) -> None:
    """Print the metrics once, as Prometheus reads them."""
    from prometheus_client import generate_latest

    from heygem.ops import metrics

    typer.echo(generate_latest(metrics.registry(queue)).decode(), nl=False)


AlertParams = Annotated[
    Path | None,
    typer.Option("--params", metavar="ALERTS.yaml", help="See params/operations/alerts.yaml."),
]
alerts_app = typer.Typer(help="Notify an operator when something is wrong.", no_args_is_help=True)


@alerts_app.command("check")
def check_alerts(params: AlertParams = None) -> None:
    """Check once and send what is new; prints all active alerts, exit code 1 if there are any."""
    from heygem.ops import alert_settings, alerts

    result = alerts.check(alert_settings.read(params))
    _print_changes(result)
    for alert in result.active:
        typer.echo(f"{alert.severity}: {alert.rule}: {alert.message}; {alert.remedy}")
    if result.active or result.failures:
        raise typer.Exit(1)
    typer.echo("nothing")


@alerts_app.command("watch")
def watch_alerts(params: AlertParams = None) -> None:
    """Check again and again until it is stopped."""
    import threading

    from heygem.ops import alert_settings, alerts

    stopped = threading.Event()
    _on_stop(stopped.set)
    alerts.watch(alert_settings.read(params), report=_print_changes, wait=stopped.wait)


@alerts_app.command("test")
def test_alerts(params: AlertParams = None) -> None:
    """Send a test through every channel that is set; exit code 1 where one fails."""
    from heygem.ops import alert_settings, alerts

    settings = alert_settings.read(params)
    content = {"rule": "test", "severity": "warning", "message": "this is a test", "remedy": ""}
    failures = alerts.notify(content | {"state": "test"}, settings)
    channels = [name for name in ("log", "command", "webhook") if getattr(settings, name)]
    for failure in failures:
        typer.echo(failure, err=True)
    if failures:
        raise typer.Exit(1)
    typer.echo(f"sent: {', '.join(channels) or 'no channel is set'}")


def _print_changes(result: "AlertCheck") -> None:
    for alert in result.notified:
        typer.echo(f"notified: {alert.rule}: {alert.message}", err=True)
    for rule in result.over:
        typer.echo(f"over: {rule}", err=True)
    for failure in result.failures:
        typer.echo(failure, err=True)


def health() -> None:
    """Whether queue, models and folders can be used; exit code 1 where not."""
    from heygem.ops.health import problems

    messages = problems()
    for problem in messages:
        typer.echo(problem, err=True)
    if messages:
        raise typer.Exit(1)
    typer.echo("ok")


NoPassphrase = Annotated[
    bool, typer.Option("--no-passphrase", help="Do not encrypt the keys in it.")
]


def backup(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made; must not be there.")],
    results: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Results to save; default: those of the queue."),
    ] = None,
    without_results: Annotated[
        bool, typer.Option("--without-results", help="Records, queue and MLflow store alone.")
    ] = False,
    mlflow_folder: Annotated[Path, typer.Option(help="Folder of the MLflow store.")] = Path(
        "mlruns"
    ),
    passphrase_file: PassphraseFile = None,
    no_passphrase: NoPassphrase = False,
) -> None:
    """Save results, ledger, keys, queue and MLflow store, also while videos are being made."""
    from heygem.ops import backup as backups
    from heygem.ops import work

    folders: tuple[Path, ...] = tuple(results or ())
    if not folders and not without_results:
        folders = backups.result_folders(work.open_queue())
    sources = backups.Sources(mlflow=mlflow_folder, results=() if without_results else folders)
    passphrase = None if no_passphrase else read_passphrase(passphrase_file, is_new=True)
    saved = backups.make(out, sources, passphrase=passphrase)
    typer.echo(f"{saved.folder}: {backups.describe(saved)}")


def restore(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of `heygem backup`.")],
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Restore below it, to compare or move.")
    ] = None,
    check_only: Annotated[
        bool, typer.Option("--check", help="Compare all files with their hashes, and stop.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Put a backup back where it came from, or below --to; nothing is overwritten."""
    from heygem.ops import backup as backups
    from heygem.ops import restore as restoring
    from heygem.provenance.keys import backup as key_backup

    saved = backups.check(folder)
    typer.echo(f"{backups.describe(saved)}: every file is as it was saved")
    if check_only:
        return
    places = restoring.targets(saved, to)
    passphrase = None
    if places.records is not None and key_backup.is_encrypted(folder / backups.KEYS):
        passphrase = read_passphrase(passphrase_file, is_new=False)
    restoring.restore(saved, places, passphrase=passphrase)
    for path in places.all():
        typer.echo(f"restored: {path}")


def retention(
    params: Annotated[
        Path | None,
        typer.Option(
            "--params", metavar="RETENTION.yaml", help="See params/operations/retention.yaml."
        ),
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="Folders of results; default: those of the queue."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Delete old results, avatars and logs as the settings say; the ledger records it."""
    from heygem.core.disk import format_size
    from heygem.ops import backup as backups
    from heygem.ops import retention as rules
    from heygem.ops import work

    folders = tuple(results or ()) or backups.result_folders(work.open_queue())
    chosen = rules.plan(rules.read(params), folders)
    for deletion in chosen.deletions:
        size = format_size(deletion.size)
        typer.echo(f"{deletion.kind:7} {size:>8}  {printable(deletion.path)}  ({deletion.reason})")
    for line in chosen.retained:
        typer.echo(f"stays: {printable(line)}", err=True)
    total = format_size(sum(deletion.size for deletion in chosen.deletions))
    typer.echo(f"{len(chosen.deletions)} files, {total}")
    if dry_run or not chosen.deletions:
        return
    if not yes:
        typer.confirm("Delete them?", abort=True)
    deleted, problems = rules.apply(chosen)
    for problem in problems:
        typer.echo(f"not deleted: {printable(problem)}", err=True)
    typer.echo(f"{len(deleted)} deleted")
    if problems:
        raise typer.Exit(1)


def _on_stop(action: Callable[[], None]) -> None:
    """Call a function at SIGINT and SIGTERM."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: action())


def add_commands(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(logs)
    app.command()(report)
    app.command()(health)
    app.add_typer(metrics_app, name="metrics")
    app.add_typer(alerts_app, name="alerts")
    app.command()(backup)
    app.command()(restore)
    app.command()(retention)
