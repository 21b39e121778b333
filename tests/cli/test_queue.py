"""heygem queue, worker and batch."""

import json

import pytest
from helpers.workers import MAKE, TESTS
from typer.testing import CliRunner

from heygem.batch.queue import JobQueue
from heygem.batch.results import batch_files
from heygem.batch.workers import worker as worker_module
from heygem.cli.main import app


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """The queue of the commands, in a folder with two videos' names and a sound's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEYGEM_QUEUE", str(tmp_path / "queue.db"))
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    for name in ("anna.mp4", "bad.mp4", "a.wav"):
        (tmp_path / name).write_bytes(name.encode())
    return JobQueue()


def run(*arguments, code=0):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output + str(result.exception)
    return result.output


ADD = ("queue", "add", "--video", "anna.mp4", "--video", "bad.mp4", "--audio", "a.wav")


@pytest.mark.slow
def test_jobs_are_added_listed_and_changed(queue):
    output = run(*ADD, "--out", "made", "--priority", "3", "--batch", "night")
    assert "made/anna-a.mp4" in output and "start heygem worker" in output
    assert "warning" not in output
    first, second = queue.jobs()
    assert first.priority == 3 and queue.get(first.id).params["inputs"]["audio"].endswith("/a.wav")
    assert "pending" in run("queue", "list") and "2 pending; 0 workers" in run("queue", "list")
    (line,) = run("queue", "list", "--json", "--limit", "1", "--page", "2").splitlines()
    assert json.loads(line)["id"] == second.id
    assert "1 cancelled" in run("queue", "cancel", first.id)
    assert "0 cancelled" in run("queue", "cancel", first.id)
    assert "0 in the queue again" in run("queue", "retry", second.id)
    assert "1 cancelled" in run("queue", "cancel", "--batch", "night")
    assert "2 in the queue again" in run("queue", "retry", "--cancelled")
    run("queue", "pause", "--reason", "holiday")
    assert "paused: holiday" in run("queue", "list")
    assert "resumed" in run("queue", "resume") and "was not paused" in run("queue", "resume")
    run("queue", "cancel", "--all")
    assert "2 removed" in run("queue", "clear") and queue.jobs() == []
    output = run("queue", "add", "--video", "ana.mp4", "--audio", "a.wav", "--out", "made")
    assert "warning: ana.mp4 is not there now" in output


def test_mistakes_are_told_in_one_line(queue):
    for arguments in (
        ("queue", "cancel"),
        ("queue", "cancel", "nobody"),
        ("queue", "list", "--state", "lost"),
        ("queue", "add", "--video", "anna.mp4"),
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code != 0 and "\n" not in str(result.exception), arguments
    assert queue.jobs() == []


@pytest.mark.slow
def test_a_worker_makes_the_queue_and_watching_ends_with_it(queue, monkeypatch):
    monkeypatch.setattr(worker_module.Worker.__init__, "__kwdefaults__", _with_fast_make())
    run(*ADD, "--out", "made")
    run("worker", "--count", "2", "--until-empty")
    assert [job.state for job in queue.jobs()] == ["done", "failed"]
    assert "1 done, 1 failed" in run("queue", "watch")
    listed = run("queue", "list", "--state", "failed")
    assert "NO_FACE: no face" in listed and "anna" not in listed


@pytest.mark.slow
def test_a_batch_is_added_made_and_reported_and_repeated_without_work(queue, monkeypatch):
    monkeypatch.setattr(worker_module.Worker.__init__, "__kwdefaults__", _with_fast_make())
    written = []
    monkeypatch.setattr(
        batch_files,
        "write",
        lambda report, *_, **__: written.append(report) or batch_files.BatchFiles(),
    )
    (queue.path.parent / "night.yaml").write_text(
        "inputs: {videos: [anna.mp4, bad.mp4], audio: a.wav, output: made}\n"
        "mlflow: {enabled: false}\n"
    )
    output = run("batch", "night.yaml", code=2)
    assert "made/anna-a.mp4" in output and "no face" in output
    assert [outcome.status for outcome in written[0].outcomes] == ["done", "failed"]
    assert {job.batch for job in queue.jobs()} == {"night"}
    run("batch", "night.yaml", code=2)
    assert [outcome.status for outcome in written[1].outcomes] == ["skipped", "failed"]


def _with_fast_make():
    defaults = dict(worker_module.Worker.__init__.__kwdefaults__)
    return defaults | {"make": MAKE}


@pytest.mark.parametrize(
    "options, message",
    [
        (("--cluster", "slurm"), "--cluster ray"),
        (("--lang", "fr"), "no such language"),
        (("--address", "10.0.0.1:6379"), "add --cluster ray"),
        (("--cluster", "ray", "--address", "10.0.0.1:6379", "--count", "3"), "start nodes with"),
    ],
)
def test_options_of_a_cluster_are_checked_before_anything_is_queued(queue, options, message):
    pytest.importorskip("ray")
    (queue.path.parent / "night.yaml").write_text("inputs: {videos: [anna.mp4], audio: a.wav}\n")
    result = CliRunner().invoke(app, ["batch", "night.yaml", *options])
    assert result.exit_code and message in str(result.exception)
    assert queue.jobs() == []


@pytest.mark.parametrize(
    "inputs, options, message",
    [
        ("{videos: ['s3://b/*.mp4'], audio: a.wav}", (), "addresses of stores are for a cluster"),
        ("{videos: [a.mp4], audio: a.wav, output: 's3://b/o'}", (), "add --cluster ray"),
        (
            "{videos: [a.mp4], audio: a.wav, output: 's3://b/o'}",
            ("--zip", "--cluster", "ray"),
            "leave out --zip",
        ),
    ],
)
def test_addresses_of_stores_need_a_cluster_and_no_zip(queue, inputs, options, message):
    pytest.importorskip("ray")
    (queue.path.parent / "night.yaml").write_text(f"inputs: {inputs}\n")
    result = CliRunner().invoke(app, ["batch", "night.yaml", *options])
    assert result.exit_code and message in str(result.exception)
    assert queue.jobs() == []


def test_a_cluster_without_ray_says_what_to_install(queue, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (queue.path.parent / "night.yaml").write_text("inputs: {videos: [anna.mp4], audio: a.wav}\n")
    result = CliRunner().invoke(app, ["batch", "night.yaml", "--cluster", "ray"])
    assert "heygem[cluster]" in str(result.exception)
    assert queue.jobs() == []
