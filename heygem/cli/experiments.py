"""`heygem experiments`: the records of runs in MLflow."""

from pathlib import Path
from typing import Annotated

import typer

from heygem.core.errors import OutputError

experiments_app = typer.Typer(help="The records of runs in MLflow.", no_args_is_help=True)


@experiments_app.callback()
def _group() -> None:
    """Keep `deliver` a command of its own while it is the only one."""


@experiments_app.command()
def deliver(
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", help="Folder of the MLflow store.")
    ] = Path("mlruns"),
) -> None:
    """Give MLflow the records that it did not take when the videos were made.

    Each record is delivered once, however often this is called. The next batch does the same by
    itself. Records of a batch that is running are left to it.
    """
    from heygem.experiments import delivery, spool

    if not spool.pending(folder):
        typer.echo("nothing waits")
        return
    result = delivery.deliver_pending(folder)
    typer.echo(f"{result.records} records delivered, {result.waiting} wait")
    if result.problem:
        raise OutputError(
            "MLflow does not take the records",
            seen=result.problem,
            remedy=f"they stay in {spool.folders(folder)[0]}; call this again when the store works",
        )
