"""Error boxes and progress."""

import traitlets

from heygem.core import i18n
from heygem.core.errors import InputError
from heygem.studio import file_picker, status
from heygem.studio.background import LatestTask
from heygem.studio.pages.preview import PreviewPage
from heygem.studio.pages.tuning import TuningPage


def test_an_error_box_names_problem_value_and_remedy_and_escapes_all_text():
    translate = i18n.translator("en")
    box = status.error_html(InputError("bad <b>", seen="<script>", remedy="mend it"), translate)
    assert "What to do:</b> mend it" in box and "&lt;script&gt;" in box
    assert "<script>" not in box and "<details>" in box


def test_no_page_overrides_a_method_of_ipywidgets():
    """`open` and `log` belong to ipywidgets: a page that overrides them does not show up."""
    import ipywidgets

    for page in (PreviewPage, TuningPage, file_picker.FilePicker, status.StatusBar):
        own = {n for n in vars(page) if not n.startswith("_")} - {"children"}
        taken = {n for n in own if hasattr(ipywidgets.VBox, n)}
        assert taken == set(), page
    assert isinstance(LatestTask.busy, traitlets.Bool)
