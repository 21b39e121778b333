"""The comparison of a sweep: one page for all variants, and a labelled film for each group."""

import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from helpers.media import tone, write_video

from heygem.batch import runner
from heygem.batch.items import plan_items
from heygem.batch.outcome import Outcome
from heygem.batch.results import batch_files
from heygem.config.params import Params
from heygem.core import i18n
from heygem.provenance import containers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def batch(tmp_path_factory, hopper):
    """Two people with three variants each, of which one failed; returns recipe, items, report."""
    folder = tmp_path_factory.mktemp("sweep")
    for name in ("anna", "b#n"):
        write_video(folder / f"{name}.mp4", frames=3)
    params = Params.from_dict(
        {
            "inputs": {
                "videos": [str(folder / "anna.mp4"), str(folder / "b#n.mp4")],
                "audio": "hello.wav",
                "output": str(folder / "out"),
            },
            "sweep": {"lips.openness_gain": [0.5, 1.0, 1.5]},
            "mlflow": {"enabled": False},
        }
    )
    items = plan_items(params)
    outcomes = []
    for k, item in enumerate(items):
        if k == 5:
            outcomes.append(
                Outcome(item.name, item.video, "failed", error="no face", code="NO_FACE")
            )
            continue
        item.details.mkdir(parents=True)
        gain = item.params.lips.openness_gain
        times_s = np.arange(0, 0.4, 0.02)
        curve = np.stack([times_s, gain * 0.1 * np.sin(8 * times_s) ** 2, 0 * times_s], -1)
        header = "time_s,opening,width"
        path = item.details / "lip_curve.csv"
        np.savetxt(path, curve, delimiter=",", header=header, comments="")
        make = lambda i, w, h: np.roll(hopper[:h, :w], i, axis=1)  # noqa: E731
        write_video(item.output, frames=10, width=512, height=600, make=make, audio=tone(0.4))
        manifest = {
            "id": f"{k}" * 64,
            "measures": {"av_corr": 0.4 + gain / 10, "silence_leakage": 0.2},
            "timings": {"render_s": 2.0},
            "output": {"duration_s": 0.4},
        }
        outcomes.append(
            Outcome(
                item.name, item.video, "done", speech="hello.wav", params=item.params,
                output=item.output, details=item.details, seconds=3.0, manifest=manifest,
            )
        )  # fmt: skip
    return params, items, runner.Report(folder / "out", tuple(outcomes), 20.0)


def test_one_page_compares_all_variants_and_each_group_has_a_labelled_film(batch):
    params, items, report = batch
    written = batch_files.write(report, params, items)
    assert written.warnings == ()
    page = written.files["comparison"]
    text = page.read_text("utf-8")
    assert page.name == "comparison.html" and "out: 3 variants" in text
    assert "Means over all videos" in text
    row = re.search(r"<tr><td>openness_gain=0.5</td>(.*?)</tr>", text).group(1)
    assert re.findall("<td>(.*?)</td>", row)[:2] == ["2", "0.45"]
    assert text.count("A   openness_gain=0.5") == 2 and "lips.openness_gain" in text
    assert "b#n-hello-openness_gain=1.5" in text and "no face" in text
    films = {unquote(each) for each in re.findall(r'<video src="([^"]+)"', text)}
    assert films == {f"comparison/{name}-hello/compare.mp4" for name in ("anna", "b#n")}
    for film in films:
        (label,) = containers.read_tags(page.parent / film)
        assert label
    assert 'href="comparison.html"' in written.files["gallery"].read_text("utf-8")


def test_without_two_finished_variants_there_is_no_comparison(batch, tmp_path):
    params, items, report = batch
    lone = runner.Report(tmp_path, report.outcomes[4:], 1.0)  # one finished, one failed
    assert "comparison" not in batch_files.write(lone, params, items[4:]).files
    assert not (tmp_path / "comparison.html").exists()


def test_who_wants_no_film_gets_the_page_alone(batch, tmp_path, monkeypatch):
    params, items, report = batch
    here = runner.Report(tmp_path, report.outcomes[:3], 1.0)
    files = batch_files.write(here, params, items, film=False).files
    text = files["comparison"].read_text("utf-8")
    assert "<video" not in text and "Means" not in text and text.count("data:image/jpeg") >= 2
    assert not list(Path(tmp_path).rglob("*.mp4"))
    assert '<html lang="en">' in text and "All items" in text


def test_the_comparison_is_written_in_the_language_that_is_asked_for(batch, tmp_path):
    params, items, report = batch
    here = runner.Report(tmp_path, report.outcomes[:3], 1.0)
    page = batch_files.write(here, params, items, film=False, lang="zh").files["comparison"]
    text = page.read_text("utf-8")
    assert '<html lang="zh">' in text and "3 个变体" in text and "全部项目" in text
    words = i18n.phrases("interface", "zh")
    assert words["compare_settings"] in text and words["column_status"] in text
    for phrase in ("All items", "variants", "labelled"):
        assert phrase not in text, phrase
