"""Reports from templates."""

import pytest
from jinja2 import UndefinedError

from heygem.core import templating


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a template in Markdown and the same in HTML."""
    folder = tmp_path / "some_reports" / "templates"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    text = "{% for row in rows %}\n- {{ row | upper_case }}\n{% endfor %}\n"
    (folder / "list.md.j2").write_text(text)
    (folder / "list.html.j2").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return "some_reports"


def test_control_lines_leave_no_blank_lines_and_html_alone_is_escaped(package):
    values = {"filters": {"upper_case": str.upper}, "rows": ["a<b", "c"]}
    assert templating.render(package, "list.md", **values) == "- A<B\n- C\n"
    assert templating.render(package, "list.html", **values) == "- A&lt;B\n- C\n"


def test_a_missing_value_is_an_error(package):
    with pytest.raises(UndefinedError):
        templating.render(package, "list.md", filters={"upper_case": str.upper})


@pytest.mark.parametrize(
    "seconds, text",
    [
        (8.24, "8.2 s"), (59.94, "59.9 s"), (59.97, "1 min 0 s"), (192, "3 min 12 s"),
        (7500, "2 h 5 min"), (float("nan"), "–"),
    ],
)  # fmt: skip
def test_a_length_of_time_is_as_exact_as_its_reader_needs(seconds, text):
    assert templating.clock(seconds) == text
