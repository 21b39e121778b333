"""The few-shot page as a user works it, without a browser."""

import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("ipywidgets", reason="the notebooks extra is not installed")
pytest.importorskip("anywidget", reason="the notebooks extra is not installed")
pytest.importorskip("heygem.finetune", reason="few-shot is not in this build")

from heygem.core import i18n  # noqa: E402
from heygem.core.errors import (
    Cancelled,
    ConsentError,  # noqa: E402
)
from heygem.finetune.coverage import Coverage  # noqa: E402
from heygem.studio import before_after, urls
from heygem.studio.before_after import (
    BeforeAfter,
    densest_speech_start,  # noqa: E402
)
from heygem.studio.consent_form import ConsentForm  # noqa: E402
from heygem.studio.pages.finetune import Teaching  # noqa: E402
from heygem.studio.session import (
    ApertureCurves,  # noqa: E402
    Clip,
)
from heygem.training.metrics import Agreement  # noqa: E402

WAIT_S = 60
SAID = i18n.words("en")


@pytest.fixture(autouse=True)
def server(tmp_path, monkeypatch):
    monkeypatch.setenv(urls.ROOT_VARIABLE, str(tmp_path))


class Teacher:
    """Stands for `heygem.finetune.run`: tells, can be stopped, and says what it was given."""

    def __init__(self):
        self.given, self.began, self.slow = [], threading.Event(), False

    def teach(self, footage, out, settings=None, *, consent, face, base, progress, cancel, watch):
        self.given.append((footage, out, consent))
        for step in range(10):
            progress("learn", step, 10)
            watch("held_out/correlation", 0.3 + step / 100, step)
        self.began.set()
        if self.slow and cancel.wait(20):
            raise Cancelled("stopped on request")
        line = np.linspace(0, 0.1, 100).astype(np.float32)
        curves = [{"real": line, "before": line / 2, "after": line, "valid": line > -1}]
        before, after = Agreement(0.4, 0.5, 20.0, 0.8, 9.0), Agreement(0.6, 0.65, 0.0, 1.0, 9.0)
        table = {name: np.zeros((3, 3), int) for name in ("closed", "spread", "rounded")}
        table["wide open"] = np.full((3, 3), 9)
        seen = Coverage(line, line, np.ones((100, 2), int), np.full((3, 3), 9), table)
        return SimpleNamespace(
            path=Path(out),
            adapted=SimpleNamespace(before=before, after=after, curves=curves),
            coverage=seen,
            notes=["the mouth follows held-out speech better: 0.40, now 0.60"],
        )


@pytest.fixture
def teacher(monkeypatch):
    made = Teacher()
    module = ModuleType("heygem.finetune.run")
    module.finetune = made.teach
    monkeypatch.setitem(sys.modules, "heygem.finetune.run", module)
    return made


@pytest.fixture
def page(clip, tmp_path, teacher, monkeypatch):
    def draw(video, taught, sound, params, *, folder, progress, cancel):
        made = [
            Clip(tmp_path / f"{k}.mp4", tmp_path / "s.mp4", params, 0.0, 3.0, 75, 0, 1.0)
            for k in range(2)
        ]
        times = np.linspace(0, 3, 30)
        curves = ApertureCurves(times, times / 30, times / 20, 0.0, 3.0)
        return BeforeAfter(*made, curves, times / 25, (np.zeros((60, 120, 3), np.uint8),) * 3, 0.04)

    monkeypatch.setattr(before_after, "render_before_after", draw)
    made = Teaching(
        videos=[str(clip)], name="anna", consent={"basis": "own"}, folder=tmp_path,
        out=tmp_path / "people", previews=tmp_path / "previews",
    )  # fmt: skip
    assert made.looker.wait(WAIT_S)
    return made


