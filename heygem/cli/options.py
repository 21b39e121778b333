"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

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


def read_changes(changes):
    """KEY=VALUE to a dictionary, values as YAML would read them: numbers, true, null, [lists]."""
    import yaml

    overrides = {}
    for change in changes or ():
        key, equals, value = change.partition("=")
        if not equals or not key.strip():
            raise ParameterError("--set takes KEY=VALUE", seen=change)
        try:
            overrides[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ParameterError("bad value for --set", seen=change) from error
    return overrides
