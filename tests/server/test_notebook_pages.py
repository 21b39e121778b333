"""Which notebooks JupyterLab runs when they are opened."""

import json
from pathlib import Path

import nbformat
import pytest

from heygem.server.notebook_pages import may_run, page_hashes, shipped_pages

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FIRST = "notebooks/01_preview.ipynb"
PAGES = ("01_preview.ipynb", "02_tuning.ipynb", "03_finetune.ipynb", "04_studio.ipynb")


def read(name="01_preview.ipynb"):
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def parameters(notebook):
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    return cell


def test_the_shipped_notebooks_are_the_ones_whose_hashes_are_shipped():
    pages = {
        path.name: page_hashes(read(path.name))
        for path in NOTEBOOKS.glob("*.ipynb")
        if read(path.name).metadata.get("heygem", {}).get("page")
    }
    assert tuple(sorted(pages)) == PAGES
    expected = json.dumps(pages, indent=1)
    assert shipped_pages() == pages, f"heygem/server/notebook_pages.json has to be:\n{expected}"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_no_code_and_runs_without_a_question(name):
    notebook = read(name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.metadata["jupyter"]["source_hidden"] for cell in code)
    assert sum("page" in cell.metadata.get("tags", ()) for cell in code) == 1
    assert may_run(notebook, f"notebooks/{name}", is_signed=False)


@pytest.mark.fault
def test_other_code_under_the_name_of_a_page_is_not_run():
    """Jupyter trusts and signs a notebook without outputs, whatever it does."""
    added, changed = read(), read()
    added.cells.append(nbformat.v4.new_code_cell("import os; os.system('id')"))
    changed.cells[-1].source += "\nprint(1)"
    for notebook in (added, changed):
        assert not may_run(notebook, FIRST, is_signed=True)
    assert not may_run(read(), "notebooks/02_tuning.ipynb", is_signed=True), (
        "the code of another page"
    )
    assert not may_run(read(), "notebooks/02/01_preview.ipynb", is_signed=True), "modules beside it"
    assert not may_run(read(), "notebooks/mine.ipynb", is_signed=True)


@pytest.mark.fault
@pytest.mark.parametrize(
    "source",
    [
        "inputs = __import__('os').system('id')",
        "print(1)",
        "inputs = {'videos': [open('x')]}",
        "inputs['a'] = 1",
        "from os import system as lang",
        "inputs = (",
        "lang = f'{print(1)}'",
    ],
)
def test_parameters_that_are_code_are_not_run(source):
    notebook = read()
    parameters(notebook).source = source
    assert not may_run(notebook, FIRST, is_signed=True)


def test_own_parameters_run_where_the_notebook_was_saved_here():
    notebook = read()
    parameters(notebook).source += '\nlang = "zh"  # mine'
    assert may_run(notebook, FIRST, is_signed=True)
    assert not may_run(notebook, FIRST, is_signed=False), "another's parameters"
