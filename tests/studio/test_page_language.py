"""With `lang="zh"`, whatever a page shows before anything is chosen is Chinese."""

import html
import re

import anywidget
import ipywidgets as w
import pytest

from heygem.config.params import Params
from heygem.studio.pages.compare import ComparePage
from heygem.studio.pages.finetune import FinetunePage
from heygem.studio.pages.studio import StudioApp
from heygem.studio.pages.trace import TracePage
from heygem.studio.pages.tuning import TuningPage

#: Names, units, and what is typed as it stands.
NAMES = {
    "heygem", "mlflow", "zip", "ctrl", "shift", "https", "name", "params", "yaml", "text", "video",
    "audio", "lips", "openness", "gain", "pdf", "gpu", "cpu", "csv", "cuda", "min", "home",
}  # fmt: skip
NOT_SHOWN = ("layout", "mode", "kind", "suffixes")  # traits of our own widgets
TEXTS = ("description", "tooltip", "placeholder")


def widgets(root):
    yield root
    for child in getattr(root, "children", ()):
        yield from widgets(child)


def strings(value):
    """All strings in dicts and lists."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)


def shown(widget):
    """(trait, text) of everything that a widget shows or names."""
    for name in TEXTS:
        yield name, getattr(widget, name, "") or ""
    yield from (("title", title) for title in getattr(widget, "titles", ()))
    if isinstance(widget, w.HTML):
        yield "value", html.unescape(re.sub(r"<style.*?</style>|<[^>]*>", " ", widget.value))
    if isinstance(widget, w.Dropdown | w.ToggleButtons):
        yield from (("option", str(option[0])) for option in widget.options)
    if isinstance(widget, anywidget.AnyWidget):
        for name in widget.trait_names(sync=True):
            if not name.startswith("_") and name not in NOT_SHOWN:
                yield from ((name, text) for text in strings(getattr(widget, name)))


def english(text):
    """Words of a text that are neither names nor parts of paths nor filled in later."""
    text = re.sub(r"\{\w+\}|preset:\w+|\S*[/\\_.]\S*", " ", text)
    return [word for word in re.findall(r"[A-Za-z]{3,}", text) if word.lower() not in NAMES]


@pytest.mark.parametrize("kind", ["studio", "tuning", "finetune", "compare", "trace"])
def test_a_page_is_chinese_throughout(kind, isolated_home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no recipes, whose names are the user's
    pages = {
        "studio": lambda: StudioApp(
            params=Params.from_dict({"inputs": {"output": str(tmp_path / "made")}}),
            folder=tmp_path, queue_path=tmp_path / "queue.db", lang="zh",
        ),
        "tuning": lambda: TuningPage(folder=tmp_path, out=tmp_path, lang="zh"),
        "finetune": lambda: FinetunePage(folder=tmp_path, out=tmp_path, lang="zh"),
        "compare": lambda: ComparePage(store=tmp_path / "none", output=tmp_path, lang="zh"),
        "trace": lambda: TracePage(folder=tmp_path, out=tmp_path, lang="zh"),
    }  # fmt: skip
    page = pages[kind]()
    left = {
        (type(widget).__name__, name, text)
        for widget in widgets(page)
        for name, text in shown(widget)
        if english(text)
    }
    if kind == "studio":
        page.batch.close()
    assert not left
