"""Base class of all settings, and how a dictionary becomes settings or a one-line error."""

import difflib
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from heygem.config.renamed import TABLE, Names, with_current_names
from heygem.core.errors import ParameterError


class Settings(BaseModel):
    """Base of all sections: frozen, no unknown keys, no infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _a_switch_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python's True counts as 1, and a mouth that opens "true" wide was meant otherwise."""
        if isinstance(value, bool):
            kinds = _kinds(cls.model_fields[info.field_name or ""].annotation)
            if kinds & {int, float} and bool not in kinds:
                raise ValueError("must be a number, not true or false")
        return value

    #: A file that shows all keys, for messages; where there is none, messages list the keys.
    example: ClassVar[str] = ""


def _kinds(annotation: Any) -> set[Any]:
    """The types that a value of this annotation may have: {float, NoneType} of `float | None`."""
    return set(get_args(annotation)) or {annotation}


SettingsT = TypeVar("SettingsT", bound=Settings)


def checked(kind: type[SettingsT], tree: Any) -> SettingsT:
    """Settings of a kind out of a dictionary, in which old names are replaced.

    Raises
    ------
    ParameterError
        Names the first key that is wrong, in one line.
    """
    return validated(kind, current(kind, tree))


def validated(kind: type[SettingsT], tree: Any) -> SettingsT:
    """As `checked`, of a dictionary that has current names only.

    Raises
    ------
    ParameterError
    """
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, kind) from error


def current(kind: type[Settings], tree: Any) -> Any:
    """A dictionary of settings under their current names; anything else as it is."""
    names = TABLE.get(kind.__name__)
    if names is None or not isinstance(tree, dict):
        return tree
    fields = kind.model_fields
    keys = {old: new for old, new in names.keys.items() if new.partition(".")[0] in fields}
    return with_current_names(tree, Names(keys, names.values))


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one level of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def nest(kind: type[Settings], tree: Any) -> Any:
    """Dotted keys as nested sections; an empty section in YAML (`lips:`) means its defaults."""
    if not isinstance(tree, dict):
        return tree
    nested: dict[str, Any] = {}
    for key, value in tree.items():
        head, _, rest = str(key).partition(".")
        is_section = _is_section(kind.model_fields.get(head))
        if rest:
            section = nested.setdefault(head, {})
            if section is None:  # `sweep: null`, and one of its keys
                section = nested[head] = {}
            if isinstance(section, dict):
                section[rest] = value
        elif is_section and value is None:
            nested.setdefault(head, {})
        elif is_section and isinstance(value, dict):
            nested[head] = {**nested.get(head, {}), **{str(k): v for k, v in value.items()}}
        else:
            nested[head] = value
    return nested


def _is_section(field: FieldInfo | None) -> bool:
    return field is not None and field.default_factory is not None


def _explain(error: ValidationError, kind: type[Settings]) -> ParameterError:
    """The first problem in one line: key, value, and what the key means."""
    problems = error.errors(include_url=False)
    # A mistyped key explains more than what follows from it.
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    location = [str(part) for part in first["loc"]]
    key = ".".join(part for part in location if not part.startswith("function-"))
    if first["type"] == "extra_forbidden":
        nearest = _nearest(location, kind)
        keys = f"known keys: {kind.example or ', '.join(kind.model_fields)}"
        return ParameterError(
            f"unknown key {key!r}", remedy=f"did you mean {nearest!r}?" if nearest else keys
        )
    field = _field(location, kind)
    remedy = f"{key}: {field.description}" if field and not _is_section(field) else None
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return ParameterError(
        f"bad value for {key or 'the recipe'}: {message}", seen=_shown(first), remedy=remedy
    )


def _shown(problem: Mapping[str, object]) -> str | None:
    """The value of a problem, short; nothing for a whole section."""
    value = problem.get("input")
    if isinstance(value, BaseModel | dict):
        return None
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} letters)"


def _nearest(location: list[str], kind: type[Settings]) -> str | None:
    """The most similar key of the same section; else of all sections, since keys get misplaced."""
    fields = kind.model_fields
    section = fields.get(location[0]) if len(location) > 1 else None
    name = location[-1]
    inner = getattr(section.annotation, "model_fields", {}) if section is not None else fields
    similar = difflib.get_close_matches(name, list(inner), n=1, cutoff=0.6)
    if similar:
        return similar[0]
    everywhere = {key.rpartition(".")[2]: key for key in flatten(kind().model_dump(mode="json"))}
    similar = difflib.get_close_matches(name, everywhere, n=1, cutoff=0.75)
    return everywhere[similar[0]] if similar else None


def _field(location: list[str], kind: type[Settings]) -> FieldInfo | None:
    """The field at a location of pydantic, or the last one on the way to it."""
    fields: Any = kind.model_fields
    field = None
    for part in location:
        if not isinstance(fields, dict) or part not in fields:
            break
        field = fields[part]
        fields = getattr(field.annotation, "model_fields", None)
    return field
