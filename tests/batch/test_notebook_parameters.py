"""What Papermill injects: existing names only, under dots too, and old names with a notice."""

import nbformat
import pytest

from heygem.batch import notebooks
from heygem.batch.notebook_parameters import HEADER, install, resolve
from heygem.config import renamed
from heygem.core.errors import Notice, ParameterError

DEFAULTS = 'lips = {"closure": 0.5}\nfiles = ["a.mp4"]  # videos\nmlflow = {}\nlooks = True\n'


def run(injected, defaults=DEFAULTS, **old_names):
    """Variables after the cell of the defaults and the injected one."""
    variables: dict = {}
    exec(defaults, variables)
    exec(resolve(injected, defaults, old_names), variables)
    return variables


def test_values_are_set_and_comments_are_no_names():
    assert run('# Parameters\nfiles = ["b.mp4", "c.mp4"]\n')["files"] == ["b.mp4", "c.mp4"]


def test_a_dotted_name_sets_one_key_and_leaves_the_others():
    lips = run("# Parameters\nlips.openness_gain = 1.3\n")["lips"]
    assert lips == {"closure": 0.5, "openness_gain": 1.3}


@pytest.mark.parametrize("name", ["file", "lisp.openness_gain", "In", "exit"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(ParameterError, match=f"no parameter '{name.split('.')[0]}'"):
        run(f"# Parameters\n{name} = 1\n")


def test_the_nearest_name_is_suggested():
    with pytest.raises(ParameterError, match="did you mean 'files'"):
        run("# Parameters\nfile = 1\n")


def test_a_plain_parameter_has_no_settings():
    with pytest.raises(ParameterError, match="'looks' has no settings.*-p looks VALUE"):
        run("# Parameters\nlooks.wide = 1\n")


def test_old_names_are_accepted_with_a_notice(monkeypatch):
    monkeypatch.setattr(renamed, "_shown", set())
    with pytest.warns(Notice) as notices:
        variables = run("tracking = {'enabled': False}\nlook = False\n", look="looks")
    assert variables["mlflow"] == {"enabled": False} and variables["looks"] is False
    texts = [str(notice.message) for notice in notices]
    assert any("`tracking` is now called `mlflow`" in text for text in texts)
    assert any("`look` is now called `looks`" in text for text in texts)


class Shell:
    """As much of an IPython shell as the transformer uses."""

    def __init__(self, *cells):
        self.user_ns = {"In": ["", *cells]}
        self.input_transformers_cleanup = []

    def source(self, cell):
        lines = cell.splitlines(keepends=True)
        for transform in self.input_transformers_cleanup:
            lines = transform(lines)
        return "".join(lines)


def test_only_the_injected_cell_is_checked_and_only_once():
    shell = Shell(DEFAULTS)
    install(shell, {})
    install(shell, {})
    assert len(shell.input_transformers_cleanup) == 1
    assert shell.source("anything = 1\n") == "anything = 1\n"
    assert "lips['closure'] = 1" in shell.source(f"{HEADER}\nlips.closure = 1\n")


def test_a_refusal_is_raised_by_the_cell_itself():
    shell = Shell(DEFAULTS)
    install(shell, {})
    with pytest.raises(ParameterError, match="no parameter 'file'"):
        exec(shell.source(f"{HEADER}\nfile = 1\n"), {})


@pytest.mark.parametrize("path", sorted((notebooks.root() / "notebooks").glob("*.ipynb")))
def test_every_notebook_with_parameters_checks_them(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert "notebooks.enter(" in cells[0].source
    assert "parameters" in cells[1].metadata["tags"]
