"""Every setting of a recipe is read by the code that it claims to control."""

import ast
from pathlib import Path

import pytest

from heygem.config.params import Params, Settings

PACKAGE = Path(__file__).parents[2] / "heygem"
SECTIONS = {
    name: field.annotation
    for name, field in Params.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Settings)
}
#: Settings that act within the schema: which wording of the label it accepts.
WITHIN_THE_SCHEMA = {("label", "language")}


def last_name(node: ast.AST) -> str | None:
    """`face` of `face`, `params.face` and `self.params.face`."""
    return getattr(node, "attr", getattr(node, "id", None))


def parameters(function: ast.FunctionDef) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def annotated_and_assigned(tree: ast.Module, names: set[str], kind: type[Settings]) -> set[str]:
    """Names that a module annotates with a class of settings, or assigns from such names."""
    more = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation is not None:
            if kind.__name__ in {last_name(part) for part in ast.walk(node.annotation)}:
                more.add(node.arg)
        elif isinstance(node, ast.Assign) and last_name(node.value) in names:
            more |= {name for name in map(last_name, node.targets) if name}
    return more


def passed_on(trees: list[ast.Module], names: list[set[str]]) -> dict[str, set[str]]:
    """Function name -> names of its parameters that receive the settings somewhere."""
    functions: dict[str, list[ast.arg]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                functions[node.name] = [p for p in parameters(node) if p.arg not in ("self", "cls")]
    received: dict[str, set[str]] = {}
    for tree, aliases in zip(trees, names, strict=True):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or last_name(node.func) not in functions:
                continue
            function = last_name(node.func) or ""
            arguments = zip(node.args, functions[function], strict=False)
            for argument, parameter in arguments:
                if last_name(argument) in aliases:
                    received.setdefault(function, set()).add(parameter.arg)
            for keyword in node.keywords:
                if keyword.arg and last_name(keyword.value) in aliases:
                    received.setdefault(function, set()).add(keyword.arg)
    return received


def reads(sources: list[str], section: str | None, kind: type[Settings]) -> set[str]:
    """Settings of a section that some module reads as attributes of it.

    A module knows a section by its own name (`params.face`), by an annotation (`s: FaceSettings`),
    by an assignment from such a name, and as the argument of a call in any module.
    """
    trees = [ast.parse(source) for source in sources]
    names = [{section or "params"} for _ in trees]
    for _ in range(3):
        names = [
            aliases | annotated_and_assigned(tree, aliases, kind)
            for tree, aliases in zip(trees, names, strict=True)
        ]
        received = passed_on(trees, names)
        for tree, aliases in zip(trees, names, strict=True):
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef):
                    aliases |= received.get(node.name, set())
    return {
        node.attr
        for tree, aliases in zip(trees, names, strict=True)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and last_name(node.value) in aliases
    }


@pytest.fixture(scope="module")
def sources() -> list[str]:
    paths = [path for path in PACKAGE.rglob("*.py") if "config" not in path.parts]
    return [path.read_text() for path in paths]


@pytest.mark.slow
@pytest.mark.parametrize("section", [None, *SECTIONS], ids=str)
def test_no_setting_is_without_effect(sources, section):
    kind = SECTIONS[section] if section else Params
    keys = {key for key in kind.model_fields if section or key not in SECTIONS}
    keys -= {key for name, key in WITHIN_THE_SCHEMA if name == section}
    unread = keys - reads(sources, section, kind)
    assert not unread, f"nothing outside heygem.config reads {sorted(unread)} of {section}"


def test_the_search_tells_a_setting_from_a_method_of_the_same_name():
    face = SECTIONS["face"]
    assert "index" not in reads(["def f(items):\n    return items.index(3)"], "face", face)
    assert "index" not in reads(["def f(params):\n    params.face.index = 1"], "face", face)
    for source in (
        "def f(params):\n    return params.face.index",
        "def f(s: FaceSettings):\n    return s.index",
        "def f(params):\n    s = params.face\n    return s.index",
        "def f(s):\n    return s.index\ndef g(params):\n    return f(params.face)",
    ):
        assert "index" in reads([source], "face", face)
