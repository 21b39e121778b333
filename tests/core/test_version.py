"""What decides whether a finished item is up to date: the code that its frames pass through."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from heygem.core import version

PACKAGE = Path(version.__file__).parents[1]


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A package with one file in each folder, hashed in place of the real one."""
    for folder in (*version.RESULT_PACKAGES, "studio", "server", "cli", "batch", "evaluation"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "module.py").write_text(f"{folder} = 1\n")
    monkeypatch.setattr(version, "PACKAGE", tmp_path)
    version.code_version.cache_clear()
    yield tmp_path
    version.code_version.cache_clear()


def hash_after(path, text):
    path.write_text(text)
    version.code_version.cache_clear()
    return version.code_version()["source_sha256"]


@pytest.mark.parametrize("folder", version.RESULT_PACKAGES)
def test_a_change_of_any_package_of_the_result_changes_the_hash(copy, folder):
    before = version.code_version()["source_sha256"]
    assert hash_after(copy / folder / "module.py", "changed = 1\n") != before
    assert hash_after(copy / folder / "added.py", "") != before


@pytest.mark.parametrize("folder", ["studio", "server", "cli", "batch", "evaluation"])
def test_a_page_a_login_or_a_command_does_not(copy, folder):
    before = version.code_version()["source_sha256"]
    assert hash_after(copy / folder / "module.py", "changed = 1\n") == before


@pytest.mark.slow
def test_everything_that_the_pipeline_imports_is_in_the_hash():
    """Also what is imported inside a function, and by what is imported."""
    pending, reached = ["pipeline"], set()
    while pending:
        package = pending.pop()
        reached.add(package)
        for path in (PACKAGE / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.ImportFrom) or node.module is None:
                    continue
                head, _, rest = node.module.partition(".")
                if head != "heygem":
                    continue
                names = [rest.split(".")[0]] if rest else [alias.name for alias in node.names]
                pending += [n for n in names if (PACKAGE / n).is_dir() and n not in reached]
    assert reached <= set(version.RESULT_PACKAGES)


def test_every_library_whose_arithmetic_decides_pixels_has_its_version():
    """A distribution under a name that is not installed would be left out without a word."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=\[]", line)[0] for line in project["dependencies"]}
    names = set(version.library_versions())
    assert names == {"av", "numba", "numpy", "opencv-python", "scipy", "torch"}
    assert names <= declared
