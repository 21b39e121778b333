"""Which files a request may name: those of the served folder, of the user, and of further folders.

Whoever has the token can run code as the user, so this is no wall against them. It keeps a program
that passes names on, as a form on a page does, from naming anything on the machine.
"""

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from heygem.config import pairs, sweeps
from heygem.config.params import Params
from heygem.core.errors import PolicyError
from heygem.core.files import is_address
from heygem.lips.predictor import is_installed_name

FOLDERS_VARIABLE = "HEYGEM_API_FOLDERS"  # further folders, separated as in PATH
_FILES = ("lips.model", "checkpoint", "label.logo", "label.font", "mlflow.folder")


class AllowedFolders:
    """The folders of one server.

    Parameters
    ----------
    root : path
        The served folder: relative paths start from it, and results stay in it.
    others : iterable of path, optional
        Further folders of inputs; default: the user's home, and those of `HEYGEM_API_FOLDERS`.
    """

    def __init__(self, root: Path, others: Iterable[Path] | None = None) -> None:
        if others is None:
            named = os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)
            others = [Path.home(), *(Path(name) for name in named if name)]
        self.root = root.resolve()
        self._all = [self.root, *(folder.resolve() for folder in others)]

    def input(self, name: str) -> str:
        """Absolute path (or pattern) of an input; an address of a store stays as it is.

        Raises
        ------
        PolicyError
            It, or what it links to, lies elsewhere.
        """
        if is_address(name):
            return name
        path = self._absolute(name)
        fixed = _without_pattern(path).resolve()
        if not any(fixed.is_relative_to(folder) for folder in self._all):
            raise PolicyError(
                "this file lies outside the folders that the API reads",
                seen=name,
                remedy="upload it, copy it into the served folder, or name its folder in "
                "HEYGEM_API_FOLDERS when you start the server",
            )
        return str(path)

    def output(self, name: str) -> str:
        """Absolute path of a folder of results.

        Raises
        ------
        PolicyError
            It, or what it links to, lies outside the served folder.
        """
        if is_address(name):
            return name
        path = self._absolute(name)
        if not path.resolve().is_relative_to(self.root):
            raise PolicyError(
                "results of the API stay in the served folder",
                seen=name,
                remedy="name a folder relative to it, such as runs/out",
            )
        return str(path)

    def resolved(self, params: Params) -> Params:
        """A recipe with absolute paths, all of them allowed.

        Raises
        ------
        PolicyError
        InputError, ParameterError
            Its table of pairs cannot be read.
        """
        inputs, settings = params.inputs, params.dotted()
        changes: dict[str, Any] = {
            "inputs.output": self.output(inputs.output),
            "inputs.videos": [self.input(name) for name in inputs.videos],
            "inputs.audios": [self.input(name) for name in inputs.audios],
            "inputs.audio": None if inputs.audio is None else self.input(inputs.audio),
        }
        rows = inputs.pairs
        if isinstance(rows, str):
            rows = pairs.read(self.input(rows))
        if rows is not None:
            changes["inputs.pairs"] = [self._row(pair) for pair in rows]
        for key in _FILES:
            if settings[key] is not None:
                changes[key] = self._part(key, str(settings[key]))
        for variant in sweeps.variants(params.sweep):
            for key in variant.keys() & set(_FILES):
                self._part(key, str(variant[key]))
        return params.override(changes)

    def _absolute(self, name: str) -> Path:
        """A path without `..`, which patterns and links would lead astray."""
        return Path(os.path.normpath(self.root / Path(name).expanduser()))

    def _row(self, pair: pairs.Pair) -> dict[str, Any]:
        row = pair.row()
        files = ("video", "audio", *(key for key in _FILES if key in row))
        return row | {key: self._part(key, str(row[key])) for key in files if key in row}

    def _part(self, key: str, name: str) -> str:
        """As `input`, of a setting that may name an installed lips model in place of a file."""
        return name if key == "lips.model" and is_installed_name(name) else self.input(name)


def _without_pattern(path: Path) -> Path:
    """The part of a pattern before its first wildcard; a file that is there is no pattern."""
    if path.exists():
        return path
    parts: list[str] = []
    for part in path.parts:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)
