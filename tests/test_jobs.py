"""A line of videos that outlives the page it was started from."""

import threading
import time
from pathlib import Path

import pytest

from heygem.batch import Outcome
from heygem.errors import InputError
from heygem.jobs import Board, Worker
from heygem.params import Params


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path / "line")


def fill(board, *names):
    return [board.add(f"{name}.mp4", "a.wav", Params()) for name in names]


def states(board):
    return {Path(job.video).stem: job.state for job in board.jobs()}


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

    Worker(board, make).run()
    assert made == ["a", "bad", "c"]
    assert states(board) == {"a": "done", "bad": "failed", "c": "done"}
    jobs = board.jobs()
    assert jobs[1].error == "no face found in bad.mp4" and jobs[0].warnings == ("soft",)


def test_another_page_finds_the_same_line(board):
    fill(board, "a", "b")
    assert [job.video for job in Board(board.folder).jobs()] == ["a.mp4", "b.mp4"]


def test_an_unforeseen_error_fails_one_job_in_one_line(board):
    fill(board, "a", "b")

    def make(params, progress, cancel):
        if params.inputs.videos[0] == "a.mp4":
            raise RuntimeError("line one\nline two")
        return outcome(params)

    Worker(board, make).run()
    assert states(board) == {"a": "failed", "b": "done"}
    assert board.jobs()[0].error == "line one line two"


def test_order_can_be_changed_while_waiting(board):
    a, b, c = fill(board, "a", "b", "c")
    board.move(c.id, -2)
    board.move(a.id, 1)
    assert [Path(job.video).stem for job in board.jobs()] == ["c", "b", "a"]
    board.move(c.id, -5)
    assert [Path(job.video).stem for job in board.jobs()] == ["c", "b", "a"]


def test_one_running_job_is_stopped_within_a_second_and_the_next_is_made(board):
    a, _ = fill(board, "a", "b")
    began = threading.Event()

    def make(params, progress, cancel):
        if params.inputs.videos[0] == "a.mp4":
            began.set()
            assert cancel.wait(10)
            return outcome(params, "cancelled")
        return outcome(params)

    thread = threading.Thread(target=Worker(board, make).run)
    thread.start()
    assert began.wait(5)
    asked = time.monotonic()
    board.cancel(a.id)
    thread.join(10)
    assert time.monotonic() - asked < 1.5
    assert states(board) == {"a": "cancelled", "b": "done"}


def test_cancelling_all_leaves_finished_ones(board):
    fill(board, "a")
    Worker(board, lambda params, progress, cancel: outcome(params)).run()
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

    Worker(board, make).run()
    board.retry_failed()
    assert all(job.error == "" for job in board.jobs())
    Worker(board, make).run()
    assert states(board) == {"a": "done", "b": "done"}


def test_what_a_dead_process_left_running_is_made_anew(board):
    (a,) = fill(board, "a")

    class Killed(BaseException):
        pass

    def dies(params, progress, cancel):
        raise Killed

    with pytest.raises(Killed):
        Worker(board, dies).run()
    assert not board.working() and states(board) == {"a": "waiting"}
    Worker(board, lambda params, progress, cancel: outcome(params)).run()
    assert states(board) == {"a": "done"}


def test_only_one_process_works_on_a_line(board):
    fill(board, "a")
    began, go, made = threading.Event(), threading.Event(), []

    def make(params, progress, cancel):
        began.set()
        go.wait(10)
        made.append(1)
        return outcome(params)

    thread = threading.Thread(target=Worker(board, make).run)
    thread.start()
    assert began.wait(5) and board.working()
    Worker(board, make).run()  # returns at once
    go.set()
    thread.join(10)
    assert made == [1] and not board.working()


def test_progress_of_the_running_job_is_seen_from_outside(board):
    fill(board, "a")
    seen = []

    def make(params, progress, cancel):
        progress("a", 0, 1, "render", 30, 60)
        seen.extend(Board(board.folder).jobs())
        return outcome(params)

    Worker(board, make).run()
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


def test_damaged_files_in_the_folder_are_passed_over(board):
    fill(board, "a")
    (board.folder / "x.job").write_text("{half")
    (board.folder / "y.job").write_text('{"id": "y"}')
    assert list(states(board)) == ["a"]


def test_the_process_started_by_a_page_does_the_work_and_says_what_is_wrong(board, tmp_path):
    params = Params.from_dict({"inputs": {"output": str(tmp_path / "out")},
                               "tracking": {"enabled": False}})  # fmt: skip
    board.add(tmp_path / "absent.mp4", tmp_path / "absent.wav", params)
    board.start()
    deadline = time.monotonic() + 60
    while states(board) != {"absent": "failed"} and time.monotonic() < deadline:
        time.sleep(0.2)
    (job,) = board.jobs()
    assert job.state == "failed" and "no such file" in job.error
