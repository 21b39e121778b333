"""Notebooks through the server: translated when they are read, as they were when they are saved."""

import asyncio

import nbformat
import pytest
from helpers.browser import PROJECT

from heygem.server.contents import Contents

FIRST = PROJECT / "notebooks" / "01_preview.ipynb"


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_notebook_is_read_in_the_interfaces_language_and_saved_in_english(
    tmp_path, monkeypatch, lang
):
    monkeypatch.setenv("HEYGEM_LANG", lang)
    (tmp_path / "01_preview.ipynb").write_bytes(FIRST.read_bytes())
    manager = Contents(root_dir=str(tmp_path))
    model = asyncio.run(manager.get("01_preview.ipynb"))
    title = model["content"].cells[0].source.splitlines()[0]
    assert title == {"en": "# Preview", "zh": "# 预览"}[lang]
    model["content"].cells.append(nbformat.v4.new_markdown_cell("我的笔记"))
    asyncio.run(manager.save(model, "01_preview.ipynb"))
    saved = nbformat.read(tmp_path / "01_preview.ipynb", as_version=4)
    original = nbformat.read(FIRST, as_version=4)
    assert [c.source for c in saved.cells] == [*(c.source for c in original.cells), "我的笔记"]
