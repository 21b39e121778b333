"""The Markdown of the notebooks in other languages: complete, and brought back when it is saved."""

import json
import re
from pathlib import Path

import pytest

from heygem.core.error_texts import catalogue
from heygem.core.notebook_texts import localize, notebook_language

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CHINESE = re.compile("[\u4e00-\u9fff]")


def markdown(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


def test_every_markdown_cell_has_a_translation_and_none_is_left_over():
    texts, translations = (
        {t for path in NOTEBOOKS for t in markdown(path)},
        catalogue("zh", "notebooks"),
    )
    assert texts == set(translations)
    assert len(set(translations.values())) == len(translations), "each leads back to one text"


def test_a_translation_is_chinese_and_names_the_same_code_under_the_same_heading():
    for text, translated in catalogue("zh", "notebooks").items():
        assert CHINESE.search(translated) and not CHINESE.search(text)
        code = [sorted(re.findall("`[^`]+`", each)) for each in (text, translated)]
        assert code[0] == code[1], text
        assert re.findall("^#+ ", text, re.M) == re.findall("^#+ ", translated, re.M), text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_shown_in_one_language_and_saved_as_it_was(path):
    notebook, original = (json.loads(path.read_text("utf-8")) for _ in range(2))
    localize(notebook, "zh")
    own = {"cell_type": "markdown", "metadata": {}, "source": "# My own notes"}
    notebook["cells"].append(own)
    shown = [c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown"]
    assert all(CHINESE.search(text) for text in shown[:-1]) and shown[-1] == "# My own notes"
    localize(notebook, "en")
    texts = [["".join(c["source"]) for c in n["cells"]] for n in (notebook, original)]
    assert texts[0][:-1] == texts[1]


def test_a_notebook_may_choose_its_language(monkeypatch):
    monkeypatch.delenv("HEYGEM_LANG", raising=False)
    tags = {"tags": ["parameters"]}
    cell = {"cell_type": "code", "metadata": tags, "source": 'lang = "zh"  # of the page'}
    assert notebook_language({"cells": [cell]}) == "zh"
    assert notebook_language({"cells": [cell | {"source": 'lang = ""'}]}) == "en"
