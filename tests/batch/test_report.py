"""HTML report of a batch: contents, escaping, size limit, charts."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.media import write_video

from heygem.batch import runner
from heygem.batch.results import report as report_module
from heygem.batch.results.report import summary_line, sync_chart, time_chart, to_html
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
    has_result = status in ("done", "skipped")
    return runner.Outcome(
        name, Path(f"{name}.mp4"), status, speech="hello.wav", params=params or SPOKEN,
        seconds=seconds, output=folder / f"{name}.mp4" if has_result else None,
        details=details if has_result else None, manifest=content if has_result else {}, **more,
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


@pytest.mark.slow
def test_the_page_lists_results_errors_and_warnings(report):
    page = to_html(report, link)
    assert (
        "4 items: 1 made, 1 already there, 1 failed, 1 stopped; 4.0 s of video, in 1 min 15 s"
        in page
    )
    assert re.findall(r'href="([^"]+)"', page) == ["../anna.mp4", "../ben.mp4"]
    assert "no such file; seen: &lt;b&gt;" in page and "<i>cy" not in page
    assert "the face is only 60 px wide" in page and "anna.mp4 + hello.wav" in page
    # Two thumbnails, two charts, two contact sheets and two lip curves.
    assert page.count("data:image/jpeg;base64") == 8 and "<details>" in page


@pytest.mark.slow
def test_contact_sheets_of_a_few_items_are_open(folder):
    assert "<details open>" in to_html(runner.Report(folder, (outcome(folder, "anna"),), 1.0), link)


@pytest.mark.slow
def test_page_of_many_items_stays_small_and_says_what_is_omitted(folder, monkeypatch):
    outcomes = tuple(outcome(folder, name) for name in ("anna", "ben") * 12)
    page = to_html(runner.Report(folder, outcomes, 1.0), link)
    assert len(page) < 1_000_000
    monkeypatch.setattr(report_module, "IMAGE_BYTES", 60_000)
    small = to_html(runner.Report(folder, outcomes, 1.0), link)
    assert len(small) < 100_000 < len(page)
    omitted = 24 - small.count("<details>")
    assert omitted > 0
    assert f"{omitted} more contact sheets and lip curves lie beside the videos" in small


def test_charts_are_omitted_if_nothing_was_made(folder):
    failed = runner.Report(folder, (outcome(folder, "cy", "failed"),), 1.0)
    assert time_chart(failed) is None and sync_chart(failed) is None
    assert "1 item: 1 failed; 0.0 s of video, in 1.0 s" in to_html(failed, link)


def test_time_chart_adds_up_to_the_processing_time(folder):
    chart = time_chart(runner.Report(folder, (outcome(folder, "anna", seconds=4.0),), 4.0))
    (axes,) = chart.axes
    widths = {bars.get_label(): bars[0].get_width() for bars in axes.containers}
    assert widths["track"] == 1.0 and widths["render"] == 2.5
    assert sum(widths.values()) == pytest.approx(4.0)


def test_sync_chart_shows_the_measures(folder):
    chart = sync_chart(runner.Report(folder, (outcome(folder, "anna"),), 4.0))
    (axes,) = chart.axes
    assert [bars[0].get_width() for bars in axes.containers] == [0.5, 0.1]


@pytest.mark.slow
def test_a_missing_video_costs_its_thumbnail_only(folder):
    page = to_html(runner.Report(folder, (outcome(folder, "gone"),), 1.0), link)
    assert "../gone.mp4" in page


@pytest.mark.slow
def test_spoken_text_is_shown_in_quotes(folder):
    params = Params.from_dict({"inputs": {"text": "Good morning, everybody"}})
    spoken = replace(outcome(folder, "anna", params=params), speech="Good morning, everybody")
    page = to_html(runner.Report(folder, (spoken,), 1.0), link)
    assert "“Good morning, everybody”" in page


def test_summary_line_names_hours(folder):
    assert summary_line(runner.Report(folder, (), 3725.0)).endswith("in 1 h 2 min")
