"""What an outcome says about a job that has no result."""

from heygem.batch.items import plan_items
from heygem.batch.outcome import Outcome
from heygem.batch.queue import JobQueue
from heygem.config.params import Params
from heygem.core.errors import InputError


def a_job(tmp_path):
    (tmp_path / "anna.mp4").write_bytes(b"video")
    inputs = {"videos": [str(tmp_path / "anna.mp4")], "text": "good morning"}
    queue = JobQueue(tmp_path / "queue.db")
    queue.add(plan_items(Params.from_dict({"inputs": {**inputs, "output": str(tmp_path)}})))
    return queue.claim("test")


def test_a_failed_job_is_described_by_its_error_and_survives_the_way_between_processes(tmp_path):
    job, error = a_job(tmp_path), InputError("no face", seen=3, remedy="give another")
    outcome = Outcome.of_job(job, "failed", error, bad_input=True, seconds=2.0)
    assert (outcome.name, str(outcome.video), outcome.speech) == (job.name, job.video, job.text)
    assert (outcome.error, outcome.code) == (str(error), "BAD_INPUT")
    assert outcome.reason == {"what": "no face", "seen": "3", "remedy": "give another"}
    assert Outcome.from_message(outcome.message()) == outcome


def test_a_code_that_is_given_stands_before_the_one_of_the_error(tmp_path):
    outcome = Outcome.of_job(a_job(tmp_path), "failed", InputError("late"), code="TIMEOUT")
    assert (outcome.code, outcome.error) == ("TIMEOUT", "late")


def test_a_cancelled_job_has_no_error(tmp_path):
    outcome = Outcome.of_job(a_job(tmp_path), "cancelled")
    assert (outcome.status, outcome.error, outcome.code, outcome.reason) == (
        "cancelled",
        "",
        "",
        {},
    )
