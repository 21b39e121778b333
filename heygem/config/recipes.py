"""Recipe files: reading small YAML safely, and writing it with comments."""

import textwrap
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from heygem.core.errors import InputError, ParameterError
from heygem.core.types import PathLike

MAX_YAML_BYTES = 256 * 1024  # a recipe is a page long; anything near this is not a recipe


def read(path: PathLike) -> dict[str, Any]:
    """A mapping out of a small YAML file, empty for an empty file; see `load`.

    Raises
    ------
    InputError
        The file cannot be read, or it is too large.
    ParameterError
        It is not valid YAML, or no mapping.
    """
    tree = load(path)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ParameterError(
            f"{Path(path).name} does not hold `key: value` lines",
            seen=type(tree).__name__,
            remedy="compare with params/demo.yaml",
        )
    return tree


def load(path: PathLike) -> Any:
    """Content of a small YAML file, read safely: no tags, no aliases, no key twice, 256 KiB.

    Raises
    ------
    InputError
        The file cannot be read, or it is too large.
    ParameterError
        It is not valid YAML.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_YAML_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(
            "no such parameter file", seen=path, remedy="see params/ for examples"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot read the parameter file ({error.strerror})", seen=path, remedy="check its path"
        ) from error
    if len(data) > MAX_YAML_BYTES:
        raise InputError(
            "the parameter file is too large",
            seen=path,
            remedy=f"at most {MAX_YAML_BYTES // 1024} KiB",
        )
    try:
        return yaml.load(data.decode("utf-8-sig"), Loader=_PlainLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or type(error).__name__
        line = f" in line {where.line + 1}" if where else ""
        raise ParameterError(
            f"{path.name} is not valid YAML{line}: {problem}",
            seen=path,
            remedy="compare with params/demo.yaml",
        ) from error


def write(settings: BaseModel, *, commented: bool = True, keep: set[str] | None = None) -> str:
    """YAML text of settings; see `heygem.config.params.Params.to_yaml`."""
    lines = []
    for name, field in type(settings).model_fields.items():
        if keep is not None and name not in keep:
            continue
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            if commented:
                lines += ["", f"# {field.description}"]
            lines.append(f"{name}:")
            for key, sub in type(value).model_fields.items():
                lines += _yaml_entry(key, getattr(value, key), sub, commented, indent=2)
        else:
            lines += [""] if commented else []
            lines += _yaml_entry(name, value, field, commented, indent=0)
    return "\n".join(lines).strip("\n") + "\n"


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases (a small file could unfold into gigabytes) or repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            place = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases are not supported", place)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key in keys:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} appears twice", key_node.start_mark
                )
            keys.add(key)
        return super().construct_mapping(node, deep=deep)


def _yaml_entry(
    key: str, value: Any, field: FieldInfo, commented: bool, *, indent: int
) -> list[str]:
    """`# meaning [unit]; default: x` and `key: value` lines."""
    pad = " " * indent
    plain = list(value) if isinstance(value, tuple) else value
    lines = []
    if commented:
        default = field.get_default(call_default_factory=True)
        default = list(default) if isinstance(default, tuple) else default
        text = f"{field.description}; default: {_scalar(default)}"
        lines += [f"{pad}# {line}" for line in textwrap.wrap(text, 96 - indent)]
    if isinstance(plain, list):
        plain = [item.model_dump() if isinstance(item, BaseModel) else item for item in plain]
    if isinstance(plain, list) and plain and all(isinstance(item, str | dict) for item in plain):
        lines.append(f"{pad}{key}:")
        lines += [f"{pad}  - {_scalar(item)}" for item in plain]
    else:
        lines.append(f"{pad}{key}: {_scalar(plain)}")
    return lines


def _scalar(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False
    )
    return str(text).strip().removesuffix("\n...").removesuffix("...").strip()
