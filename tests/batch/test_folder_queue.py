"""The job queue and its worker process, which outlive the page that started them."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from heygem.batch.folder_queue import JobQueue
from heygem.batch.folder_worker import MAX_CRASHES, ModelCache, Worker
from heygem.batch.outcome import Outcome
from heygem.batch.runner import Report
from heygem.config import pairs
from heygem.config.params import Params
from heygem.core.errors import InputError, ParameterError


@pytest.fixture
def queue(tmp_path):
    return JobQueue(tmp_path / "queue")


def fill(queue, *names):
    return [queue.add(f"{name}.mp4", "a.wav", Params()) for name in names]


def states(queue):
    return {Path(job.video).stem: job.state for job in queue.jobs()}


def wait_until(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def outcome(params, status="done", **more):
    video = Path(params.inputs.videos[0])
    return Outcome(video.stem, video, status, output=video.with_suffix(".out.mp4"), **more)


def test_jobs_are_made_in_order_and_one_failure_does_not_stop_the_others(queue):
    fill(queue, "a", "bad", "c")
    names = []

    def make(params, progress, cancel):
        name = Path(params.inputs.videos[0]).stem
        names.append(name)
        if name == "bad":
            return outcome(params, "failed", error="no face found in bad.mp4")
        return outcome(params, warnings=("soft",))

    Worker(queue, make, idle_s=0).run()
    assert names == ["a", "bad", "c"]
    assert states(queue) == {"a": "done", "bad": "failed", "c": "done"}
    jobs = queue.jobs()
    assert jobs[1].error == "no face found in bad.mp4" and jobs[0].warnings == ("soft",)


def test_another_page_shows_the_same_queue(queue):
    fill(queue, "a", "b")
    assert [job.video for job in JobQueue(queue.folder).jobs()] == ["a.mp4", "b.mp4"]


def test_an_unexpected_error_fails_one_job_with_a_one_line_message(queue):
    fill(queue, "a", "b")

    def make(params, progress, cancel):
        if params.inputs.videos[0] == "a.mp4":
            raise RuntimeError("line one\nline two")
        return outcome(params)

    Worker(queue, make, idle_s=0).run()
    assert states(queue) == {"a": "failed", "b": "done"}
    assert queue.jobs()[0].error == "line one line two"


def test_order_can_be_changed_while_waiting(queue):
    a, b, c = fill(queue, "a", "b", "c")
    queue.move(c.id, -2)
    queue.move(a.id, 1)
    assert [Path(job.video).stem for job in queue.jobs()] == ["c", "b", "a"]
    queue.move(c.id, -5)
    assert [Path(job.video).stem for job in queue.jobs()] == ["c", "b", "a"]
    queue.place(a.id, b.id)
    assert [Path(job.video).stem for job in queue.jobs()] == ["c", "a", "b"]
    queue.place(c.id, None)
    assert [Path(job.video).stem for job in queue.jobs()] == ["a", "b", "c"]
    queue.place(b.id, b.id)  # dropped where it was
    queue.place("nobody", a.id)
    assert [Path(job.video).stem for job in queue.jobs()] == ["a", "b", "c"]


def test_cancelling_the_running_job_starts_the_next(queue):
    a, _ = fill(queue, "a", "b")
    started = threading.Event()

    def make(params, progress, cancel):
        if params.inputs.videos[0] == "a.mp4":
            started.set()
            assert cancel.wait(60)
            return outcome(params, "cancelled")
        return outcome(params)

    thread = threading.Thread(target=Worker(queue, make, idle_s=0).run)
    thread.start()
    assert started.wait(60)
    queue.cancel(a.id)
    thread.join(60)
    assert states(queue) == {"a": "cancelled", "b": "done"}


@pytest.mark.slow
def test_a_step_that_ignores_cancel_is_ended_with_its_process_and_the_next_job_is_made(queue):
    a, b = queue.add_all(
        pairs.check([{"video": f"{name}.mp4", "audio": "absent.wav"} for name in "ab"]), Params()
    )
    code = (
        "import sys, time\n"
        "from heygem.batch.folder_queue import JobQueue\n"
        "from heygem.batch.folder_worker import Worker\n"
        "Worker(JobQueue(sys.argv[1]), lambda *_: time.sleep(600), own_process=True).run()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(queue.folder)])
    wait_until(lambda: states(queue)["a"] == "running")
    queue.cancel(a.id)
    wait_until(lambda: states(queue)["a"] == "cancelled")
    assert process.wait(60) == 0
    wait_until(lambda: states(queue)["b"] == "failed")
    assert "absent.wav" in queue.jobs()[1].error, "made by the process that replaced it"
    queue.release_worker()
    wait_until(lambda: not queue.worker_running())


def test_cancelling_all_leaves_finished_ones(queue):
    fill(queue, "a")
    Worker(queue, lambda params, progress, cancel: outcome(params), idle_s=0).run()
    fill(queue, "b", "c")
    queue.cancel_all()
    assert states(queue) == {"a": "done", "b": "cancelled", "c": "cancelled"}


def test_failed_jobs_can_be_retried(queue):
    fill(queue, "a", "b")
    tries = []

    def make(params, progress, cancel):
        tries.append(params.inputs.videos[0])
        late = len(tries) > 2
        return outcome(params) if late else outcome(params, "failed", error="disk full")

    Worker(queue, make, idle_s=0).run()
    queue.retry_failed()
    assert all(job.error == "" for job in queue.jobs())
    Worker(queue, make, idle_s=0).run()
    assert states(queue) == {"a": "done", "b": "done"}


@pytest.mark.slow
def test_a_job_interrupted_by_a_crash_is_made_again(queue):
    (a,) = fill(queue, "a")

    class Killed(BaseException):
        pass

    def dies(params, progress, cancel):
        raise Killed

    with pytest.raises(Killed):
        Worker(queue, dies, idle_s=0).run()
    assert not queue.is_working() and states(queue) == {"a": "waiting"}
    Worker(queue, lambda params, progress, cancel: outcome(params), idle_s=0).run()
    assert states(queue) == {"a": "done"}


@pytest.mark.slow
def test_only_one_worker_processes_a_queue(queue):
    fill(queue, "a")
    started, go, calls = threading.Event(), threading.Event(), []

    def make(params, progress, cancel):
        started.set()
        go.wait(60)
        calls.append(1)
        return outcome(params)

    thread = threading.Thread(target=Worker(queue, make, idle_s=0).run)
    thread.start()
    assert started.wait(60) and queue.is_working()
    Worker(queue, make, idle_s=0).run()  # returns at once
    go.set()
    thread.join(60)
    assert calls == [1] and not queue.is_working()


def test_a_job_that_keeps_crashing_the_worker_fails_and_the_others_are_made(queue):
    fill(queue, "bad", "good")

    class Killed(BaseException):
        pass

    def make(params, progress, cancel):
        if params.inputs.videos[0] == "bad.mp4":
            raise Killed
        return outcome(params)

    for _ in range(MAX_CRASHES):
        with pytest.raises(Killed):
            Worker(queue, make, idle_s=0).run()
        assert queue.start_requested(), "the queue is still to be processed"
    Worker(queue, make, idle_s=0).run()
    assert states(queue) == {"bad": "failed", "good": "done"}
    bad = queue.jobs()[0]
    assert "memory" in bad.error and not queue.start_requested()
    queue.retry(bad.id)
    assert queue.jobs()[0].deaths == 0


@pytest.mark.slow
def test_an_idle_worker_takes_the_next_job_and_exits_when_released(queue):
    (a,) = fill(queue, "a")
    workers = []

    def make(params, progress, cancel):
        workers.append(threading.get_ident())
        return outcome(params)

    thread = threading.Thread(target=Worker(queue, make, idle_s=600).run)
    thread.start()
    wait_until(lambda: states(queue) == {"a": "done"} and not queue.start_requested())
    assert queue.worker_running() and not queue.is_working()
    fill(queue, "b")
    time.sleep(0.5)
    assert states(queue)["b"] == "waiting", "start was not called"
    queue.start()
    wait_until(lambda: states(queue)["b"] == "done")
    queue.release_worker()
    thread.join(60)
    assert not thread.is_alive() and not queue.worker_running()
    assert workers == [workers[0]] * 2


def test_the_worker_exits_when_its_folder_is_deleted(queue):
    fill(queue, "a")
    produce = lambda params, progress, cancel: outcome(params)  # noqa: E731
    thread = threading.Thread(target=Worker(queue, produce, idle_s=600).run)
    thread.start()
    wait_until(lambda: states(queue) == {"a": "done"} and not queue.start_requested())
    shutil.rmtree(queue.folder)
    thread.join(60)
    assert not thread.is_alive() and not queue.folder.exists()


def test_a_page_that_polls_does_not_prevent_a_worker_from_starting(queue, monkeypatch):
    fill(queue, "a")
    stop = threading.Event()

    def look():
        while not stop.is_set():
            queue.worker_running()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        Worker(queue, lambda params, progress, cancel: outcome(params), idle_s=0).run()
    finally:
        stop.set()
        watcher.join()
    assert states(queue) == {"a": "done"}


def test_progress_of_the_running_job_is_visible_to_other_processes(queue):
    fill(queue, "a")
    jobs = []

    def make(params, progress, cancel):
        progress("a", 0, 1, "render", 30, 60)
        jobs.extend(JobQueue(queue.folder).jobs())
        return outcome(params)

    Worker(queue, make, idle_s=0).run()
    assert jobs[0].state == "running"
    assert (jobs[0].progress["stage"], jobs[0].progress["done"]) == ("render", 30)
    assert queue.jobs()[0].progress == {}


def test_a_job_without_files_or_with_an_unknown_id_is_refused(queue):
    with pytest.raises(InputError, match="needs a video and a sound"):
        queue.add("", "a.wav", Params())
    with pytest.raises(InputError, match="no such job"):
        queue.cancel("nobody")


def test_files_of_the_same_name_do_not_overwrite_each_other(queue):
    jobs = [queue.add(f"{folder}/anna.mp4", "a.wav", Params()) for folder in ("x", "y")]
    again = queue.add("x/anna.mp4", "a.wav", Params())
    outputs = [Params.from_dict(job.params).inputs.output for job in [*jobs, again]]
    assert outputs[0] != outputs[1]


def test_a_table_is_added_completely_or_not_at_all(queue):
    rows = [
        {"video": "anna.mp4", "audio": "a.wav", "lips.openness_gain": 1.3},
        {"video": "anna.mp4", "text": "Good evening.", "name": "evening"},
    ]
    first, second = queue.add_all(pairs.check(rows), Params())
    recipe = Params.from_dict(first.params)
    assert recipe.lips.openness_gain == 1.3 and recipe.inputs.audio == "a.wav"
    assert second.name == "evening" and second.spoken == "“Good evening.”"
    assert Params.from_dict(second.params).inputs.pairs[0].text == "Good evening."
    with pytest.raises(ParameterError, match="openness_gain"):
        queue.add_all(pairs.check([rows[1], rows[0] | {"lips.openness_gain": 9}]), Params())
    assert len(queue.jobs()) == 2


class Counting:
    """Models that count how often they were loaded and freed."""

    instances = []

    def __init__(self, params):
        self.instances.append(self)
        self.forgot = 0

    def forget_audio(self):
        self.forgot += 1


def test_models_are_kept_between_jobs_and_audio_while_it_is_the_same(tmp_path, monkeypatch):
    models_used, status = [], ["done"]

    def run(params, *, progress, cancel, models):
        models_used.append(models)
        result = outcome(params, status[0])
        return Report(tmp_path, (result,), 0.1)

    monkeypatch.setattr(Counting, "instances", [])
    monkeypatch.setattr("heygem.pipeline.load_models", Counting)
    monkeypatch.setattr("heygem.batch.runner.run", run)
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"x")

    def recipe(sound, **more):
        inputs = {"videos": ["v.mp4"], "audio": str(tmp_path / sound)}
        return Params.from_dict({"inputs": inputs, **more})

    make, no_progress = ModelCache(), lambda *_: None
    for sound in ("a.wav", "a.wav", "b.wav"):
        make(recipe(sound), no_progress, threading.Event())
    assert len(Counting.instances) == 1 and models_used == Counting.instances * 3
    assert Counting.instances[0].forgot == 2, "once for each audio file"
    (tmp_path / "b.wav").write_bytes(b"other audio under the same name")
    make(recipe("b.wav"), no_progress, threading.Event())
    assert Counting.instances[0].forgot == 3
    make(recipe("b.wav", face={"max_turn_deg": 20}), no_progress, threading.Event())
    assert len(Counting.instances) == 2, "other face settings, other models"
    status[0] = "failed"  # without a known cause: the models are not kept
    make(recipe("b.wav", face={"max_turn_deg": 20}), no_progress, threading.Event())
    make(recipe("b.wav", face={"max_turn_deg": 20}), no_progress, threading.Event())
    assert len(Counting.instances) == 3


def test_damaged_files_in_the_folder_are_ignored(queue):
    fill(queue, "a")
    (queue.folder / "x.job").write_text("{half")
    (queue.folder / "y.job").write_text('{"id": "y"}')
    assert list(states(queue)) == ["a"]


@pytest.mark.slow
def test_the_worker_process_started_by_a_page_makes_jobs_and_reports_errors(queue, tmp_path):
    params = Params.from_dict({"inputs": {"output": str(tmp_path / "out")},
                               "mlflow": {"enabled": False}})  # fmt: skip
    queue.add(tmp_path / "absent.mp4", tmp_path / "absent.wav", params)
    queue.start()
    wait_until(lambda: states(queue) == {"absent": "failed"})
    (job,) = queue.jobs()
    assert job.state == "failed" and "no such file" in job.error
    assert queue.worker_pid() not in (None, os.getpid()), "it is idle"
    queue.release_worker()
    wait_until(lambda: not queue.worker_running())
    assert queue.worker_pid() is None
