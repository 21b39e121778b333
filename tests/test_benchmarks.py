"""The benchmarks start, and every name that they import from heygem exists."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
BENCHMARKS = sorted(FOLDER.glob("*.py"))


def heygem_imports():
    """(benchmark, module, name) of everything that the benchmarks import from heygem."""
    for path in BENCHMARKS:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "heygem":
                yield from ((path.stem, node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize(("benchmark", "module", "name"), heygem_imports())
def test_every_imported_name_exists(benchmark, module, name):
    if not hasattr(importlib.import_module(module), name):
        importlib.import_module(f"{module}.{name}")


def is_command(path):
    """Whether a file is started by itself; the others are parts of one."""
    return "__main__" in path.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("path", filter(is_command, BENCHMARKS), ids=lambda path: path.stem)
def test_help_is_shown(path):
    process = subprocess.run(
        [sys.executable, str(path), "--help"], capture_output=True, text=True, cwd=FOLDER.parent
    )
    assert process.returncode == 0 and "usage:" in process.stdout, process.stderr


@pytest.mark.slow
def test_two_results_of_make_bench_are_compared(tmp_path):
    results = [{"720p.job_cpu_ms": 100.0, "start.import_s": 0.1}, {"720p.job_cpu_ms": 80.0}]
    paths = [tmp_path / f"{k}.json" for k in range(2)]
    for k, path in enumerate(paths):
        path.write_text(json.dumps({"facts": {"commit": f"c{k}"}, "results": results[k]}))
    command = [sys.executable, FOLDER / "speed.py", "--compare", *paths]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = printed.splitlines()
    assert "c0" in rows[0] and "c1" in rows[0]
    assert len(rows) == 2 and "-20.0%" in rows[1]  # what one of them lacks is left out
