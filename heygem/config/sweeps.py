"""Parameter sweeps: one recipe made several times, with other values of some settings each time.

As a grid, `sweep: {lips.openness_gain: [0.8, 1.2], renderer.feather: [0.1, 0.2]}` means all four
combinations. As a list, `sweep: [{lips.openness_gain: 0.8}, {renderer.feather: 0.2}]` means these
two; `{}` in a list is the recipe as it is.
"""

import difflib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from heygem.config.pairs import ROW_SECTIONS, SHARED_SETTINGS
from heygem.config.renamed import with_current_names
from heygem.config.settings import flatten
from heygem.core.errors import ParameterError

MAX_VARIANTS = 100
MAX_VALUE = 60  # characters of a value in a label
#: Values of each setting (a grid), or the settings of each variant (a list).
Sweep = dict[str, tuple[Any, ...]] | tuple[dict[str, Any], ...]
Variant = dict[str, Any]

_EXAMPLE = "sweep: {lips.openness_gain: [0.8, 1.0, 1.2]}"
_SECTIONS = tuple(name for name in ROW_SECTIONS if name != "inputs")


def read(value: Any) -> Sweep | None:
    """A sweep as it is written in a recipe, under dotted keys with current names; None for none.

    Raises
    ------
    ParameterError
        It is neither a mapping of lists nor a list of mappings.
    """
    if value is None or value == {} or value == [] or value == ():
        return None
    if isinstance(value, Mapping):
        return {key: _values(key, each) for key, each in _dotted(value, "sweep").items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        variants = []
        for number, each in enumerate(value, start=1):
            if each is not None and not isinstance(each, Mapping):
                raise ParameterError(
                    f"sweep, variant {number} does not hold `setting: value`",
                    seen=str(each)[:60],
                    remedy="write a list as [{lips.openness_gain: 0.8}, {lips.closure: 0.5}]",
                )
            variants.append(_dotted(each or {}, f"sweep, variant {number}"))
        return tuple(variants)
    raise ParameterError(
        "the sweep does not say which settings take which values",
        seen=str(value)[:60],
        remedy=f"write {_EXAMPLE}",
    )


def _dotted(tree: Mapping[Any, Any], place: str) -> dict[str, Any]:
    nested = {str(key): dict(v) if isinstance(v, Mapping) else v for key, v in tree.items()}
    return flatten(with_current_names(nested, place=place))


def _values(key: str, values: Any) -> tuple[Any, ...]:
    """The values of one setting of a grid."""
    if not isinstance(values, list | tuple):
        raise ParameterError(
            f"sweep: {key} needs a list of values",
            seen=str(values)[:60],
            remedy=f"as in {_EXAMPLE}",
        )
    if not values:
        raise ParameterError(f"sweep: {key} has no values", remedy=f"as in {_EXAMPLE}")
    return tuple(values)


def check_names(sweep: Sweep, known: Sequence[str]) -> None:
    """Refuse settings that do not exist, and those that all items share.

    Parameters
    ----------
    sweep
    known : sequence of str
        All settings of a recipe under dotted keys.

    Raises
    ------
    ParameterError
        Names the nearest setting.
    """
    for key in settings_of(sweep):
        if key not in known:
            last = {name.rpartition(".")[2]: name for name in known}
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            near = near or [
                last[name] for name in difflib.get_close_matches(key.rpartition(".")[2], last, n=1)
            ]
            remedy = f"did you mean {near[0]!r}?" if near else f"write dotted keys: {_EXAMPLE}"
            raise ParameterError(f"sweep: unknown setting {key!r}", remedy=remedy)
        if key.partition(".")[0] not in _SECTIONS or key in SHARED_SETTINGS:
            raise ParameterError(
                f"sweep: {key!r} cannot differ between variants",
                remedy=f"all items share it; a sweep changes settings of {', '.join(_SECTIONS)}",
            )


def settings_of(sweep: Sweep) -> list[str]:
    """The settings that a sweep changes, each once, in their order."""
    mappings = [sweep] if isinstance(sweep, Mapping) else list(sweep)
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def variants(sweep: Sweep | None) -> list[Variant]:
    """The changes of each variant, without repetitions; `[{}]` without a sweep.

    Raises
    ------
    ParameterError
        There are more than `MAX_VARIANTS`.
    """
    if sweep is None:
        return [{}]
    if isinstance(sweep, Mapping):
        count = math.prod(len(values) for values in sweep.values())
        combinations = itertools.product(*sweep.values())
        listed = [dict(zip(sweep, each, strict=True)) for each in _limited(combinations, count)]
    else:
        listed = _limited(iter(sweep), len(sweep))
    return list({json.dumps(each, sort_keys=True, default=str): each for each in listed}.values())


def _limited(each: Any, count: int) -> list[Any]:
    if count > MAX_VARIANTS:
        raise ParameterError(
            "the sweep has too many variants",
            seen=f"{count:,}",
            remedy=f"at most {MAX_VARIANTS}; name fewer values, or list the variants one by one",
        )
    return list(each)


def label(variant: Variant, sweep: Sweep) -> str:
    """What a variant changes, for names and captions: `openness_gain=0.8,feather=0.1`.

    Keys are short (without their section) where that is clear within the sweep.
    """
    keys = settings_of(sweep)
    last = [key.rpartition(".")[2] for key in keys]
    short = {k: name if last.count(name) == 1 else k for k, name in zip(keys, last, strict=True)}
    ordered = [key for key in keys if key in variant]
    return ",".join(f"{short[key]}={_text(variant[key])}" for key in ordered) or "unchanged"


def _text(value: Any) -> str:
    """A value as a reader writes it: 0.8, true, none, a+b."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "+".join(_text(each) for each in value)
    return str(value)[:MAX_VALUE]
