"""Settings that were renamed: old names are accepted for one release, with a notice.

One table of old and new names, and one function that replaces old names in a dictionary of
settings, nested or under dotted keys. It serves recipes, `--set KEY=VALUE`, columns of a pair table
and notebook parameters alike.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heygem.core.errors import Notice, ParameterError

#: How long an old name works; the end of every notice.
ACCEPTED = "the old name is accepted in this release only"


@dataclass(frozen=True)
class Names:
    """Old names of one settings class.

    Attributes
    ----------
    keys : dict of str to str
        Old dotted key to new dotted key; a section counts as a key.
    values : dict of str to dict
        New dotted key to its old values, each with the new one.
    """

    keys: dict[str, str] = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)

    def section(self, name: str) -> "Names":
        """The part that concerns one section, its keys without the section's name."""
        start = f"{name}."
        return Names(
            {
                old.removeprefix(start): new.removeprefix(start)
                for old, new in self.keys.items()
                if old.startswith(start)
            },
            {
                key.removeprefix(start): values
                for key, values in self.values.items()
                if key.startswith(start)
            },
        )


RECIPE = Names(
    keys={
        "tracking": "mlflow",
        "face.choose": "face.select",
        "label.mark": "label.watermark",
    },
    values={
        "engine": {"mesh": "warp"},
        "face.backend": {"mesh": "mediapipe"},
    },
)

#: By the name of the settings class, because some are defined in packages above this one.
TABLE: dict[str, Names] = {
    "Params": RECIPE,
    "FaceSettings": RECIPE.section("face"),
    "LabelSettings": RECIPE.section("label"),
    "TrainSettings": Names(
        {
            "level": "normalize_spectra",
            "likeness": "correlation_weight",
            "average": "ema_decay",
            "check_every": "eval_every",
        }
    ),
    "FinetuneSettings": Names(
        {"blocks": "cv_folds", "guard_s": "cv_gap_s", "least_gain": "min_improvement"}
    ),
    "EvaluateSettings": Names(
        {
            "share": "test_fraction",
            "anchors": "baselines",
            "few_shot_s": "finetune_seconds",
            "drawn_s": "max_rendered_finetune_s",
        }
    ),
}


def with_current_names(
    tree: Mapping[Any, Any], names: Names = RECIPE, *, notify: bool = True, place: str = ""
) -> dict[Any, Any]:
    """The same settings under their current names.

    Parameters
    ----------
    tree : mapping
        Nested sections, dotted keys, or both. It is not changed.
    names : Names
        Which names are old; those of a recipe when not given.
    notify : bool
        Show one notice for each old name, once in a process.
    place : str
        Where the settings stand, for messages: "pairs.csv, row 2".

    Raises
    ------
    ParameterError
        A setting is given under its old and its new name at once.
    """
    used_names: dict[
        str, str
    ] = {}  # current name of each key and section -> the name it was given by
    notices: list[str] = []
    renamed = _renamed(tree, "", "", names, used_names, notices, f"{place}: " if place else "")
    if notify:
        for text in notices:
            show_notice(text)
    return renamed


def _renamed(
    tree: Mapping[Any, Any],
    old_prefix: str,
    prefix: str,
    names: Names,
    used_names: dict[str, str],
    notices: list[str],
    place: str,
) -> dict[Any, Any]:
    renamed: dict[Any, Any] = {}
    for key, value in tree.items():
        if not isinstance(key, str):
            renamed[key] = value
            continue
        name = _current_key(prefix + key, names)
        if name != prefix + key:
            notices.append(f"`{old_prefix}{key}` is now called `{name}`")
        if value == {} or (value is None and name != prefix + key):
            # Says nothing: a notebook may hold `tracking = {}` beside the `mlflow` that papermill
            # sets, or the other way round.
            if name == prefix + key:
                renamed.setdefault(key, value)
            continue
        _refuse_both(old_prefix + key, name, used_names, place)
        if isinstance(value, Mapping):
            deeper = (f"{old_prefix}{key}.", f"{name}.", names, used_names, notices, place)
            value = _renamed(value, *deeper)
        elif isinstance(value, str) and value in names.values.get(name, {}):
            current = names.values[name][value]
            notices.append(f"`{name}: {value}` is now called `{name}: {current}`")
            value = current
        renamed[name.removeprefix(prefix)] = value
    return renamed


def _current_key(dotted: str, names: Names) -> str:
    """Current name of a dotted key; a renamed section takes its keys with it."""
    for old, new in names.keys.items():
        if dotted == old or dotted.startswith(f"{old}."):
            return new + dotted.removeprefix(old)
    return dotted


def _refuse_both(old: str, name: str, used_names: dict[str, str], place: str) -> None:
    """Note by which name a key and the sections it lies in were given; refuse a second name."""
    old_parts, parts = old.split("."), name.split(".")
    for depth in range(1, len(parts) + 1):
        here, as_given = ".".join(parts[:depth]), ".".join(old_parts[:depth])
        if used_names.setdefault(here, as_given) != as_given:
            both = sorted((used_names[here], as_given), key=lambda key: key == here)
            raise ParameterError(
                f"{place}`{both[0]}` is the old name of `{both[1]}`, and both are given",
                remedy=f"keep `{both[1]}`",
            )


# Not a registry of `warnings`, which is emptied whenever a library changes the warning filters.
_shown: set[str] = set()


def show_notice(text: str) -> None:
    """Show a notice that an old name was used, once in a process."""
    if text in _shown:
        return
    _shown.add(text)
    message = f"{text}; {ACCEPTED}"
    warnings.warn_explicit(message, Notice, "heygem", 0, module="heygem", registry={})
