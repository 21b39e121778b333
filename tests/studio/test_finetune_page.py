"""The fine-tuning page as a user works it, without a browser."""

import re
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from heygem.core import i18n
from heygem.core.errors import (
    Cancelled,
    ConsentError,
)
from heygem.finetune.coverage import Coverage
from heygem.studio import before_after, urls
from heygem.studio.before_after import (
    BeforeAfter,
    densest_speech_start,
)
from heygem.studio.clip import ApertureCurves, Clip
from heygem.studio.consent_form import ConsentForm
from heygem.studio.pages.finetune import FinetunePage
from heygem.studio.recent_files import add_recent
from heygem.training.metrics import Agreement

WAIT_S = 60
TRANSLATE = i18n.translator("en")


@pytest.fixture(autouse=True)
def server(tmp_path, monkeypatch):
    monkeypatch.setenv(urls.ROOT_VARIABLE, str(tmp_path))


class FakeFinetuning:
    """Replaces `heygem.finetune.run.finetune`: reports progress and keeps its calls."""

    def __init__(self):
        self.calls, self.began, self.slow = [], threading.Event(), False
        self.kept_base = False

    def finetune(
        self,
        footage,
        out,
        settings=None,
        *,
        consent,
        face,
        base,
        same_person,
        progress,
        cancel,
        watch,
    ):
        self.calls.append((footage, out, consent))
        self.same_person = list(same_person)
        for step in range(10):
            progress("learn", step, 10)
            watch("held_out/correlation", 0.3 + step / 100, step)
        self.began.set()
        if self.slow and cancel.wait(20):
            raise Cancelled("stopped on request")
        aperture = np.linspace(0, 0.1, 100).astype(np.float32)
        curves = [
            {"real": aperture, "before": aperture / 2, "after": aperture, "valid": aperture > -1}
        ]
        before, after = Agreement(0.4, 0.5, 20.0, 0.8, 9.0), Agreement(0.6, 0.65, 0.0, 1.0, 9.0)
        table = {name: np.zeros((3, 3), int) for name in ("closed", "spread", "rounded")}
        table["wide open"] = np.full((3, 3), 9)
        coverage = Coverage(aperture, aperture, np.ones((100, 2), int), np.full((3, 3), 9), table)
        return SimpleNamespace(
            path=Path(out),
            adaptation=SimpleNamespace(
                before=before, after=after, curves=curves, kept_base=self.kept_base
            ),
            coverage=coverage,
            notes=["the mouth follows held-out speech better: 0.40, now 0.60"],
        )


@pytest.fixture
def finetuning(monkeypatch):
    fake = FakeFinetuning()
    module = ModuleType("heygem.finetune.run")
    module.finetune = fake.finetune
    monkeypatch.setitem(sys.modules, "heygem.finetune.run", module)
    return fake


@pytest.fixture
def page(clip, tmp_path, finetuning, monkeypatch):
    def render_before_after(video, bundle, audio, params, *, folder, progress, cancel):
        clips = [
            Clip(tmp_path / f"{k}.mp4", tmp_path / "s.mp4", params, 0.0, 3.0, 75, 0, 1.0)
            for k in range(2)
        ]
        times = np.linspace(0, 3, 30)
        curves = ApertureCurves(times, times / 30, times / 20, 0.0, 3.0)
        return BeforeAfter(
            *clips, curves, times / 25, (np.zeros((60, 120, 3), np.uint8),) * 3, 0.04
        )

    monkeypatch.setattr(before_after, "render_before_after", render_before_after)
    page = FinetunePage(
        videos=[str(clip)], name="anna", consent={"basis": "own"}, folder=tmp_path,
        out=tmp_path / "people", previews=tmp_path / "previews",
    )  # fmt: skip
    assert page.sum_task.wait(WAIT_S)
    return page


def test_footage_is_shown_and_nothing_starts_without_consent(page, finetuning):
    assert "Videos: 1, 1 s in all" in page.footage_sum.value
    assert "<img" not in page.footage_sum.value, "its picture is in the picker already"
    page.consent.basis.value = None
    page.button.click()
    assert "no basis for using this likeness" in page.status.error.value
    assert "say above whose" in page.status.error.value and "--" not in page.status.error.value
    page.consent.basis.value = "recorded"
    page.button.click()
    assert "without Who agreed, Purpose, Where" in page.status.error.value
    assert "--" not in page.status.error.value, "options of the command line"
    page.consent.basis.value = "own"
    page.name.value = "../anna"
    page.button.click()
    assert "cannot be the name of a folder" in page.status.error.value
    page.name.value = " "
    page.button.click()
    assert "the person has no name" in page.status.error.value
    page.footage.list.value = ()
    page.button.click()
    assert "no footage is chosen" in page.status.error.value
    assert finetuning.calls == []


def test_photographs_are_no_footage(clip, tmp_path):
    for name in ("anna.jpg", "ben.png"):
        (tmp_path / name).touch()
        add_recent("video", tmp_path / name)
    (tmp_path / "anna.heygem").mkdir()
    page = FinetunePage(folder=tmp_path, out=tmp_path / "people")
    shown = [label for label, _ in page.footage.list.options]
    assert "clip.mp4" in shown and not {"anna.jpg", "ben.png", "anna.heygem"} & set(shown)
    assert ".jpg" not in page.footage.uploader.suffixes
    page.footage.show_recent()
    assert [label for label, _ in page.footage.list.options] == ["../"]


