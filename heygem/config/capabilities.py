"""What can be left out of the kit, and what belongs to it.

Some places must not hand on every ability: export-control articles, for one, advise that teaching
the model a single person can be taken out. `capabilities.yaml` beside this file says what is in;
`setup.py` reads the same file when a wheel or source archive is made, and leaves the parts out, so
that a reduced kit holds no code that could be switched back on.
"""

from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import yaml

from heygem.core.errors import HeygemError, InputError

FILE = "capabilities.yaml"
# Of each capability: patterns of paths from the project's folder. A folder stands for everything in
# it. The first is the code itself: without it the capability is off, whatever the file says.
PARTS = {
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
FOR = {"finetune": "few-shot: teaching the model one person"}  # in words, for a message


def enabled(name):
    """Whether this build can do it.

    Parameters
    ----------
    name : str
        A key of `PARTS`.
    """
    package = Path(__file__).parents[2] / PARTS[name][0]
    return read()[name] and any(package.glob("*.py"))


def require(name, *, seen=None):
    """Go on only where this build can do it.

    Raises
    ------
    InputError
        It was left out; `seen` says what asked for it.
    """
    if not enabled(name):
        raise InputError(
            f"this build of heygem is without {FOR[name]}",
            seen=seen,
            remedy=f"install one that was built with `{name}: true` in {FILE}",
        )


def require_path(path):
    """`require` what a part belongs to, in a checkout that still holds a part switched off.

    Parameters
    ----------
    path : str
        From the project's folder, with forward slashes.
    """
    for name in PARTS:
        if left_out(path, dict.fromkeys(PARTS, True) | {name: False}):
            require(name, seen=path)


@cache
def read(path=None):
    """The switches: dict of name to bool, one for each of `PARTS`.

    Raises
    ------
    HeygemError
        The file is missing or broken. Nothing is on by default then: who left something out must
        not get it back through a typing mistake.
    """
    path = Path(path) if path is not None else Path(__file__).with_name(FILE)
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as e:
        raise HeygemError("the list of capabilities cannot be read", seen=f"{path}: {e}") from e
    if (
        not isinstance(given, dict)
        or given.keys() != PARTS.keys()
        or not all(isinstance(value, bool) for value in given.values())
    ):
        raise HeygemError(
            "the list of capabilities is not as it should be",
            seen=f"{path}: {given}",
            remedy=f"one line, true or false, for each of: {', '.join(PARTS)}",
        )
    return given


def left_out(path, switches):
    """Whether a build with these switches is without a file.

    Parameters
    ----------
    path : str
        From the project's folder, with forward slashes.
    switches : dict
        As from `read`.
    """
    parts = [part for name, parts in PARTS.items() if not switches[name] for part in parts]
    return any(fnmatch(path, part) or fnmatch(path, f"{part}/*") for part in parts)