def test_footage_is_shown_and_nothing_begins_without_an_answer(page, teacher):
    assert "1 videos, 1 s" in page.pictures.value and "<img" in page.pictures.value
    page.consent.basis.value = None
    page.button.click()
    assert "nobody has said by what right" in page.status.error.value
    page.consent.basis.value = "recorded"
    page.button.click()
    assert "without who, purpose, until, reference" in page.status.error.value
    page.consent.basis.value = "own"
    page.name.value = "../anna"
    page.button.click()
    assert "no name that can be a folder" in page.status.error.value
    page.footage.list.value = ()
    page.button.click()
    assert "no footage is chosen" in page.status.error.value
    assert teacher.given == []


def test_what_was_learnt_is_shown_with_before_and_after(page, teacher, clip, tmp_path):
    page.button.click()
    assert page.worker.wait(WAIT_S) and page.worker.error is None
    ((footage, out, statement),) = teacher.given
    assert footage == [str(clip)] and out == tmp_path / "people" / "anna.heygem"
    assert statement.basis == "own"
    assert "held_out/correlation: 0.390" in page.learning.value, "the last value, too"
    assert "0.40" in page.said.value and "0.65" in page.said.value
    assert "follows held-out speech better" in page.said.value
    assert 'class="hg-real"' in page.curves.value
    assert "no closed mouth" in page.coverage.value and "data:image/png" in page.coverage.value
    assert page.player.source_url == "files/0.mp4" and page.player.result_url == "files/1.mp4"
    assert page.player.labels["source"] == "Base model" and "hg-real" in page.player.curves
    assert page.player.labels["result"] == "Fine-tuned model"
    assert page.grid.value.count("data:image/jpeg") == 3 and "Original" in page.grid.value
    assert page.shown.grid.shape == (180, 120, 3)


def test_it_stops_within_a_second_and_goes_on(page, teacher):
    teacher.slow = True
    page.button.click()
    assert teacher.began.wait(WAIT_S)
    asked = time.monotonic()
    page.status.stop.click()
    assert page.worker.wait(WAIT_S) and time.monotonic() - asked < 1
    assert page.result is None and page.status.error.value == ""
    assert page.button.description == "Continue"
    teacher.slow = False
    page.button.click()
    assert page.worker.wait(WAIT_S) and page.result is not None
    assert page.button.description == "Fine-tune"


def test_the_consent_form_says_what_was_agreed():
    given = {"basis": "recorded", "who": "P-17", "purpose": "our films", "until": "2030-01-31"}
    form = ConsentForm(SAID, given)
    assert form.details.layout.display == "flex"
    with pytest.raises(ConsentError, match="without reference"):
        form.statement()
    form.texts["reference"].value = "file 12"
    said = form.statement()
    assert (said.who, said.until, said.reference) == ("P-17", "2030-01-31", "file 12")
    form.basis.value = "synthetic"
    assert form.details.layout.display == "none" and form.statement().who == ""


def test_the_busiest_span_is_found():
    voice = np.zeros(1000)
    voice[500:700] = 1
    assert densest_speech_start(voice, 2.0) == pytest.approx(5.0)
    assert densest_speech_start(voice[:150], 2.0) == 0.0


def test_the_page_speaks_chinese(tmp_path):
    page = Teaching(folder=tmp_path, out=tmp_path, lang="zh")
    assert page.button.description == "开始微调"
    assert page.player.labels["result"] == "微调模型"
    assert page.results.layout.display == "none"


def test_the_notebook_runs_under_papermill_without_a_person(tmp_path):
    papermill = pytest.importorskip("papermill")
    source = Path(__file__).parents[2] / "notebooks" / "03_finetune.ipynb"
    done = papermill.execute_notebook(
        str(source), str(tmp_path / "done.ipynb"), cwd=str(tmp_path), progress_bar=False,
        parameters={"inputs": {"output": str(tmp_path / "people")}, "start": True, "name": "anna"},
    )  # fmt: skip
    text = "".join(str(output) for cell in done.cells for output in cell.get("outputs", ()))
    assert "application/vnd.jupyter.widget-view+json" in text
    assert "no footage is chosen" in text and "nothing has been taught yet" in text
