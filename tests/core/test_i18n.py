"""Translations: complete in both languages, and neither missing nor left over."""

import ast
import re
import string
from pathlib import Path

import pytest

from heygem.core import i18n
from heygem.core.errors import ParameterError

PACKAGE = Path(i18n.__file__).parents[1]
SECTIONS = ("interface", "findings", "pages")
#: Beginnings of keys that the code completes at run time: `translate("state_" + job.state)`.
FAMILIES = (
    "basis_", "consent_", "control_", "group_", "level_", "measure_", "page_", "preset_",
    "process_", "report_title_", "report_", "stage_", "state_",
)  # fmt: skip
ENDINGS = ("_help", "_intro")
TRANSLATE = ("translate", "_translate", "_translate_models")  # names of the function


def placeholders(text: str) -> list[tuple[str, str]]:
    """Names and formats: [("count", ""), ("share", ".2%")]."""
    parts = string.Formatter().parse(text)
    return sorted((name, spec or "") for _, name, spec, _ in parts if name is not None)


@pytest.fixture(scope="module")
def strings() -> set[str]:
    """Every string constant in the code and in pages, those in f-strings included."""
    nodes = (
        node for path in PACKAGE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))
    )
    found = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    for page in (*PACKAGE.glob("server/templates/*.html"), *PACKAGE.glob("batch/results/*/*.j2")):
        found |= set(re.findall(r't\("(\w+)"', page.read_text()))
    return found


@pytest.mark.parametrize("section", SECTIONS)
def test_both_languages_have_the_same_keys_in_the_same_order(section):
    assert list(i18n.phrases(section, "en")) == list(i18n.phrases(section, "zh"))


@pytest.mark.parametrize("section", SECTIONS)
def test_a_phrase_has_the_same_placeholders_in_both_languages(section):
    chinese = i18n.phrases(section, "zh")
    for key, text in i18n.phrases(section, "en").items():
        assert placeholders(text) == placeholders(chinese[key]), key


@pytest.mark.parametrize("section", SECTIONS)
def test_a_phrase_is_written_in_its_language(section):
    chinese = i18n.phrases(section, "zh")
    for key, text in i18n.phrases(section, "en").items():
        assert text.strip() and not re.search("[\u4e00-\u9fff]", text), key
        assert re.search("[\u4e00-\u9fff]", chinese[key]), key


@pytest.mark.slow
def test_every_key_that_the_code_asks_for_is_there():
    """`translate("key")`, `self.translate("key", ...)`, `Finding(level, "CODE", ...)`."""
    interface, findings = i18n.phrases("interface", "en"), i18n.phrases("findings", "en")
    lookups = 0
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            texts = [a.value if isinstance(a, ast.Constant) else None for a in node.args]
            if (
                name in ("translate", "_translate", "_translate_models")
                and "studio" in path.relative_to(PACKAGE).parts
                and texts
            ):
                constants = [
                    part.value
                    for part in ast.walk(node.args[0])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
                for key in constants:
                    assert key in interface or key in FAMILIES + ENDINGS, f"{path.name}: {key}"
                    lookups += 1
            if name == "Finding" and len(texts) > 1 and texts[1] is not None:
                assert texts[1] in findings, f"{path.name}: {texts[1]}"
                lookups += 1
    assert lookups > 100  # the walk above understands the code


@pytest.mark.slow
def test_exactly_the_stages_of_work_have_a_phrase():
    """A stage is the first of three values handed to a progress callback."""
    stages = set()
    for package in ("avatar", "finetune", "pipeline", "experiments", "batch", "studio"):
        for path in (PACKAGE / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or len(node.args) != 3 or node.keywords:
                    continue
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                first = node.args[0]
                if re.search("progress|report|tell|tick", name) and isinstance(first, ast.Constant):
                    stages.add(f"stage_{first.value}")
    assert stages == {key for key in i18n.phrases("interface", "en") if key.startswith("stage_")}


@pytest.mark.slow
def test_no_key_is_left_over(strings):
    for key in i18n.phrases("interface", "en"):
        family = next((f for f in FAMILIES if key.startswith(f)), "")
        ending = next((e for e in ENDINGS if key.endswith(e)), "")
        parts = {family, ending, key.removeprefix(family).removesuffix(ending)} - {""}
        assert key in strings or parts <= strings, f"nothing uses the phrase {key!r}"
    for key in i18n.phrases("pages", "en"):
        names = {key, key.removesuffix("_link"), key.replace("_", " "), f"timings.{key}"}
        assert names & strings, f"no page uses the phrase {key!r}"
    for code in i18n.phrases("findings", "en"):
        assert code in strings, f"nothing reports the finding {code!r}"


def test_the_language_is_chosen_by_argument_then_by_environment(monkeypatch):
    monkeypatch.delenv("HEYGEM_LANG", raising=False)
    assert i18n.language() == "en"
    monkeypatch.setenv("HEYGEM_LANG", "zh")
    assert i18n.language() == "zh" and i18n.language("en") == "en"
    assert i18n.translator()("queue") == "队列" and i18n.translator("en")("queue") == "Queue"


def test_an_unknown_language_is_refused():
    with pytest.raises(ParameterError, match="no such language.*fr"):
        i18n.translator("fr")


def test_values_are_filled_in():
    assert i18n.translator("en")("queued") == "Added to the queue; see the tab Batch."
    assert i18n.translator("en")("left", seconds=41.6) == "42 s left"


def test_a_stage_without_a_phrase_is_called_by_its_own_name():
    translate = i18n.translator("en")
    assert i18n.stage_name(translate, "track") == "tracking the face"
    assert i18n.stage_name(translate, "polishing") == "polishing"
