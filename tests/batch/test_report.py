"""What a batch made, at a glance, in little space."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.media import write_video

from heygem.batch import report as batch_page
from heygem.batch import runner
from heygem.config.params import Params
from heygem.experiments import figures
from heygem.lips.trajectory import Trajectory

CURVE = Trajectory(np.zeros((50, 1), np.float32), 50.0, np.zeros((1, 900, 3)))

SPOKEN = Params.from_dict({"inputs": {"audio": "hello.wav"}})


def outcome(folder, name, status="done", *, seconds=4.0, params=None, **more):
    details = folder / "details" / name
    content = {
        "output": {"duration_s": 2.0},
        "timings": {"track_s": 1.0, "render_s": 2.5},
        "measures": {"av_corr": 0.5, "silence_leakage": 0.1},
    }
    made = status in ("done", "skipped")
    return runner.Outcome(
        name, Path(f"{name}.mp4"), status, sound="hello.wav", params=params or SPOKEN,
        seconds=seconds, output=folder / f"{name}.mp4" if made else None,
        details=details if made else None, manifest=content if made else {}, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("made")
    for name in ("anna", "ben"):
        write_video(place / f"{name}.mp4", frames=10, width=160, height=120)
        (place / "details" / name).mkdir(parents=True)
        sheet = figures.contact_sheet(place / f"{name}.mp4")
        figures.save_image(sheet, place / "details" / name / "contact_sheet.png")
        figures.lip_curve(CURVE).savefig(place / "details" / name / "lip_curve.png")
    return place


@pytest.fixture
def report(folder):
    outcomes = (
        outcome(folder, "anna", warnings=("the face is only 60 px wide",)),
        outcome(folder, "ben", "skipped", seconds=0.1),
        outcome(folder, "<i>cy</i>", "failed", error="no such file; seen: <b>", seconds=0.0),
        outcome(folder, "dee", "cancelled"),
    )
    return runner.Report(folder, outcomes, 75.0)


def link(path):
    return f"../{Path(path).name}"


def test_the_page_says_what_was_made_what_not_and_why(report):
    page = batch_page.page(report, link)
    assert (
        "4 items: 1 made, 1 already there, 1 failed, 1 stopped; 4 s of video, in 1 min 15 s" in page
    )
    assert re.findall(r'href="([^"]+)"', page) == ["../anna.mp4", "../ben.mp4"]
    assert "no such file; seen: &lt;b&gt;" in page and "<i>cy" not in page
    assert "the face is only 60 px wide" in page and "anna.mp4 + hello.wav" in page
    # Two thumbnails, two figures, two sheets and two curves.
    assert page.count("data:image/jpeg;base64") == 8 and "<details>" in page


def test_many_items_stay_small_and_say_what_is_missing(folder, monkeypatch):
    outcomes = tuple(outcome(folder, name) for name in ("anna", "ben") * 12)
    page = batch_page.page(runner.Report(folder, outcomes, 1.0), link)
    assert len(page) < 1_000_000
    monkeypatch.setattr(batch_page, "PAGE_BYTES", 60_000)
    small = batch_page.page(runner.Report(folder, outcomes, 1.0), link)
    assert len(small) < 100_000 < len(page)
    assert "more contact sheets and lip curves lie beside the videos" in small


def test_figures_are_left_out_where_nothing_was_made(folder):
    failed = runner.Report(folder, (outcome(folder, "cy", "failed"),), 1.0)
    assert batch_page.times(failed) is None and batch_page.measures(failed) is None
    assert "1 item: 1 failed; 0 s of video, in 1 s" in batch_page.page(failed, link)


def test_a_video_that_is_gone_costs_its_thumbnail_only(folder):
    gone = outcome(folder, "gone")
    page = batch_page.page(runner.Report(folder, (gone,), 1.0), link)
    assert "gone" in page


def test_text_that_was_spoken_is_shown_as_such(folder):
    params = Params.from_dict({"inputs": {"text": "Good morning, everybody"}})
    said = outcome(folder, "anna", params=params)
    said = runner.replace(said, sound="Good morning, everybody")
    assert "“Good morning, everybody”" in batch_page.page(runner.Report(folder, (said,), 1.0), link)
