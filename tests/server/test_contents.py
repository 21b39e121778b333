"""Notebooks through the server: translated when they are read, as they were when they are saved."""

import asyncio
import json

import nbformat
import pytest
from helpers.browser import PROJECT
from ipykernel.ipkernel import IPythonKernel

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


def test_a_notebook_is_not_changed_by_being_opened(tmp_path):
    """JupyterLab puts the kernel's description of its language into a notebook that lacks it."""
    (tmp_path / "01_preview.ipynb").write_bytes(FIRST.read_bytes())
    manager = Contents(root_dir=str(tmp_path))
    model = asyncio.run(manager.get("01_preview.ipynb"))
    assert model["content"].metadata.language_info == IPythonKernel.language_info
    asyncio.run(manager.save(model, "01_preview.ipynb"))
    stored = json.loads((tmp_path / "01_preview.ipynb").read_text())
    assert stored["metadata"]["language_info"] == {"name": "python"}
    stored["metadata"]["language_info"] = dict(IPythonKernel.language_info)  # as others save it
    (tmp_path / "01_preview.ipynb").write_text(json.dumps(stored))
    model = asyncio.run(manager.get("01_preview.ipynb"))
    asyncio.run(manager.save(model, "01_preview.ipynb"))
    assert json.loads((tmp_path / "01_preview.ipynb").read_text())["metadata"] == stored["metadata"]
