"""Workers: every job is done, failed or pending, whatever happens to the processes that make it."""

import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import pytest
from helpers.webhook import listening
from helpers.workers import MAKE, children, is_alive, start_worker

from heygem.batch.items import plan_items
from heygem.batch.queue import JobQueue
from heygem.batch.workers.child import Child
from heygem.batch.workers.worker import Worker, run_workers
from heygem.config.params import Params
from heygem.core.files import sha256
from heygem.experiments import store

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("HEYGEM_KILLS", "5"))


@pytest.fixture(autouse=True)
def tests_are_importable(monkeypatch):
    """For the process that a worker in this process starts."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


@pytest.fixture
def queue(tmp_path):
    return JobQueue(tmp_path / "queue.db")


def fill(queue, *names, batch="", **more):
    folder = queue.path.parent
    inputs = {"videos": [f"/v/{name}.mp4" for name in names], "audio": "/v/a.wav"}
    params = Params.from_dict({"inputs": inputs | {"output": str(folder / "out")}, **more})
    return queue.add(plan_items(params), batch=batch)


def states(queue):
    return {Path(job.video).stem: job.state for job in queue.jobs()}


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_running(queue):
    """The job that is being made by a worker process, once it has reported progress."""
    wait_until(lambda: any(job.progress for job in queue.jobs(states=["running"])))
    return queue.jobs(states=["running"])[0]


def no_delays(monkeypatch):
    monkeypatch.setattr("heygem.batch.queue.retry.RETRY_S", 0.0)


def require_complete(queue):
    """Every file is whole, is where the job says, and has the hash that was recorded of it."""
    for job in queue.jobs(states=["done"]):
        record = json.loads(Path(job.output).with_suffix(".json").read_text())
        assert record["sha256"] == sha256(Path(job.output))


def test_jobs_are_made_in_order_by_one_process_that_keeps_its_models(queue):
    fill(queue, "a", "bad-b", "c")
    Worker(queue, make=MAKE, until_empty=True).run()
    assert states(queue) == {"a": "done", "bad-b": "failed", "c": "done"}
    a, bad, c = queue.jobs()
    assert a.timings["made_by_this_process"] == 1 and c.timings["made_by_this_process"] == 2
    assert bad.error["code"] == "NO_FACE" and bad.attempts == 1
    assert a.started < c.started and queue.workers() == []


@pytest.mark.fault
def test_a_poison_item_is_quarantined_and_the_others_are_made(queue, monkeypatch):
    no_delays(monkeypatch)
    fill(queue, "a", "poison", "memory-b", "c")
    Worker(queue, make=MAKE, until_empty=True).run()
    assert states(queue) == {"a": "done", "poison": "failed", "memory-b": "done", "c": "done"}
    job = queue.jobs()[1]
    assert (job.error["code"], job.attempts, len(job.history)) == ("QUARANTINED", 3, 3)
    assert "signal 11" in job.message and "stage: render" in job.message
    left = {path.name for path in Path(job.output).parent.rglob("*")}
    made = ("a-a", "memory-b-a", "c-a")
    assert left == {f"{name}{suffix}" for name in made for suffix in (".mp4", ".json")}


@pytest.mark.fault
def test_an_item_whose_process_is_killed_from_outside_is_not_blamed(queue, monkeypatch):
    no_delays(monkeypatch)
    fill(queue, "killed")
    Worker(queue, make=MAKE, until_empty=True).run()
    (job,) = queue.jobs()
    assert (job.state, job.attempts, job.losses, job.history) == ("done", 1, 4, ())


@pytest.mark.fault
def test_a_hung_item_ends_at_its_time_limit_with_all_its_processes(queue, monkeypatch):
    no_delays(monkeypatch)
    (queue.path.parent / "out").mkdir()
    fill(queue, "orphan", "b")
    Worker(queue, make=MAKE, until_empty=True, time_limit_s=3.0).run()
    assert states(queue) == {"orphan": "failed", "b": "done"}
    job = queue.jobs()[0]
    assert job.error["code"] == "QUARANTINED" and "TIMEOUT" in job.message
    pid = int((queue.path.parent / "out" / "orphan-a.pid").read_text())
    wait_until(lambda: not is_alive(pid))


@pytest.mark.fault
def test_a_killed_process_is_dead_even_with_messages_that_nobody_has_received(queue):
    """A worker that took it for alive would give it the next item."""
    fill(queue, "hung")
    child = Child(MAKE, log_path=queue.path.with_name("worker.log"))
    child.order("make", queue.jobs()[0])
    wait_until(lambda: child._messages.qsize() >= 2)  # it is up, and reports progress
    child.kill()
    assert child._messages.qsize() >= 2 and not child.is_alive()


@pytest.mark.fault
def test_a_full_disk_pauses_the_queue_until_there_is_room(queue, monkeypatch):
    monkeypatch.setattr("heygem.batch.queue.retry.WAIT_S", 0.0)
    monkeypatch.setattr("heygem.batch.workers.room.ROOM_S", 0.0)
    (queue.path.parent / "out").mkdir()
    fill(queue, "full-a", "b")
    Worker(queue, make=MAKE, until_empty=True).run()
    assert states(queue) == {"full-a": "done", "b": "done"} and queue.paused() == ""
    kinds = [event["kind"] for event in queue.events()]
    assert kinds.index("waits") < kinds.index("resumed") and queue.jobs()[0].attempts == 1
    assert kinds.count("claimed") == 3, "nothing was begun during the pause"


@pytest.mark.slow
def test_a_webhook_is_told_of_each_batch_once_whoever_made_its_items(queue, monkeypatch):
    with listening() as (address, received):
        monkeypatch.setenv("HEYGEM_WEBHOOK", address)
        fill(queue, "a", "bad", batch="night")
        fill(queue, "c")
        run_workers([queue, JobQueue(queue.path)], make=MAKE, until_empty=True)
        texts = sorted(json.loads(body)["text"] for _, body in received)
    assert texts == [
        "heygem: night: 1 of 2 videos made, 1 failed",
        "heygem: the queue: 1 of 1 videos made",
    ]


@pytest.mark.slow
def test_the_run_of_a_batch_ends_with_its_last_item_whoever_made_it(queue, tmp_path):
    """Two workers, neither of which was started for the batch, and a store that is new."""
    mlflow = {"folder": str(tmp_path / "mlruns")}
    fill(queue, "a", "bad", "b", batch="night", mlflow=mlflow)
    run_workers([queue, JobQueue(queue.path)], make=MAKE, until_empty=True)
    assert states(queue) == {"a": "done", "bad": "failed", "b": "done"}
    client = store.open_client(tmp_path / "mlruns")
    experiment = client.get_experiment_by_name("heygem").experiment_id
    (run,) = client.search_runs([experiment])
    assert (run.info.run_name, run.info.status) == ("night: 3 videos, 1 failed", "FAILED")
    assert run.data.metrics["items/total"] == 3 and run.data.metrics["items/done"] == 2


def test_cancelling_ends_an_item_that_does_not_stop_by_itself(queue):
    hung, _ = fill(queue, "hung", "b")
    thread = threading.Thread(target=Worker(queue, make=MAKE, until_empty=True).run)
    thread.start()
    wait_for_running(queue)
    queue.cancel(hung.id)
    thread.join(60)
    assert states(queue) == {"hung": "cancelled", "b": "done"}


@pytest.mark.fault
@pytest.mark.parametrize("name", ["a", "hung"])
def test_sigterm_puts_the_item_back_within_ten_seconds(queue, name):
    fill(queue, name)
    worker = start_worker(queue, steps=10_000)
    try:
        job = wait_for_running(queue)
        maker = children(worker.pid)
        began = time.monotonic()
        worker.terminate()
        worker.wait(60)
        assert time.monotonic() - began < 10
    finally:
        worker.kill()
    job = queue.get(job.id)
    assert (job.state, job.attempts, job.worker) == ("pending", 0, "")
    assert maker and not any(map(is_alive, maker)) and queue.workers() == []


@pytest.mark.fault
def test_a_killed_worker_takes_the_process_that_makes_the_item_with_it(queue):
    fill(queue, "hung")
    worker = start_worker(queue)
    wait_for_running(queue)
    maker = children(worker.pid)
    worker.kill()
    worker.wait()
    wait_until(lambda: not any(map(is_alive, maker)))
    assert maker and [job.state for job in queue.reap()] == ["pending"]


@pytest.mark.fault
def test_killed_at_random_points_every_item_is_made_and_whole(queue):
    seed = int(os.environ.get("HEYGEM_SEED", time.time_ns() % 1000))
    print(f"HEYGEM_SEED={seed}")
    dice = random.Random(seed)
    names = [f"v{k}" for k in range(8 * KILLS)]  # a fast machine makes several between two kills
    fill(queue, *names, "bad-1", "bad-2")
    for _ in range(KILLS):
        worker = start_worker(queue)
        done = queue.counts()["done"]
        wait_until(lambda: queue.counts()["done"] > done)  # noqa: B023
        time.sleep(dice.uniform(0, 0.2))
        target = dice.choice([worker.pid, *children(worker.pid)])
        os.kill(target, signal.SIGKILL)
        worker.kill()
        worker.wait()
    worker = start_worker(queue)
    assert worker.wait(120) == 0
    expected = dict.fromkeys(names, "done") | {"bad-1": "failed", "bad-2": "failed"}
    assert states(queue) == expected
    require_complete(queue)


@pytest.mark.fault
def test_two_submitters_and_two_worker_processes_at_once(queue):
    workers = [start_worker(queue, until_empty=False, idle_exit=True, idle_s=6.0) for _ in "ab"]

    def submit(owner):
        for k in range(8):
            fill(JobQueue(queue.path), f"{owner}{k}")

    threads = [threading.Thread(target=submit, args=[owner]) for owner in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [worker.wait(120) for worker in workers] == [0, 0]
    assert set(states(queue).values()) == {"done"} and len(states(queue)) == 16
    claims = [event for event in queue.events() if event["kind"] == "claimed"]
    assert len(claims) == 16 and len({event["detail"] for event in claims}) == 2
    require_complete(queue)


def test_an_idle_worker_is_listed_and_can_be_released(queue):
    worker = Worker(queue, make=MAKE)
    thread = threading.Thread(target=worker.run)
    thread.start()
    wait_until(lambda: [each.name for each in queue.workers()] == [worker.name])
    queue.release_workers()
    thread.join(60)
    assert not thread.is_alive() and queue.workers() == []
