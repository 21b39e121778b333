"""Comparison of recorded runs: tables, contact sheet, film, report and page."""

import threading

import numpy as np
import pytest
from helpers.media import tone, write_video
from helpers.recorded_runs import record

from heygem import media
from heygem.config.params import LabelSettings
from heygem.core.errors import Cancelled, InputError, OutputError, ParameterError
from heygem.experiments import runs
from heygem.experiments.comparison import contact_sheet, film, plots, report, table
from heygem.face import backends
from heygem.provenance import aigc, containers

pytestmark = pytest.mark.slow


def face(hopper, index, width, height):
    return np.roll(hopper[:height, :width], index % 3, axis=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory, hopper):
    """Three runs with videos, one without, one failed, and a batch above them."""
    folder = tmp_path_factory.mktemp("store")
    make = lambda i, w, h: face(hopper, i, w, h)  # noqa: E731
    wide = dict(width=512, height=600, make=make)
    times_s = np.arange(0, 2, 0.02)
    a = write_video(folder / "a.mp4", frames=50, audio=tone(2), **wide)
    b = write_video(folder / "b.mp4", frames=40, rate=20, **wide)
    c = write_video(folder / "c.mp4", frames=20, width=320, height=180)
    ids = {}
    ids["batch"] = record(folder, "2 videos", kind="batch")
    ids["a"] = record(
        folder, "anna-hello",
        params={"lips.openness_gain": 1.0, "lips.closure": 0, "inputs.videos": "['a']"},
        metrics={"timings.seconds_per_second": 4.0, "measures.av_corr": 0.41, "system/x": 3},
        files=[a], curve=(times_s, 0.1 * np.sin(times_s) ** 2), video="anna.mp4",
    )  # fmt: skip
    ids["b"] = record(
        folder, "anna-<b>wide</b>",
        params={"lips.openness_gain": 1.5, "lips.closure": 0, "inputs.videos": "['b']"},
        metrics={"timings.seconds_per_second": 3.0, "measures.av_corr": 0.40, "warnings": 2},
        files=[b], curve=(times_s, 0.2 * np.sin(times_s) ** 2), video="anna.mp4",
    )  # fmt: skip
    ids["bare"] = record(folder, "skipped", params={"lips.closure": 1}, status="skipped")
    ids["c"] = record(folder, "中文", files=[c], kind="snapshot")
    return folder, ids


@pytest.mark.slow
def test_runs_come_newest_first_with_their_videos_and_curves(store):
    folder, ids = store
    listed = runs.list_runs(folder, experiment="heygem")
    assert [run.id for run in listed] == [ids[k] for k in ("c", "bare", "b", "a", "batch")]
    assert [run.video is not None for run in listed] == [True, False, True, True, False]
    assert listed[1].status == "skipped" and listed[3].status == "finished"
    times_s, opening = listed[3].lip_curve
    assert len(times_s) == 100 and opening.max() == pytest.approx(0.1, abs=0.001)
    assert listed[0].lip_curve is None


def test_runs_are_chosen_by_id_by_name_or_as_the_last_ones(store):
    folder, ids = store
    pick = lambda **how: [run.id for run in runs.select_runs(folder, **how)]  # noqa: E731
    assert pick(last=2) == [ids["c"], ids["b"]]  # the skipped one has nothing to show
    assert pick(ids=["anna-hello", ids["c"][:10]]) == [ids["a"], ids["c"]]
    with pytest.raises(InputError, match="no such run; seen: nobody"):
        pick(ids=["anna-hello", "nobody"])
    with pytest.raises(InputError, match="no two runs"):
        pick(ids=["anna-hello", ids["a"]])
    with pytest.raises(ParameterError, match="compares with nothing"):
        pick(last=1)
    with pytest.raises(InputError, match="no such experiment.*heygem"):
        pick(experiment="other")
    with pytest.raises(InputError, match="no recorded runs"):
        runs.select_runs(folder / "nowhere")


def test_the_table_has_what_differs_and_says_what_is_clearly_better(store):
    folder, _ = store
    selected = runs.select_runs(folder, ids=["anna-hello", "anna-<b>wide</b>"])
    assert [(row.key, row.values) for row in table.settings_table(selected)] == [
        ("lips.openness_gain", ("1.0", "1.5"))
    ]
    measures = {row.key: row for row in table.metrics_table(selected)}
    assert "system/x" not in measures
    assert measures["timings.seconds_per_second"].best == 1  # less is better
    assert measures["measures.av_corr"].best is None  # 0.41 to 0.40 is no difference
    assert measures["warnings"].values == (None, 2)
    html = report.tables_html(report.tabulate(selected))
    assert "anna-&lt;b&gt;wide&lt;/b&gt;" in html and "<b>3</b>" in html
    assert "lips.closure" not in html
    assert html.count('<th style="padding:1px 10px;') == len(selected), (
        "as far apart as their columns"
    )


