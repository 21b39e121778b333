"""Errors in the language of the page."""

import ast

import pytest

from heygem.core import errors
from heygem.core.error_texts import catalogue, localized
from heygem.core.i18n import LOCALES

PACKAGE = LOCALES.parents[1]
#: Whose errors a page shows: of files, recipes, the queue, fine-tuning, labels, and the server.
TRANSLATED = (
    "core", "config", "media", "audio", "face", "avatar", "lips", "provenance", "finetune",
    "pipeline", "batch", "server", "studio",
)  # fmt: skip
CLASSES = {name for name in vars(errors) if name.endswith("Error")} | {"Cancelled"}


def text_of(node: ast.expr) -> str | None:
    """A text as the catalogue has it; None where it is not written out."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
        return "".join(map(str, parts))
    return None


def raised(package: str):
    """(file, text) of the messages and remedies of a package."""
    for path in (PACKAGE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in CLASSES:
                    remedies = [k.value for k in node.keywords if k.arg == "remedy"]
                    for text in map(text_of, [node.args[0], *remedies]):
                        if text is not None:
                            yield path.name, text


@pytest.mark.parametrize("package", TRANSLATED)
def test_every_error_of_a_page_is_translated(package):
    chinese, count = catalogue("zh"), 0
    for name, text in raised(package):
        assert text in chinese, f"{name}: {text!r} has no translation"
        assert chinese[text].count("{}") == text.count("{}"), text
        count += 1
    assert count or package == "face"


def test_values_are_carried_over_and_unknown_texts_stay():
    assert localized("anna.mp4 is cut short", "zh") == "anna.mp4 不完整"
    assert localized("anna.mp4 is cut short or damaged", "zh") == "anna.mp4 不完整或已损坏"
    assert localized("anna.mp4 is cut short", "en") == "anna.mp4 is cut short"
    assert localized("{} of the {0} unheard-of", "zh") == "{} of the {0} unheard-of"
    assert localized("the face in {x}.mp4 is too small", "zh") == "{x}.mp4 中的人脸太小"
