"""Means, tables and figures of results."""

import csv

import cv2
import numpy as np
import pytest

from heygem.config.params import Params
from heygem.core.errors import OutputError
from heygem.evaluation import EvaluateSettings, record, table
from heygem.evaluation.results import (
    METRICS,
    ClipResult,
    FinetunePoint,
    Measure,
    Results,
    Row,
    metrics_of,
)


def row(clip, speaker, method, value, spread=float("nan")):
    measures = {"aperture_corr": Measure(value, spread, 4)}
    return Row(clip, speaker, method, "own", measures, (0, 3), (4, 6))


def point(clip, requested_s, value):
    measures = dict.fromkeys(("aperture_corr", "lag_corrected_corr"), Measure(value))
    return FinetunePoint(clip, clip, requested_s, requested_s, [], (4, 6), False, measures)


def test_a_measure_is_of_the_whole_and_its_spread_of_the_parts():
    values = np.array([1.0, 2.0, 3.0, 10.0])
    measure = Measure.over(lambda part: values[part].mean(), [slice(0, 2), slice(2, 4)])
    assert measure.value == 4 and measure.windows == 2
    assert measure.spread == pytest.approx(np.std([1.5, 6.5], ddof=1))
    assert Measure.over(lambda part: values[part].mean(), [slice(0, 4)]).format(1) == "4.0"
    assert Measure(0.614, 0.077).format(2) == "0.61 ± 0.08"
    assert Measure(float("nan")).format(2) == "–"


def test_a_speaker_with_many_clips_does_not_weigh_more():
    rows = [row(f"a{i}", "a", "model", 0.2) for i in range(9)] + [row("b", "b", "model", 0.8)]
    mean = Results("m", rows).means()["model"]["aperture_corr"]
    assert mean.value == pytest.approx(0.5) and mean.windows == 2


def test_means_are_of_the_clips_own_audio_only():
    cross = Row("a", "a", "model", "cross: b.wav", {"aperture_corr": Measure(0.0)})
    results = Results("m", [row("a", "a", "model", 0.6), cross])
    assert results.means()["model"]["aperture_corr"].value == 0.6


def test_clips_are_grouped_by_who_considers_them_in_sync():
    results = Results("m", [row(name, name, "model", 0.5) for name in "abc"])
    results.facts = {"a": {"sync": "ok", "sync_check": "ok"}, "b": {"sync": "ok"}, "c": {}}
    groups = results.groups()
    assert groups == {"all clips": set("abc"), "manifest: ok": set("ab"), "sync check: ok": {"a"}}


def test_amounts_of_footage_are_means_over_the_clips_that_have_them():
    results = Results("m", points=[point("a", 0, 0.4), point("b", 0, 0.6), point("a", 15, 0.7)])
    means = results.finetune_means()
    assert means[0]["aperture_corr"].value == pytest.approx(0.5)
    assert (means[15]["aperture_corr"].value, means[15]["aperture_corr"].windows) == (0.7, 1)


def test_a_clip_that_could_not_be_rendered_is_named_with_the_reason():
    results = Results("m")
    results.add("x.mp4", ClipResult([], {"not_rendered": "no face"}, [point("x.mp4", 0, 0.4)]))
    assert results.skipped == {"x.mp4": "no face"} and len(results.points) == 1


def test_table_orders_methods_and_shows_gaps_as_dashes():
    rows = [row("a", "a", "static mouth", float("nan")), row("a", "a", "model", 0.61, 0.08)]
    rows.append(row("a", "a", "real video", 1.0))
    text = table.to_markdown(Results("m", rows, skipped={"x.mp4": "2 s is short"}))
    assert text.index("real video") < text.index("| model") < text.index("static mouth")
    assert "0.61 ± 0.08" in text and "–" in text and "x.mp4: 2 s is short" in text


def test_metrics_keep_the_order_of_the_table():
    measures = {key: Measure(1.0) for key in ("lmd", "aperture_corr")}
    assert metrics_of([Row("a", "a", "model", "own", measures)]) == ["aperture_corr", "lmd"]
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)


@pytest.mark.slow
def test_results_are_saved_as_csv_markdown_and_figures(tmp_path):
    results = Results(
        "m", [row("clip,1.mp4", "a", m, v) for m, v in [("model", 0.5), ("real video", 1)]]
    )
    params, settings = Params(), EvaluateSettings()
    paths = record.save(results, tmp_path / "deep" / "er", params, settings)
    names = ["table.csv", "table.md", "figure.png", "evaluation.json"]
    assert [p.name for p in paths] == names
    with paths[0].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines[0]["clip"] == "clip,1.mp4" and float(lines[0]["aperture_corr"]) == 0.5
    assert cv2.imread(str(paths[2])).shape[1] > 400

    results.points = [point("a", 0, 0.4), point("b", 0, 0.6), point("a", 15, 0.7)]
    paths = record.save(results, tmp_path, params, settings)
    assert [p.name for p in paths[3:5]] == ["finetune.csv", "finetune.png"]
    with paths[3].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["footage s"] for line in lines] == ["0", "0", "15"]
    assert cv2.imread(str(paths[4])).shape[1] > 400


@pytest.mark.fault
@pytest.mark.slow
def test_tables_of_the_user_are_never_replaced(tmp_path):
    results = Results("m", [row("clip.mp4", "a", m, v) for m, v in [("model", 0.5), ("real", 1)]])
    params, settings = Params(), EvaluateSettings()
    (tmp_path / "table.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"table\.csv is there already.*--overwrite"):
        record.check_folder(tmp_path, params)
    with pytest.raises(OutputError):
        record.save(results, tmp_path, params, settings)
    assert (tmp_path / "table.csv").read_text() == "mine"
    record.save(results, tmp_path, params.override({"inputs.overwrite": True}), settings)
    assert (tmp_path / "table.csv").read_text() != "mine"
    record.check_folder(tmp_path, params)
    record.save(results, tmp_path, params, settings)  # its own, from a moment ago
