"""Recipe files: small, safe YAML in; commented YAML out."""

import textwrap
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from heygem.core.errors import InputError, ParameterError

MAX_YAML_BYTES = 256 * 1024  # a recipe is a page long; anything near this is not a recipe


def read(path) -> dict[str, Any]:
    """Read a small YAML mapping safely: no tags, no aliases, no key twice, limited size."""
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


def load(path):
    """Whatever a small YAML file holds, read as safely as `read` does."""
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


def write(settings: BaseModel, *, commented=True, keep: set[str] | None = None) -> str:
    """YAML text of a settings tree; see `heygem.config.params.Params.to_yaml`."""
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

    def compose_node(self, parent, index):
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, "aliases are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} appears twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _yaml_entry(key, value, field, commented, *, indent):
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


def _scalar(value) -> str:
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False
    )
    return text.strip().removesuffix("\n...").removesuffix("...").strip()