def test_instants_are_those_where_mouths_differ_in_each_part_of_the_time():
    times_s = np.arange(0, 6, 0.02)
    flat = np.zeros_like(times_s)
    bump = np.exp(-((times_s - 1.2) ** 2) / 0.02)
    times = contact_sheet.instants([6.0, 5.98], [(times_s, flat), (times_s, bump), None], count=3)
    assert times[0] == pytest.approx(1.2, abs=0.03)
    assert list(times) == sorted(times) and times[-1] < 5.98
    assert np.allclose(
        contact_sheet.instants([6.0, 9.0], [None, (times_s, bump)], count=3), [1, 3, 5]
    )


@pytest.fixture(scope="module")
def comparison(store, faces, tmp_path_factory):
    folder, _ = store
    selected = runs.select_runs(folder, ids=["anna-hello", "anna-<b>wide</b>", "skipped"])
    out = tmp_path_factory.mktemp("compared")
    return report.add_film(report.compare_runs(selected, out / "here", count=3, faces=faces))


@pytest.mark.slow
def test_a_comparison_leaves_sheet_figures_table_page_and_film(comparison):
    assert sorted(comparison.files) == ["curves", "film", "measures", "page", "sheet", "table"]
    assert all(
        path.is_file() and path.parent == comparison.folder for path in comparison.files.values()
    )
    assert list(comparison.videos) == [0, 1] and 0.3 < comparison.mouth_centres[0][0] < 0.7
    page = comparison.files["page"].read_text()
    assert 'src="compare.mp4"' in page and "&lt;b&gt;" in page and "<b>wide" not in page
    assert page.count("data:image/jpeg;base64") == 3 and len(page) < 1_000_000
    rows = comparison.files["table"].read_text("utf-8-sig").splitlines()
    assert rows[0] == ",A   anna-hello,B   anna-<b>wide</b>,C   skipped"
    assert "lips.openness_gain,1.0,1.5," in rows


@pytest.mark.slow
def test_the_sheet_shows_frames_of_the_same_instants_and_their_mouths(store, faces, hopper):
    folder, _ = store
    (run,) = [run for run in runs.list_runs(folder) if run.name == "anna-hello"]
    moments = contact_sheet.moments(run.video, [0.5, 1.0, 9.0], faces)
    assert [round(one.time_s, 2) for one in moments[:2]] == [0.48, 1.0] and moments[2] is None
    assert np.abs(moments[0].image.astype(int) - face(hopper, 12, 512, 600)).mean() < 6
    mouth = moments[0].mouth
    assert mouth.image.shape[1] > mouth.image.shape[0] > 30
    sheet = contact_sheet.draw_sheet([moments, moments], ["A", "B"])
    assert sheet.shape[1] == 3 * contact_sheet.CELL_PX and sheet.dtype == np.uint8
    assert contact_sheet.crop_mouth(np.zeros((90, 90, 3), np.uint8), faces) is None


@pytest.mark.slow
def test_the_film_is_in_step_has_sound_and_is_labelled_through_and_through(comparison, store):
    folder, _ = store
    path = comparison.files["film"]
    info = media.probe(path)
    assert info.audio is not None and float(info.video.rate) == pytest.approx(25)
    assert info.duration_s == pytest.approx(2.0, abs=0.05)
    (tag,) = containers.read_tags(path)
    parsed, problems = aigc.parse_label(tag)
    assert parsed.ProduceID == comparison.label["produce_id"] and not problems
    assert comparison.label["layers"]["visible"] == comparison.label["layers"]["c2pa"] == "written"
    # The film's own label has a strip of its own, so that nobody's picture is covered.
    assert not [note for note in comparison.label["notes"] if "covers" in note]
    with media.VideoReader(path, start_s=1.0) as reader:
        frame = next(iter(reader))
    page = film._Page(
        [media.probe(comparison.runs[k].video).video for k in (0, 1)], "ab", LabelSettings()
    )
    assert comparison.label["box"][3] <= page.panels_box[1]
    with media.VideoReader(comparison.runs[1].video, start_s=1.0) as reader:
        source = next(iter(reader)).image
    x, y = page.panel_origin(1)
    panel = frame.image[y : y + page.panel_height, x : x + page.panel_width]
    expected = contact_sheet.fit_into(source, page.panel_width, page.panel_height)
    assert np.abs(panel.astype(int) - expected).mean() < 8


@pytest.mark.slow
def test_a_film_that_is_stopped_leaves_nothing(store, tmp_path):
    folder, _ = store
    videos = [folder / "a.mp4", folder / "b.mp4"]
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        film.side_by_side(videos, tmp_path / "x.mp4", captions="ab", cancel=cancel)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="choose 2 to 9"):
        film.side_by_side(videos[:1], tmp_path / "x.mp4", captions="a")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        film.side_by_side(videos, tmp_path / "file" / "x.mp4", captions="ab")


def test_a_comparison_goes_back_into_mlflow_and_is_not_compared_itself(comparison, store):
    folder, ids = store
    run_id = report.record_comparison(comparison, folder, note="why")
    run = next(run for run in runs.list_runs(folder) if run.id == run_id)
    assert run.kind == "compare" and run.tags["heygem.compared"].startswith(ids["a"])
    assert run.video.name == "compare.mp4"
    assert (run.artifacts / "compare.html").is_file() and (
        run.artifacts / "contact_sheet.jpg"
    ).is_file()
    assert [run.id for run in runs.select_runs(folder, last=2)] == [ids["c"], ids["b"]]
    with pytest.raises(InputError, match="no files yet"):
        report.record_comparison(report.tabulate(comparison.runs), folder)


