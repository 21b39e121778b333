"""A line of videos that outlives the page it was started from."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from heygem.batch.queue import JobQueue
from heygem.batch.runner import Outcome, Report
from heygem.batch.worker import MAX_DEATHS, ModelCache, Worker
from heygem.config import pairs
from heygem.config.params import Params
from heygem.core.errors import InputError, ParameterError


@pytest.fixture
def board(tmp_path):
    return JobQueue(tmp_path / "line")


def fill(board, *names):
    return [board.add(f"{name}.mp4", "a.wav", Params()) for name in names]


def states(board):
    return {Path(job.video).stem: job.state for job in board.jobs()}


def until(true, seconds=10):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def outcome(params, status="done", **more):
    video = Path(params.inputs.videos[0])
    return Outcome(video.stem, video, status, output=video.with_suffix(".out.mp4"), **more)


def test_jobs_are_made_in_order_and_one_failure_is_its_own(board):
    fill(board, "a", "bad", "c")
    made = []

    def make(params, progress, cancel):
        name = Path(params.inputs.videos[0]).stem
        made.append(name)
        if name == "bad":
            return outcome(params, "failed", error="no face found in bad.mp4")
        return outcome(params, warnings=("soft",))

    Worker(board, make, idle_s=0).run()
    assert made == ["a", "bad", "c"]
    assert states(board) == {"a": "done", "bad": "failed", "c": "done"}
    jobs = board.jobs()
    assert jobs[1].error == "no face found in bad.mp4" and jobs[0].warnings == ("soft",)


def test_another_page_finds_the_same_line(board):
    fill(board, "a", "b")
    assert [job.video for job in JobQueue(board.folder).jobs()] == ["a.mp4", "b.mp4"]


def test_an_unforeseen_error_fails_one_job_in_one_line(board):
    fill(board, "a", "b")

    def make(params, progress, cancel):
        if params.inputs.videos[0] == "a.mp4":
            raise RuntimeError("line one\nline two")
        return outcome(params)

    Worker(board, make, idle_s=0).run()
    assert states(board) == {"a": "failed", "b": "done"}
    assert board.jobs()[0].error == "line one line two"


def test_order_can_be_changed_while_waiting(board):
    a, b, c = fill(board, "a", "b", "c")
    board.move(c.id, -2)
    board.move(a.id, 1)
    assert [Path(job.video).stem for job in board.jobs()] == ["c", "b", "a"]
    board.move(c.id, -5)
    assert [Path(job.video).stem for job in board.jobs()] == ["c", "b", "a"]
    board.place(a.id, b.id)
    assert [Path(job.video).stem for job in board.jobs()] == ["c", "a", "b"]
    board.place(c.id, None)
    assert [Path(job.video).stem for job in board.jobs()] == ["a", "b", "c"]
    board.place(b.id, b.id)  # dropped where it was
    board.place("nobody", a.id)
    assert [Path(job.video).stem for job in board.jobs()] == ["a", "b", "c"]


def test_one_running_job_is_stopped_within_a_second_and_the_next_is_made(board):
    a, _ = fill(board, "a", "b")
    began = threading.Event()

    def make(params, progress, cancel):
        if params.inputs.videos[0] == "a.mp4":
            began.set()
            assert cancel.wait(10)
            return outcome(params, "cancelled")
        return outcome(params)

    thread = threading.Thread(target=Worker(board, make, idle_s=0).run)
    thread.start()
    assert began.wait(5)
    asked = time.monotonic()
    board.cancel(a.id)
    thread.join(10)
    assert time.monotonic() - asked < 1.5
    assert states(board) == {"a": "cancelled", "b": "done"}


def test_a_step_that_does_not_stop_is_ended_with_its_process_and_the_next_job_is_made(board):
    a, b = board.add_all(
        pairs.check([{"video": f"{name}.mp4", "audio": "absent.wav"} for name in "ab"]), Params()
    )
    deaf = (
        "import sys, time; from heygem.batch.queue import Board; from heygem.batch.worker import Workshop\n"
        "Workshop(Board(sys.argv[1]), lambda *_: time.sleep(60), own_process=True).run()"
    )
    process = subprocess.Popen([sys.executable, "-c", deaf, str(board.folder)])
    until(lambda: states(board)["a"] == "running", seconds=60)
    asked = time.monotonic()
    board.cancel(a.id)
    until(lambda: states(board)["a"] == "cancelled")
    assert time.monotonic() - asked < 2
    assert process.wait(10) == 0
    until(lambda: states(board)["b"] == "failed", seconds=60)
    assert "absent.wav" in board.jobs()[1].error, "by the process that came after"
    board.dismiss()
    until(lambda: not board.attended())


def test_cancelling_all_leaves_finished_ones(board):
    fill(board, "a")
    Worker(board, lambda params, progress, cancel: outcome(params), idle_s=0).run()
    fill(board, "b", "c")
    board.cancel_all()
    assert states(board) == {"a": "done", "b": "cancelled", "c": "cancelled"}


def test_failed_jobs_can_be_tried_again(board):
    fill(board, "a", "b")
    tries = []

    def make(params, progress, cancel):
        tries.append(params.inputs.videos[0])
        late = len(tries) > 2
        return outcome(params) if late else outcome(params, "failed", error="disk full")

    Worker(board, make, idle_s=0).run()
    board.retry_failed()
    assert all(job.error == "" for job in board.jobs())
    Worker(board, make, idle_s=0).run()
    assert states(board) == {"a": "done", "b": "done"}


def test_what_a_dead_process_left_running_is_made_anew(board):
    (a,) = fill(board, "a")

    class Killed(BaseException):
        pass

    def dies(params, progress, cancel):
        raise Killed

    with pytest.raises(Killed):
        Worker(board, dies, idle_s=0).run()
    assert not board.working() and states(board) == {"a": "waiting"}
    Worker(board, lambda params, progress, cancel: outcome(params), idle_s=0).run()
    assert states(board) == {"a": "done"}


def test_only_one_process_works_on_a_line(board):
    fill(board, "a")
    began, go, made = threading.Event(), threading.Event(), []

    def make(params, progress, cancel):
        began.set()
        go.wait(10)
        made.append(1)
        return outcome(params)

    thread = threading.Thread(target=Worker(board, make, idle_s=0).run)
    thread.start()
    assert began.wait(5) and board.working()
    Worker(board, make, idle_s=0).run()  # returns at once
    go.set()
    thread.join(10)
    assert made == [1] and not board.working()


def test_a_job_that_takes_the_process_along_is_left_out_and_the_others_are_made(board):
    fill(board, "bad", "good")

    class Killed(BaseException):
        pass

    def make(params, progress, cancel):
        if params.inputs.videos[0] == "bad.mp4":
            raise Killed
        return outcome(params)

    for _ in range(MAX_DEATHS):
        with pytest.raises(Killed):
            Worker(board, make, idle_s=0).run()
        assert board.called(), "the line still wants to be worked on"
    Worker(board, make, idle_s=0).run()
    assert states(board) == {"bad": "failed", "good": "done"}
    bad = board.jobs()[0]
    assert "memory" in bad.error and not board.called()
    board.retry(bad.id)
    assert board.jobs()[0].deaths == 0


def test_the_process_stays_for_the_next_job_but_not_for_ever(board):
    (a,) = fill(board, "a")
    workers = []

    def make(params, progress, cancel):
        workers.append(threading.get_ident())
        return outcome(params)

    thread = threading.Thread(target=Worker(board, make, idle_s=1.5).run)
    thread.start()
    until(lambda: states(board) == {"a": "done"} and not board.called())
    assert board.attended() and not board.working()
    fill(board, "b")
    time.sleep(0.5)
    assert states(board)["b"] == "waiting", "nobody has said start"
    board.start()
    until(lambda: states(board)["b"] == "done")
    thread.join(10)
    assert not thread.is_alive() and not board.attended()
    assert workers == [workers[0]] * 2


def test_the_process_ends_with_its_folder(board):
    fill(board, "a")
    made = lambda params, progress, cancel: outcome(params)  # noqa: E731
    thread = threading.Thread(target=Worker(board, made, idle_s=60).run)
    thread.start()
    until(lambda: states(board) == {"a": "done"} and not board.called())
    shutil.rmtree(board.folder)
    thread.join(5)
    assert not thread.is_alive() and not board.folder.exists()


def test_a_page_that_looks_does_not_keep_the_process_from_starting(board, monkeypatch):
    fill(board, "a")
    stop = threading.Event()

    def look():
        while not stop.is_set():
            board.attended()

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        Worker(board, lambda params, progress, cancel: outcome(params), idle_s=0).run()
    finally:
        stop.set()
        watcher.join()
    assert states(board) == {"a": "done"}


def test_progress_of_the_running_job_is_seen_from_outside(board):
    fill(board, "a")
    seen = []

    def make(params, progress, cancel):
        progress("a", 0, 1, "render", 30, 60)
        seen.extend(JobQueue(board.folder).jobs())
        return outcome(params)

    Worker(board, make, idle_s=0).run()
    assert seen[0].state == "running"
    assert (seen[0].progress["stage"], seen[0].progress["done"]) == ("render", 30)
    assert board.jobs()[0].progress == {}


def test_a_job_without_files_or_with_an_unknown_id_is_refused(board):
    with pytest.raises(InputError, match="needs a video and a sound"):
        board.add("", "a.wav", Params())
    with pytest.raises(InputError, match="no such job"):
        board.cancel("nobody")


def test_files_of_the_same_name_do_not_overwrite_each_other(board):
    jobs = [board.add(f"{folder}/anna.mp4", "a.wav", Params()) for folder in ("x", "y")]
    again = board.add("x/anna.mp4", "a.wav", Params())
    outputs = [Params.from_dict(job.params).inputs.output for job in [*jobs, again]]
    assert outputs[0] != outputs[1]


def test_a_table_is_added_whole_or_not_at_all(board):
    rows = [
        {"video": "anna.mp4", "audio": "a.wav", "lips.openness_gain": 1.3},
        {"video": "anna.mp4", "text": "Good evening.", "name": "evening"},
    ]
    first, second = board.add_all(pairs.check(rows), Params())
    recipe = Params.from_dict(first.params)
    assert recipe.lips.openness_gain == 1.3 and recipe.inputs.audio == "a.wav"
    assert second.name == "evening" and second.spoken == "“Good evening.”"
    assert Params.from_dict(second.params).inputs.pairs[0].text == "Good evening."
    with pytest.raises(ParameterError, match="openness_gain"):
        board.add_all(pairs.check([rows[1], rows[0] | {"lips.openness_gain": 9}]), Params())
    assert len(board.jobs()) == 2


class Counting:
    """Models that know how often they were loaded, and what they were told."""

    made = []

    def __init__(self, params):
        self.made.append(self)
        self.forgot = 0

    def forget(self):
        self.forgot += 1


def test_models_stay_from_job_to_job_and_sounds_as_long_as_they_are_the_same(tmp_path, monkeypatch):
    given, status = [], ["done"]

    def run(params, *, progress, cancel, models):
        given.append(models)
        made = outcome(params, status[0])
        return Report(tmp_path, (made,), 0.1)

    monkeypatch.setattr(Counting, "made", [])
    monkeypatch.setattr("heygem.pipeline.load_models", Counting)
    monkeypatch.setattr("heygem.batch.runner.run", run)
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"x")

    def recipe(sound, **more):
        inputs = {"videos": ["v.mp4"], "audio": str(tmp_path / sound)}
        return Params.from_dict({"inputs": inputs, **more})

    make, quiet = ModelCache(), lambda *told: None
    for sound in ("a.wav", "a.wav", "b.wav"):
        make(recipe(sound), quiet, threading.Event())
    assert len(Counting.made) == 1 and given == Counting.made * 3
    assert Counting.made[0].forgot == 2, "the first sound and the second"
    (tmp_path / "b.wav").write_bytes(b"another sound under the same name")
    make(recipe("b.wav"), quiet, threading.Event())
    assert Counting.made[0].forgot == 3
    make(recipe("b.wav", face={"max_turn_deg": 20}), quiet, threading.Event())
    assert len(Counting.made) == 2, "other faces, other models"
    status[0] = "failed"  # with no word on why: nothing of it is kept
    make(recipe("b.wav", face={"max_turn_deg": 20}), quiet, threading.Event())
    make(recipe("b.wav", face={"max_turn_deg": 20}), quiet, threading.Event())
    assert len(Counting.made) == 3


def test_damaged_files_in_the_folder_are_passed_over(board):
    fill(board, "a")
    (board.folder / "x.job").write_text("{half")
    (board.folder / "y.job").write_text('{"id": "y"}')
    assert list(states(board)) == ["a"]


def test_the_process_started_by_a_page_does_the_work_and_says_what_is_wrong(board, tmp_path):
    params = Params.from_dict({"inputs": {"output": str(tmp_path / "out")},
                               "mlflow": {"enabled": False}})  # fmt: skip
    board.add(tmp_path / "absent.mp4", tmp_path / "absent.wav", params)
    board.start()
    deadline = time.monotonic() + 60
    while states(board) != {"absent": "failed"} and time.monotonic() < deadline:
        time.sleep(0.2)
    (job,) = board.jobs()
    assert job.state == "failed" and "no such file" in job.error
    assert board.attendant() not in (None, os.getpid()), "it stands by"
    board.dismiss()
    until(lambda: not board.attended())
    assert board.attendant() is None
