"""Recipe files: reading small YAML safely, and writing it with comments."""

import codecs
import re
import textwrap
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from heygem.core.errors import InputError, ParameterError
from heygem.core.files import require_regular_file
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

    Values are those of YAML 1.2: `yes` and `1:30` are texts, which a switch understands and a
    number refuses. YAML 1.1 makes them 1 and 90.

    Raises
    ------
    InputError
        The file cannot be read, or it is too large.
    ParameterError
        It is not valid YAML.
    """
    path = Path(path)
    try:
        require_regular_file(path)
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
    return parse(decoded(data, path.name), path.name)


def parse(text: str, name: str) -> Any:
    """Content of YAML text; see `load`. `name` is what the text is called in messages.

    Raises
    ------
    ParameterError
        It is not valid YAML.
    """
    try:
        return yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None)
        line = f" in line {where.line + 1}" if where else ""
        raise ParameterError(
            f"{name} is not valid YAML{line}: {problem or type(error).__name__}",
            remedy="compare with params/demo.yaml",
        ) from error


def decoded(data: bytes, name: str) -> str:
    """Text of a recipe or table: UTF-8, or UTF-16 with its byte order mark, as Windows saves it.

    Raises
    ------
    ParameterError
        It is another encoding; names the first line that shows it.
    """
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ParameterError(
            f"{name} is not text in UTF-8",
            seen=f"byte 0x{data[error.start]:02X} in line {line}",
            remedy="save it again with the encoding UTF-8 (in a spreadsheet: CSV UTF-8)",
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
    """SafeLoader without aliases (a small file could unfold into gigabytes) or repeated keys.

    Of plain values only null, true, false and decimal numbers are not texts.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}

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


# Each is a part of what YAML 1.1 takes for it, so that what PyYAML writes is read as it was.
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,99})", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _PlainLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first
    )


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
