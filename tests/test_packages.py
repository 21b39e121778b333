"""The order of the packages: each imports only from those above it, and in no circle."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "heygem"
ORDER = "core config media audio face lips avatar provenance rendering experiments training"
ORDER = (ORDER + " finetune pipeline evaluation batch ops server studio cli").split()
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if path.parent != PACKAGE
}


def imports(name):
    """Modules of the package that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "heygem":
            base = node.module.removeprefix("heygem").lstrip(".")
            for alias in node.names:
                whole = f"{base}.{alias.name}".lstrip(".")
                if whole in MODULES or base in MODULES:
                    yield whole if whole in MODULES else base


def test_the_package_has_at_most_twenty_entries_and_every_one_is_in_the_order():
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert len(entries - {"py.typed"}) <= 20  # a marker for type checkers, without content
    assert entries - {"__init__.py", "py.typed"} == set(ORDER)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_from_packages_above_its_own(name):
    own = ORDER.index(name.split(".")[0])
    upward = [used for used in imports(name) if ORDER.index(used.split(".")[0]) > own]
    assert not upward, f"{name} imports {upward}, which come after it in {ORDER}"


@pytest.mark.slow
def test_no_modules_import_each_other_in_a_circle():
    graph = {name: set(imports(name)) - {name} for name in MODULES}
    finished, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in finished:
            return
        path.append(name)
        for used in graph[name]:
            visit(used)
        finished.add(path.pop())

    for name in graph:
        visit(name)