@pytest.mark.slow
def test_the_result_is_shown_with_metrics_curves_and_comparison(page, finetuning, clip, tmp_path):
    page.button.click()
    assert page.task.wait(WAIT_S) and page.task.error is None
    ((footage, out, statement),) = finetuning.calls
    assert footage == [str(clip)] and out == tmp_path / "people" / "anna.heygem"
    assert statement.basis == "own" and finetuning.same_person == []
    assert "0.300 – 0.390" in page.metrics.value, "the last value is drawn, too"
    assert "0.40" in page.message.value and "0.65" in page.message.value
    assert "follows held-out speech better" in page.message.value
    assert 'class="hg-filmed"' in page.curves.value
    assert "no closed mouth" in page.coverage.value and "data:image/png" in page.coverage.value
    assert page.player.source_url == "files/0.mp4" and page.player.result_url == "files/1.mp4"
    assert page.player.labels["source"] == "Base model" and "hg-filmed" in page.player.curves
    assert page.player.labels["result"] == "Fine-tuned model"
    assert page.crops.value.count("data:image/jpeg") == 3 and "Original" in page.crops.value
    height, width, _ = page.before_after.grid.shape  # a strip with the label, and three rows
    assert width == 120 and 180 < height < 220


@pytest.mark.slow
def test_a_model_that_was_not_kept_is_nowhere_called_the_persons(page, finetuning):
    finetuning.kept_base = True
    page.button.click()
    assert page.task.wait(WAIT_S) and page.task.error is None
    assert "Fine-tuned fit, not kept" in page.message.value and "stays in use" in page.message.value
    assert page.player.labels["result"] == "Base model with the mouths of the footage"
    texts = [page.message.value, page.curves.value, page.crops.value, page.player.curves]
    assert not any("Fine-tuned model" in text for text in texts)


@pytest.mark.slow
def test_an_error_of_the_form_is_gone_once_a_run_begins(page, finetuning):
    page.name.value = "../anna"
    page.button.click()
    assert "cannot be the name of a folder" in page.status.error.value
    page.name.value = "anna"
    page.button.click()
    assert page.task.wait(WAIT_S) and finetuning.calls
    assert page.status.error.value == ""


@pytest.mark.slow
def test_that_all_files_show_one_person_can_be_stated(page, finetuning, clip):
    page.same_person.value = True
    page.button.click()
    assert page.task.wait(WAIT_S)
    assert finetuning.same_person == [str(clip)]


@pytest.mark.slow
def test_finetuning_can_be_stopped_and_continued(page, finetuning):
    finetuning.slow = True
    page.button.click()
    assert finetuning.began.wait(WAIT_S)
    page.status.stop.click()
    assert page.task.wait(WAIT_S)
    assert page.result is None and page.status.error.value == ""
    assert page.button.description == "Continue"
    finetuning.slow = False
    page.button.click()
    assert page.task.wait(WAIT_S) and page.result is not None
    assert page.button.description == "Fine-tune"


def test_the_consent_form_gives_a_complete_statement():
    answers = {"basis": "recorded", "who": "P-17", "purpose": "our films", "until": "2030-01-31"}
    form = ConsentForm(TRANSLATE, answers)
    assert form.details.layout.display == "flex"
    with pytest.raises(ConsentError, match="without Where the signed consent is kept; fill in"):
        form.statement()
    form.texts["reference"].value = "file 12"
    statement = form.statement()
    assert (statement.who, statement.until, statement.reference) == (
        "P-17",
        "2030-01-31",
        "file 12",
    )
    form.basis.value = "synthetic"
    assert form.details.layout.display == "none" and form.statement().who == ""


def test_the_span_with_most_speech_is_chosen():
    voice = np.zeros(1000)
    voice[500:700] = 1
    assert densest_speech_start(voice, 2.0) == pytest.approx(5.0)
    assert densest_speech_start(voice[:150], 2.0) == 0.0


def test_the_page_is_shown_in_chinese(tmp_path):
    page = FinetunePage(folder=tmp_path, out=tmp_path, lang="zh")
    assert page.button.description == "开始微调"
    assert page.player.labels["result"] == "微调模型"
    notes = [
        "the mouth follows held-out speech better: 0.40, now 0.60",
        "8 s of footage; a minute or more is better",
        "b.mp4: sound and picture do not belong together; left out",
        "no closed mouth (as in 'm, b, p') in the footage when looking up, down or to the left of "
        "the picture and up: record a few words with it there",
    ]
    for note in notes:
        words = re.sub(r"b\.mp4|[‘'“(].*?[’'”)]", "", page._localized(note))
        assert not re.search("[A-Za-z]", words), words
    assert page.results.layout.display == "none"


@pytest.mark.slow
def test_the_notebook_runs_under_papermill_without_a_person(tmp_path):
    papermill = pytest.importorskip("papermill")
    source = Path(__file__).parents[2] / "notebooks" / "03_finetune.ipynb"
    done = papermill.execute_notebook(
        str(source), str(tmp_path / "done.ipynb"), cwd=str(tmp_path), progress_bar=False,
        parameters={"inputs": {"output": str(tmp_path / "people")}, "start": True, "name": "anna"},
    )  # fmt: skip
    text = "".join(str(output) for cell in done.cells for output in cell.get("outputs", ()))
    assert "application/vnd.jupyter.widget-view+json" in text
    assert "no footage is chosen" in text and "no avatar has been fine-tuned yet" in text
