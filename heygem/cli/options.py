"""Options and helpers that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from heygem.core.errors import ParameterError

Language = Annotated[str, typer.Option(help="Language of the pages: en or zh.")]
Recipe = Annotated[
    Path | None, typer.Option("--params", metavar="P.yaml", help="Recipe with all other settings.")
]
Change = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one setting, as in --set lips.openness_gain=1.2; may be repeated.",
    ),
]

Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace files under the names of results, whoever made them."
    ),
]


def read_changes(changes: list[str] | None) -> dict[str, Any]:
    """KEY=VALUE texts as a dictionary; values are read as in a recipe: numbers, true, [lists].

    Raises
    ------
    ParameterError
        A text is not KEY=VALUE.
    """
    from heygem.config import recipes

    overrides = {}
    for change in changes or ():
        key, equals, value = change.partition("=")
        if not equals or not key.strip():
            raise ParameterError("--set takes KEY=VALUE", seen=change)
        overrides[key.strip()] = recipes.parse(value, f"the value of --set {key.strip()}")
    return overrides


def printable(name: object) -> str:
    """A file name on one line, whatever its bytes."""
    text = str(name).encode("utf-8", "backslashreplace").decode()
    return text.replace("\r", "\\r").replace("\n", "\\n")


def renamed(old: str, new: str) -> None:
    """Say on stderr that an old name was used."""
    from heygem.config.renamed import ACCEPTED

    typer.echo(f"notice: {old} is now called {new}; {ACCEPTED}", err=True)
