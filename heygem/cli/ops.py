"""Commands for whoever operates heygem: logs."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer


def logs(
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it is written.")] = False,
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
    wanted = log_view.Filter(level.upper(), item, start)

    def show(record: log_view.Record) -> None:
        typer.echo(log_view.printable(record.line) if as_json else log_view.to_text(record))

    records = log_view.read(wanted, path)
    for record in records if since else log_view.tail(records, lines):
        show(record)
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            for record in log_view.follow(wanted, path):
                show(record)


def add_commands(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(logs)
