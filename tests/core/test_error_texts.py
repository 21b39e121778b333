"""Errors in the language of the page."""

import ast
import re

import pytest

from heygem.core import errors
from heygem.core.error_texts import catalogue, localized, localized_finding
from heygem.core.i18n import LOCALES
from heygem.media.container import SUPPORTED

PACKAGE = LOCALES.parents[1]
PACKAGES = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
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
    """(file, text) of the messages, remedies and values in words of a package."""
    for path in (PACKAGE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in CLASSES:
                    remedies = [k.value for k in node.keywords if k.arg == "remedy"]
                    for text in map(text_of, [node.args[0], *remedies]):
                        if text is not None:
                            yield path.name, text
                    values = [text_of(k.value) for k in node.keywords if k.arg == "seen"]
                    yield from (
                        (path.name, text)
                        for text in values
                        if text and re.search("[A-Za-z]{3,}", text)
                    )


@pytest.mark.parametrize("package", PACKAGES)
def test_every_error_is_translated(package):
    chinese, count = catalogue("zh"), 0
    for name, text in raised(package):
        assert text in chinese, f"{name}: {text!r} has no translation"
        assert chinese[text].count("{}") == text.count("{}"), text
        count += 1
    assert count or package == "face"


def test_values_are_carried_over_and_unknown_texts_stay():
    assert localized("anna.mp4 is cut short", "zh") == "anna.mp4 不完整"
    assert localized("anna.mp4 is cut short or damaged", "zh") == "anna.mp4 不完整或已损坏"
    packets = "50 of 100 video packets are inside the file"
    assert localized(packets, "zh") == "文件中只有 50 / 100 个视频数据包"
    assert localized("/home/anna/of the sea.mp4", "zh") == "/home/anna/of the sea.mp4"
    assert localized("anna.mp4 is cut short", "en") == "anna.mp4 is cut short"
    assert localized("{} of the {0} unheard-of", "zh") == "{} of the {0} unheard-of"
    assert localized("the face in {x}.mp4 is too small", "zh") == "{x}.mp4 中的人脸太小"


#: Of the modules below: what is composed into a text that is checked itself, or never shown.
_PARTS = {
    "is that of row {n}", "is not that of row {n}", "cannot be distinguished from that of row {n}",
    "cannot be compared (there is none)", " ({} differs)", "the {} {}{}",
    "but {} of it does not fit: replaced, or silent",
    ", by a key that was stolen",
    ", recognised among known ids", "as made", "Probably made", "{} by this installation.",
    ", of the earlier scheme, which can be copied from another result", "{}, heygem ui --folder {}",
    'heygem consent block --sha256 {} --reason "..."  # the {}', "sha256 {}", "keys rotated",
    "    the ledger has {} faults: run `heygem ledger verify`", "keys replaced", "loss stated",
    "rows {} to {} were", "it was", "{} cut off the end",
}  # fmt: skip


@pytest.mark.parametrize("module", ["trace", "evidence", "verify", "trace_report", "ledger/check"])
def test_every_finding_of_a_trace_is_translated(module):
    checked = 0
    for text in _sentences(ast.parse((PACKAGE / "provenance" / f"{module}.py").read_text())):
        if text not in _PARTS:
            shown = localized_finding(text.replace("{}", "7"), "zh")
            assert re.search("[\u4e00-\u9fff]", shown), f"{module}: {text!r} has no translation"
            checked += 1
    assert checked > 10


def _sentences(tree):
    """Texts of two words or more, as `text_of` gives them; not of errors and documentation."""
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
            if isinstance(node.body[0], ast.Expr):
                skipped.add(id(node.body[0].value))
        elif isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values if isinstance(part, ast.Constant)}
        elif isinstance(node, ast.FormattedValue) and node.format_spec:
            skipped.add(id(node.format_spec))
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            skipped |= {id(part) for part in ast.walk(node)} if name in CLASSES else set()
    for node in ast.walk(tree):
        text = None if id(node) in skipped else text_of(node)
        if text and " " in text.strip() and re.search("[a-z]", text):
            yield text


def test_a_finding_is_translated_with_the_findings_in_it():
    text = "its signed metadata and its watermark name the run of row 3; the picture is that of "
    text += "row 3 (2% differs), the sound cannot be compared (there is none)"
    expected = "其已签名的元数据和其水印指向第 3 行的运行；画面是第 3 行的（相差 2%），"
    expected += "声音无法比较（没有）"
    assert localized_finding(text, "zh") == expected
    assert localized_finding("Conclusion: made here, unchanged (proven)", "zh") == (
        "结论：由本机生成，未经改动（已证实）"
    )
    assert localized_finding("a, b.mp4", "zh") == "a, b.mp4"
    assert localized_finding(text, "en") == text


def test_what_can_be_read_is_named_in_the_language_of_the_page():
    """The list is inserted into its sentence: a text of its own, or half of it stays English."""
    text = localized(f"Use {SUPPORTED}.", "zh")
    assert "WebM" in text and "video" not in text and "sound" not in text
