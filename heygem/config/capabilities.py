"""Capabilities that a build of heygem can leave out, and the files that belong to each.

Export-control rules, for one, can require a build that cannot fine-tune the model for a person.
`capabilities.yaml` beside this file lists what is included. `setup.py` reads the same file when it
makes a wheel or source archive and leaves the files out, so that a reduced build contains no code
that could be switched back on.
"""

import os
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import yaml

from heygem.core.errors import HeygemError, InputError

FILE = "capabilities.yaml"
# Of each capability: patterns of paths from the project's folder; a folder includes all it holds.
# The first is the package of the capability: without it the capability is off, whatever the file
# says.
PARTS: dict[str, tuple[str, ...]] = {
    "finetune": (
        "heygem/finetune",
        "heygem/batch/finetune_record.py",
        "heygem/cli/finetune.py",
        "heygem/studio/before_after.py",
        "heygem/studio/consent_form.py",
        "heygem/studio/pages/finetune.py",
        "notebooks/03_finetune.ipynb",
        "notebooks/12_finetune.ipynb",
        "params/finetune.yaml",
        "tests/finetune",
        "tests/studio/test_finetune_page.py",
    ),
}
DESCRIPTIONS = {"finetune": "fine-tuning"}  # for messages


def enabled(name: str) -> bool:
    """Whether this build has a capability.

    Parameters
    ----------
    name : str
        A key of `PARTS`.
    """
    package = Path(__file__).parents[2] / PARTS[name][0]
    return read()[name] and any(package.glob("*.py"))


def require(name: str, *, seen: object = None) -> None:
    """Refuse to continue where this build is without a capability.

    Raises
    ------
    InputError
        It was left out; `seen` names what asked for it.
    """
    if not enabled(name):
        raise InputError(
            f"this build of heygem is without {DESCRIPTIONS[name]}",
            seen=seen,
            remedy=f"install one that was built with `{name}: true` in {FILE}",
        )


def require_path(path: str) -> None:
    """`require` the capability that a file belongs to, where it is switched off in a checkout.

    Parameters
    ----------
    path : str
        From the project's folder, with forward slashes.
    """
    for name in PARTS:
        if left_out(path, dict.fromkeys(PARTS, True) | {name: False}):
            require(name, seen=path)


@cache
def read(path: str | os.PathLike[str] | None = None) -> dict[str, bool]:
    """Whether each capability of `PARTS` is included, by name.

    Raises
    ------
    HeygemError
        The file is missing or broken. No capability is on by default then: a typing mistake must
        not bring back what was left out.
    """
    path = Path(path) if path is not None else Path(__file__).with_name(FILE)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as e:
        raise HeygemError("the list of capabilities cannot be read", seen=f"{path}: {e}") from e
    if (
        not isinstance(content, dict)
        or content.keys() != PARTS.keys()
        or not all(isinstance(value, bool) for value in content.values())
    ):
        raise HeygemError(
            "the list of capabilities is not as it should be",
            seen=f"{path}: {content}",
            remedy=f"one line, true or false, for each of: {', '.join(PARTS)}",
        )
    return content


def left_out(path: str, switches: dict[str, bool]) -> bool:
    """Whether a build with these switches is without a file.

    Parameters
    ----------
    path : str
        From the project's folder, with forward slashes.
    switches : dict
        As `read` returns them.
    """
    parts = [part for name, parts in PARTS.items() if not switches[name] for part in parts]
    return any(fnmatch(path, part) or fnmatch(path, f"{part}/*") for part in parts)
