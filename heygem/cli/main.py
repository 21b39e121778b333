"""The `heygem` command: its parts put together, and the entry point.

Each command reads its options, calls one function and prints the result. Heavy modules are imported
inside the commands, so that --help answers at once.
"""

import atexit
import codecs
import gc
import io
import logging
import sys

import typer

from heygem.cli import generate, ops, provenance, queue, serve
from heygem.cli.evaluate import evaluate
from heygem.cli.experiments import experiments_app
from heygem.cli.models import models_app
from heygem.cli.training import train_app
from heygem.config import capabilities
from heygem.core import disk, logs
from heygem.core.errors import Cancelled, HeygemError

HELP = """Make a person in a video speak a new audio track. Everything stays on this machine.

First steps:

    heygem check --audio speech.wav --video anna.mp4       is this material good enough?

    heygem generate --audio speech.wav --video anna.mp4 --out results

    heygem ui                                              compare runs in MLflow
"""

app = typer.Typer(help=HELP, no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(generate.generate)
app.command()(generate.run)
app.command()(generate.check)
app.command()(serve.lab)
app.command()(serve.studio)
app.command()(serve.ui)
app.add_typer(models_app, name="models")
app.add_typer(train_app, name="train")
app.add_typer(experiments_app, name="experiments")
app.command()(evaluate)
if capabilities.enabled("finetune"):
    from heygem.cli.finetune import finetune

    app.command()(finetune)
provenance.add_commands(app)
ops.add_commands(app)
queue.add_commands(app)


def main() -> None:
    """Entry point: a HeygemError is one line and exit code 2; other errors are logged and 1."""
    logs.start_log()
    _print_any_text()
    atexit.register(gc.freeze)  # a last search for garbage takes a second and frees nothing of use
    try:
        app()
    except Cancelled as error:
        typer.echo(str(error), err=True)
        sys.exit(130)
    except HeygemError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        if disk.is_disk_error(error):
            typer.echo(f"error: {disk.write_error_somewhere(error)}", err=True)
            sys.exit(2)
        logging.getLogger("heygem").exception("unexpected")
        text = " ".join(str(error).split())
        typer.echo(f"error: unexpected {type(error).__name__}: {text}", err=True)
        typer.echo(f"details: {logs.log_file()}", err=True)
        sys.exit(1)


def _print_any_text() -> None:
    """In a locale without an encoding (`LANG=C`), print UTF-8; elsewhere escape what it lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if is_ascii else None, errors="backslashreplace")


if __name__ == "__main__":
    main()
