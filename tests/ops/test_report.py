"""The report of a day: what is counted, how it is shown, and where it is stored."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from heygem.config.params import Params
from heygem.ops import report, work

DAY = timedelta(days=1)


def summary_of(queue, **more):
    until = datetime.now(UTC) + timedelta(seconds=1)
    since = until - DAY
    items = work.queue_items(queue, since=since.timestamp(), until=until.timestamp())
    return report.summarize(items, since=since, until=until, queue=queue, **more)


def test_items_are_counted_and_timed(queue, night):
    summary = summary_of(queue)
    assert (summary.made, summary.already_there, summary.failed) == (20, 1, 2)
    assert (summary.pending, summary.running) == (2, 0)
    assert summary.success_rate == pytest.approx(20 / 22)
    assert summary.mean_s == pytest.approx(10.5) and summary.p95_s == 19
    assert summary.real_time_factor == pytest.approx(sum(range(1, 21)) / (20 * 10))
    assert summary.stages == {"track": pytest.approx(2.625), "render": pytest.approx(5.25)}
    (failure,) = summary.failures
    assert (failure.code, failure.count) == ("NO_FACE", 2)
    assert [item.seconds for item in summary.slowest] == [20, 19, 18, 17, 16]


def test_hours_on_a_gpu_are_those_of_items_whose_manifest_says_cuda(queue, add, work_off, tmp_path):
    add("a", "b")
    for device in ("cuda:0", "cpu"):
        job = work_off(1800.0)
        folder = tmp_path / "out" / "details" / job.name
        folder.mkdir(parents=True)
        content = {"device": device, "output": {"duration_s": 900.0}}
        (folder / "manifest.json").write_text(json.dumps(content))
    summary = summary_of(queue)
    assert (summary.gpu_hours, summary.cpu_hours) == (0.5, 0.5)
    assert summary.real_time_factor == 2


def test_only_what_was_finished_in_the_time_counts(queue, night):
    earlier = work.queue_items(queue, since=0, until=time.time() - 3600)
    assert earlier == [] and len(work.queue_items(queue)) == 23


def test_items_made_past_the_queue_are_read_from_their_manifests(tmp_path, queue, night):
    details = tmp_path / "results" / "details" / "carl"
    details.mkdir(parents=True)
    content = {
        "name": "carl", "status": "done", "finished": "2026-11-21T02:00:00+00:00",
        "output": {"file": "../../carl.mp4", "duration_s": 4.0}, "device": "cpu",
        "timings": {"render_s": 6.0}, "warnings": ["dark"],
    }  # fmt: skip
    (details / "manifest.json").write_text(json.dumps(content))
    begun = tmp_path / "results" / "details" / "dora"
    begun.mkdir()
    (begun / "manifest.json").write_text('{"schema": 1, "id": "x", "status": "begun"}')
    (item,) = work.folder_items([tmp_path / "results"])
    assert (item.seconds, item.length_s, item.warnings) == (6.0, 4.0, 1)
    assert item.output == str(tmp_path / "results" / "carl.mp4")
    assert len(work.together(work.queue_items(queue), [item])) == 24
    assert len(work.together([item], [item])) == 1


def test_a_night_without_work_gives_a_report_without_numbers(home):
    summary = report.summarize([], since=datetime.now(UTC) - DAY, until=datetime.now(UTC))
    assert "success rate | – %" in report.to_markdown(summary)
    assert summary.metrics()["made"] == 0 and "mean_s" not in summary.metrics()


def test_names_and_messages_cannot_break_the_page(queue, night):
    summary = summary_of(queue)
    assert "&lt;b&gt;was&lt;/b&gt;" in report.to_html(summary)
    assert r"no face \<b>was\</b> found \| anywhere" in report.to_markdown(summary)


def test_it_is_saved_as_html_markdown_and_json_and_replaced(queue, night, tmp_path):
    paths = report.save(summary_of(queue), tmp_path / "reports")
    assert [path.suffix for path in paths] == [".html", ".md", ".json"]
    assert json.loads(paths[2].read_text())["made"] == 20
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths)
    assert report.save(summary_of(queue), tmp_path / "reports") == paths


@pytest.mark.slow
def test_it_is_recorded_as_a_run(queue, night, tmp_path):
    from heygem.experiments import store

    params = Params.from_dict({"mlflow": {"folder": str(tmp_path / "mlruns")}})
    run_id = report.record(summary_of(queue), params)
    client = store.open_client(tmp_path / "mlruns")
    run = client.get_run(run_id)
    assert run.data.metrics["made"] == 20 and run.data.metrics["failed_NO_FACE"] == 2
    names = {artifact.path.rpartition(".")[2] for artifact in client.list_artifacts(run_id)}
    assert names == {"html", "md", "json"}


@pytest.mark.parametrize("percent, expected", [(0, 1), (50, 2), (95, 4), (100, 4)])
def test_a_percentile_is_one_of_the_values(percent, expected):
    assert report.percentile([1, 2, 3, 4], percent) == expected