@pytest.mark.slow
def test_runs_without_videos_are_compared_by_their_numbers(store, tmp_path):
    folder, _ = store
    for name, r in (("first", 0.4), ("second", 0.6)):
        record(folder, name, kind="evaluate", metrics={"ours.r": r}, within="numbers")
    selected = runs.select_runs(folder, ids=["first", "second"])
    comparison = report.add_film(report.compare_runs(selected, tmp_path / "out"))
    assert sorted(comparison.files) == ["measures", "page", "table"]
    assert plots.lip_curves(selected, comparison.letters) is None


def test_letters_go_on_after_z():
    assert table.run_letters(28)[:2] == ["A", "B"] and table.run_letters(28)[26:] == [
        "A1",
        "B1",
    ]


@pytest.mark.slow
def test_without_a_visible_label_the_film_still_says_what_it_is(store, tmp_path):
    folder, _ = store
    quiet = LabelSettings(visible=False, requester="a", approver="b", reason="c")
    video = film.side_by_side(
        [folder / "a.mp4", folder / "c.mp4"], tmp_path / "x.mp4", captions="ab", settings=quiet
    )
    assert video.label["box"] is None and len(containers.read_tags(video.path)) == 1


@pytest.fixture
def page(comparison, store, tmp_path, faces, monkeypatch):
    from heygem.studio.pages.compare import ComparePage

    monkeypatch.delenv("HEYGEM_SERVER_ROOT", raising=False)
    monkeypatch.setattr(backends, "MediaPipeBackend", lambda models: faces)
    folder, _ = store
    return ComparePage(comparison, store=folder, output=tmp_path / "out", count=2, lang="en")


def test_the_page_shows_what_it_is_given_without_sending_videos(page, comparison):
    assert page.table.chosen == [run.id for run in comparison.runs]
    assert [each["letter"] for each in page.player.videos] == ["A", "B"]
    assert page.player.videos[0]["url"].endswith("/a.mp4")  # an address, never the bytes
    assert page.player.frame_s == pytest.approx(1 / 25)
    assert "skipped: no video was kept" in page.message.value
    assert "lips.openness_gain" in page.tables.value
    assert "data:image/jpeg" in page.sheet.value and "data:image/jpeg" in page.plots.value
    row = next(row for row in page.table.rows if row["name"] == "skipped")
    assert row["status"] == "skipped" and not row["video"]


@pytest.mark.slow
def test_other_runs_are_compared_and_recorded_with_a_button_each(page, store):
    folder, ids = store
    page.table.chosen = [ids["a"]]
    page.compare_button.click()
    assert "Choose two runs" in page.status.error.value
    page.table.chosen = [ids["c"], ids["a"]]
    page.compare_button.click()
    assert page.task.wait(120) and page.task.error is None
    assert [run.id for run in page.comparison.runs] == [ids["c"], ids["a"]]
    assert page.comparison.folder.parent == page.output and "film" not in page.comparison.files
    page.player.audible = 1  # the one that has a sound
    page.log_button.click()
    assert page.task.wait(120) and page.task.error is None
    assert "Logged as run" in page.message.value
    newest = runs.list_runs(folder)[0]
    assert newest.kind == "compare" and newest.id in {row["id"] for row in page.table.rows}
    assert media.probe(newest.video).audio is not None


def test_the_page_speaks_chinese_and_says_where_nothing_is_recorded(tmp_path, comparison):
    from heygem.studio.pages.compare import ComparePage

    page = ComparePage(store=tmp_path / "none", lang="zh")
    assert page.compare_button.description == "对比"
    assert "还没有已记录的运行" in page.empty.value and page.empty.layout.display == ""
    assert page.status.error.value == "" and page.table.layout.display == "none"
    page.show(comparison)
    assert "不同的参数" in page.tables.value and "开始时间" in page.tables.value


@pytest.mark.slow
def test_a_page_compares_the_last_runs_that_have_a_video(tmp_path, monkeypatch):
    """A failed one between them has nothing to look at."""
    from heygem.studio.pages.compare import ComparePage

    monkeypatch.setattr(ComparePage, "compare", lambda page: None)
    for name, files in (("anna", ["a.mp4"]), ("ben", ["b.mp4"]), ("broken", [])):
        for file in files:
            (tmp_path / file).write_bytes(b"video")
        record(tmp_path / "mlruns", name, files=[tmp_path / file for file in files], params={})
    page = ComparePage(store=tmp_path / "mlruns", output=tmp_path, last=2, lang="zh")
    names = {row["id"]: row["name"] for row in page.table.rows}
    assert sorted(names[run] for run in page.table.chosen) == ["anna", "ben"]
    assert page.table.labels["run_failed"] == "失败"
