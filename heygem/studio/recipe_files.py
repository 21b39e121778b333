"""Recipe files: what the page saves is what Papermill and the command line run."""

import re
from pathlib import Path

from heygem.config.params import Params
from heygem.core import disk
from heygem.core.errors import OutputError, ParameterError
from heygem.core.files import replacing
from heygem.core.types import PathLike

_NAME = re.compile(r"\w[\w-]{0,63}")


def recipe_path(name: str, folder: PathLike = "params") -> Path:
    """`folder/NAME.yaml` for a safe name (letters of any script, digits, _ and -)."""
    name = str(name).strip().removesuffix(".yaml")
    if not _NAME.fullmatch(name):
        raise ParameterError(
            "not a name for a recipe",
            seen=repr(name[:80]),
            remedy="use up to 64 letters, digits, - and _",
        )
    return Path(folder) / f"{name}.yaml"


def save_recipe(
    params: Params, name: str, *, folder: PathLike = "params", replace: bool = False
) -> Path:
    """Write a commented recipe; the file gets its name after it was read back without a change.

    Parameters
    ----------
    params : Params
    name : str
    folder : path
    replace : bool
        Whether a recipe of that name may be overwritten.

    Raises
    ------
    ParameterError
        The name cannot be used, or a recipe of that name exists.
    OutputError
        The folder cannot be written.
    """
    path = recipe_path(name, folder)
    if path.exists() and not replace:
        raise ParameterError(
            "there is a recipe of that name", seen=path, remedy="choose another, or allow replacing"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as staged:
            staged.write_text(params.to_yaml(), encoding="utf-8")
            if Params.from_yaml(staged) != params:
                raise OutputError("the recipe changes when it is read back", seen=path)
    except OSError as e:
        raise disk.write_error(e, path, what=f"cannot write the recipe {path.name}") from e
    return path


def load_recipe(name: str, *, folder: PathLike = "params") -> Params:
    """Read a recipe by name; raises as `Params.from_yaml` does."""
    return Params.from_yaml(recipe_path(name, folder))


def list_recipes(folder: PathLike = "params") -> list[str]:
    """Names of the recipes in a folder, sorted."""
    return sorted(p.stem for p in Path(folder).glob("*.yaml") if not p.name.startswith("."))
