"""`heygem train`: train heygem's own models."""

from pathlib import Path
from typing import Annotated

import typer

from heygem.cli.options import Change, Overwrite, printable, read_changes
from heygem.core import assets, logs

train_app = typer.Typer(help="Train heygem's own models.", no_args_is_help=True)


@train_app.command("lips")
def train_lips(
    dataset: Annotated[
        Path, typer.Argument(help="Folder of talking videos; a sub-folder for each speaker.")
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="Model to write, with its model card."),
    ] = Path("runs/lips.safetensors"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Videos read at once.")] = 1,
    tracking: Annotated[str, typer.Option(help="Folder of the MLflow store.")] = "mlruns",
    changes: Change = None,
    overwrite: Overwrite = False,
) -> None:
    """Train the lips model on any folder of talking videos.

    Started again with the same settings, it continues where it stopped. Use the model with
    --set lips.model=FILE or lips.model in a recipe.
    """
    from heygem.config.params import checked
    from heygem.core import progress
    from heygem.training import run
    from heygem.training.settings import TrainSettings

    settings = checked(TrainSettings, read_changes(changes))
    with logs.quiet_libraries(), progress.Bar() as bar:
        trained = run.train_lips(
            dataset,
            out,
            settings,
            device=device,
            workers=workers,
            cache=assets.home() / "training",
            tracking_folder=tracking,
            overwrite=overwrite,
            progress=lambda stage, done, total: bar(out.name, 0, 1, stage, done, total),
        )
    typer.echo(f"{printable(out)}  ({len(trained.clips)} clips, {trained.seconds:.0f} s)")
