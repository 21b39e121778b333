"""The queue: who gets which job, what a failure leads to, and what a fault leaves."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers.batch import pairs_recipe

from heygem.batch import announcement, queued_batch
from heygem.batch.items import plan_items
from heygem.batch.outcome import Outcome
from heygem.batch.queue import JobQueue, process, retry
from heygem.batch.queue import database as queue_database
from heygem.batch.queue import queue as queue_module
from heygem.batch.queue import rows as queue_rows
from heygem.batch.queue.database import QueueError
from heygem.batch.queue.job import Signal
from heygem.config.params import Params
from heygem.core.errors import InputError, PolicyError
from heygem.core.files import write_json


@pytest.fixture
def queue(tmp_path):
    return JobQueue(tmp_path / "queue.db")


def items(*names, folder="/v", output="/v/out", **more):
    inputs = {"videos": [f"{folder}/{name}.mp4" for name in names], "audio": "/v/a.wav"}
    return plan_items(Params.from_dict({"inputs": inputs | {"output": str(output)}, **more}))


def states(queue):
    return {Path(job.video).stem: job.state for job in queue.jobs()}


def order(queue):
    return [Path(job.video).stem for job in queue.jobs()]


def ended(job, status="done", code="", error="", **more):
    reason = {"what": error} if error else {}
    return Outcome(job.name, Path(job.video), status, code=code, error=error, reason=reason, **more)


def take(queue, worker="w"):
    job = queue.claim(worker)
    return job and Path(job.video).stem


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_job_is_added_claimed_and_finished(queue):
    (added,) = queue.add(items("anna"), owner="eve", batch="night")
    assert added.state == "pending" and added.item().video == Path("/v/anna.mp4")
    job = queue.claim("w")
    assert job.id == added.id and job.attempts == 1 and queue.claim("w2") is None
    assert queue.heartbeat(job.id, "w", {"stage": "render", "done": 1}) is Signal.CONTINUE
    assert queue.jobs()[0].progress == {"stage": "render", "done": 1}
    manifest = {"id": "abc", "timings": {"render_s": 1.5}}
    assert queue.finish(job.id, "w", ended(job, manifest=manifest, warnings=("dim",), seconds=2.0))
    job = queue.get(job.id)
    assert (job.state, job.identity, job.warnings) == ("done", "abc", ("dim",))
    assert job.timings == {"render_s": 1.5} and job.worker == "" and job.progress == {}
    assert queue.counts(batch="night")["done"] == 1 and queue.counts(batch="day")["done"] == 0
    kinds = [event["kind"] for event in queue.events(job_id=job.id)]
    assert kinds == ["added", "claimed", "done"]


def test_owners_take_turns_and_priority_counts_within_an_owner(queue):
    queue.add(items("a1", "a2", "a3"), owner="a")
    queue.add(items("b1"), owner="b")
    queue.add(items("a9"), owner="a", priority=5)
    assert [take(queue, f"w{k}") for k in range(6)] == ["a9", "b1", "a1", "a2", "a3", None]


def test_a_result_that_is_being_made_is_not_made_by_two(queue):
    first, again = queue.add([*items("anna"), *items("anna")])
    assert first.output == again.output
    assert take(queue) == "anna" and take(queue, "w2") is None
    queue.finish(first.id, "w", ended(first))
    assert take(queue, "w2") == "anna"


def test_jobs_whose_results_would_have_the_same_name_get_folders_of_their_own(queue):
    first, second = (queue.add(items("anna", folder=folder))[0] for folder in ("/x", "/y"))
    louder = queue.add(items("anna", folder="/x", lips={"openness_gain": 1.2}))[0]
    assert len({first.output, second.output, louder.output}) == 3
    assert louder.item().output == Path("/v/out") / louder.id / "anna-a.mp4"
    queue.finish(queue.claim("w").id, "w", ended(first))
    later = queue.add(items("anna", folder="/x", lips={"openness_gain": 1.4}))[0]
    assert later.output == first.output, "made again with other settings, under its name"


def test_a_table_keeps_its_names_and_settings(queue):
    rows = [{"video": "anna.mp4", "text": "Good evening.", "name": "evening", "lips.offset_ms": 40}]
    (job,) = queue.add(plan_items(pairs_recipe(rows)))
    assert (job.title, job.text, job.label) == ("evening", "Good evening.", "evening")
    item = job.item()
    assert item.params.lips.offset_ms == 40 and item.output == Path.cwd() / "out" / "evening.mp4"
    assert item.params.digest() == plan_items(pairs_recipe(rows))[0].params.digest()


def test_a_list_is_a_page_without_recipes(queue):
    queue.add(items(*"abcde"))
    page = queue.jobs(limit=2, offset=2)
    assert [Path(job.video).stem for job in page] == ["c", "d"] and page[0].params == {}
    assert queue.jobs(states=["done"]) == []


@pytest.mark.slow
def test_a_page_of_a_long_list_is_one_query_that_reads_only_its_rows(queue):
    queue.add(items(*(f"v{k}" for k in range(300))))
    queries = []
    connection = queue._database._connection()
    connection.set_trace_callback(queries.append)
    assert len(queue.jobs(limit=20, offset=100)) == 20
    connection.set_trace_callback(None)
    assert [query.split()[0] for query in queries] == ["BEGIN", "SELECT", "COMMIT"]
    (plan,) = connection.execute(
        "EXPLAIN QUERY PLAN SELECT * FROM jobs ORDER BY position, number LIMIT 20"
    ).fetchall()
    assert "by_place" in plan["detail"], "no sorting of all rows"


def test_an_admission_that_refuses_leaves_the_queue_as_it_was(tmp_path):
    def admit(requests, lengths_s, owner):
        if len(requests) > 1:
            raise PolicyError("too many")
        return "eve"

    queue = JobQueue(tmp_path / "queue.db", admission=admit)
    with pytest.raises(PolicyError):
        queue.add(items("a", "b"))
    assert queue.jobs() == []
    assert queue.add(items("a"))[0].owner == "eve"


def test_the_order_can_be_changed(queue):
    a, b, c = (job.id for job in queue.add(items(*"abc")))
    queue.move(c, -2)
    queue.move(a, 1)
    assert order(queue) == ["c", "b", "a"]
    queue.move(c, -5)
    queue.place(a, b)
    assert order(queue) == ["c", "a", "b"]
    queue.place(c, None)
    queue.place(b, b)
    queue.place("nobody", a)
    assert order(queue) == ["a", "b", "c"]
    queue.prioritise(c, 3)
    assert take(queue) == "c"


def test_a_pause_keeps_its_reason_until_somebody_ends_it(queue):
    queue.add(items("a", "b"))
    job = queue.claim("w")
    queue.pause("DISK_FULL")
    queue.pause("another")
    assert queue.paused() == "DISK_FULL" and queue.claim("w2") is None
    assert queue.heartbeat(job.id, "w") is Signal.PAUSE
    assert not queue.resume(reason="another") and queue.paused()
    assert queue.resume() and take(queue, "w2") == "b"


def test_cancelling_stops_a_running_job_and_a_pending_one(queue):
    queue.add(items("a", "b"))
    job = queue.claim("w")
    assert queue.cancel_all() == 2
    assert queue.heartbeat(job.id, "w") is Signal.CANCEL and queue.jobs()[0].stopping
    queue.finish(job.id, "w", ended(job, "failed", "CRASHED", "ended with its process"))
    assert states(queue) == {"a": "cancelled", "b": "cancelled"}, "not retried"
    assert queue.retry_all(states=["cancelled"]) == 2 and take(queue) == "a"
    queue.remove(queue.jobs()[0].id)
    assert states(queue)["a"] == "running", "it is not removed while it runs"
    queue.remove(queue.jobs()[1].id)
    assert list(states(queue)) == ["a"]


def test_only_finished_jobs_are_cleared(queue):
    queue.add(items("a"), owner="x")
    queue.add(items("b", "c"), owner="y")
    for worker in "vw":
        job = queue.claim(worker)
        queue.finish(job.id, worker, ended(job))
    assert queue.clear(owner="x") == 1 and states(queue) == {"b": "done", "c": "pending"}
    assert queue.clear() == 1 and states(queue) == {"c": "pending"}
    with pytest.raises(InputError, match="no such job"):
        queue.cancel("nobody")


def attempt(queue, code, error="it failed"):
    """Fail the next attempt; returns the job as recorded."""
    queue._database.write(lambda db: db.execute("UPDATE jobs SET not_before = 0"))
    job = queue.claim("w")
    return queue.finish(job.id, "w", ended(job, "failed", code, error))


@pytest.mark.parametrize("code", ["BAD_INPUT", "NO_FACE", "CONSENT", "OUTPUT", "POLICY"])
def test_a_bad_input_is_never_tried_again(queue, code):
    queue.add(items("a"))
    job = attempt(queue, code)
    assert (job.state, job.error["code"], job.attempts) == ("failed", code, 1)


def test_what_runs_out_of_memory_is_made_smaller_then_fails(queue):
    queue.add(items("a"))
    jobs = [attempt(queue, "OUT_OF_MEMORY") for _ in range(3)]
    assert [job.state for job in jobs] == ["pending", "pending", "failed"]
    assert jobs[0].smaller == {"resources.batch_size": 3}
    assert jobs[1].smaller == {"resources.batch_size": 1, "device": "cpu"}
    assert queue.get(jobs[1].id).item().params.device == "cpu"
    assert jobs[2].error["code"] == "OUT_OF_MEMORY"


def test_a_crash_is_tried_again_as_it_is_and_quarantined_after_three(queue):
    queue.add(items("poison", "fine"))
    first = attempt(queue, "CRASHED", "signal 11")
    assert first.state == "pending" and first.not_before > time.time() and first.smaller == {}
    assert take(queue, "other") == "fine", "the others continue meanwhile"
    attempt(queue, "TIMEOUT", "longer than 60 s")
    job = attempt(queue, "CRASHED", "signal 11")
    assert (job.state, job.error["code"]) == ("failed", "QUARANTINED")
    assert "signal 11" in job.error["seen"] and "longer than 60 s" in job.error["seen"]
    queue.retry(job.id)
    assert queue.get(job.id).history == () and queue.get(job.id).attempts == 0


def test_a_kill_from_outside_is_no_attempt_until_there_were_ten(queue):
    queue.add(items("a"))
    for losses in range(1, retry.MAX_LOSSES):
        job = attempt(queue, "KILLED", "somebody killed it")
        assert (job.state, job.attempts, job.losses, job.history) == ("pending", 0, losses, ())
        assert job.error["code"] == "KILLED" and job.not_before > time.time()
    job = attempt(queue, "KILLED", "somebody killed it")
    assert (job.state, job.error["code"]) == ("failed", "QUARANTINED")
    queue.retry(job.id)
    assert queue.get(job.id).losses == 0


@pytest.mark.fault
def test_a_job_that_loses_its_last_worker_leaves_no_mark(queue, tmp_path, monkeypatch):
    monkeypatch.setattr(retry, "MAX_LOSSES", 1)
    job = held_elsewhere(queue, output=tmp_path / "out")
    details = job.item().details
    write_json(details, {"schema": 1, "id": "x", "status": "begun"})
    monkeypatch.setattr(queue_module, "LEASE_S", -1.0)
    queue.reap()
    (taken,) = queue.reap()
    assert taken.error["code"] == "QUARANTINED" and not details.exists()


def test_a_full_disk_costs_no_attempt(queue):
    queue.add(items("a"))
    for _ in range(4):
        job = attempt(queue, "DISK_FULL")
        assert (job.state, job.attempts, job.history) == ("pending", 0, ())


def test_a_released_job_is_taken_by_the_next_worker(queue):
    queue.add(items("a"))
    job = queue.claim("w")
    queue.release(job.id, "w", "shutdown")
    assert queue.get(job.id).attempts == 0
    assert queue.claim("w2").id == job.id
    assert queue.heartbeat(job.id, "w") is Signal.LOST
    assert queue.finish(job.id, "w", ended(job)) is None and states(queue)["a"] == "running"


CLAIM = """
import os, sys, time
from heygem.batch.queue import JobQueue
print(JobQueue(sys.argv[1]).claim(f"w{os.getpid()}").id, flush=True)
time.sleep(600)
"""


@pytest.mark.fault
@pytest.mark.slow
def test_the_job_of_a_killed_worker_is_taken_back_at_once(queue):
    queue.add(items("a"))
    worker = subprocess.Popen([sys.executable, "-c", CLAIM, queue.path], stdout=subprocess.PIPE)
    worker.stdout.readline()
    assert queue.reap() == [] and queue.claim("w") is None, "it lives"
    worker.kill()
    worker.wait()
    assert take(queue) == "a" and queue.jobs()[0].losses == 1


def held_elsewhere(queue, **more):
    """The job held by a worker on a machine that cannot be seen from here."""
    queue.add(items("a", **more))
    job = queue.claim("far")
    holder = queue_module.plain(process.own_identity() | {"boot": "another", "host": "far"})
    queue._database.write(lambda db: queue_rows.update(db, job.id, {"process": holder}))
    return job


def test_a_worker_elsewhere_loses_its_job_after_a_silence_by_the_observers_clock(
    queue, monkeypatch
):
    job = held_elsewhere(queue)
    now = [1000.0]
    monkeypatch.setattr(queue_module.time, "monotonic", lambda: now[0])
    assert queue.reap() == []
    now[0] += queue_module.LEASE_S - 1
    queue.heartbeat(job.id, "far")
    now[0] += 2
    assert queue.reap() == [], "there was a heartbeat"
    now[0] += queue_module.LEASE_S + 1
    assert [each.id for each in queue.reap()] == [job.id]
    assert queue.heartbeat(job.id, "far") is Signal.LOST


@pytest.mark.fault
@pytest.mark.parametrize("jump_s", [-400 * 24 * 3600.0, 400 * 24 * 3600.0])
def test_a_jump_of_the_clock_takes_no_job_away_and_delays_none(queue, monkeypatch, jump_s):
    queue.add(items("a", "b"))
    running = queue.claim("here")
    waiting = queue.claim("w")
    queue.finish(waiting.id, "w", ended(waiting, "failed", "CRASHED", "signal 9"))
    real = time.time
    monkeypatch.setattr(queue_rows.time, "time", lambda: real() + jump_s)
    assert queue.reap() == [], "its process runs"
    assert queue.heartbeat(running.id, "here") is Signal.CONTINUE
    assert queue.claim("w").id == waiting.id


def test_what_is_lost_again_and_again_is_quarantined(queue, monkeypatch):
    queue.add(items("a"))
    monkeypatch.setattr(process, "is_running", lambda holder: False)
    for _ in range(retry.MAX_LOSSES):
        assert queue.claim("w") is not None
    queue.reap()
    (job,) = queue.jobs()
    assert (job.state, job.error["code"], job.attempts) == ("failed", "QUARANTINED", 0)


@pytest.mark.slow
@pytest.mark.fault
def test_two_submitters_and_two_workers_at_once(queue):
    made, lock = [], threading.Lock()

    def submit(owner):
        own = JobQueue(queue.path)
        for k in range(20):
            own.add(items(f"{owner}{k}"), owner=owner)

    def work(worker):
        own = JobQueue(queue.path)
        while queue.counts()["done"] < 40:
            job = own.claim(worker)
            if job is not None:
                with lock:
                    made.append(job.id)
                own.finish(job.id, worker, ended(job))

    threads = [threading.Thread(target=submit, args=[name]) for name in "ab"]
    threads += [threading.Thread(target=work, args=[name]) for name in ("w1", "w2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(made) == len(set(made)) == 40 and set(states(queue).values()) == {"done"}


@pytest.mark.fault
@pytest.mark.slow
def test_a_damaged_database_is_set_aside_and_its_readable_jobs_are_kept(queue):
    queue.add(items(*(f"v{k}" for k in range(60))))
    job = queue.claim("w")
    queue.finish(job.id, "w", ended(job))  # its file was never there: not provable
    queue.close()
    with sqlite3.connect(queue.path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page = db.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(queue.path.read_bytes())
    for name in (b"v20", b"v45"):  # pages that hold rows of jobs
        at = content.rindex(name) // page * page
        content[at : at + page] = os.urandom(page)
    queue.path.write_bytes(content)
    other = JobQueue(queue.path)
    jobs = other.jobs()
    other.add(items("new"))  # meets the damage, if the list did not
    jobs = other.jobs()
    assert 10 < len(jobs) <= 61 and {job.state for job in jobs} == {"pending"}
    assert all(other.get(each.id).item().video for each in jobs)
    (aside,) = queue.path.parent.glob("queue.db.damaged-*[0-9]")
    assert aside.name in other.notices()[0] and "jobs could be read" in other.notices()[0]
    assert stat.S_IMODE(queue.path.stat().st_mode) == 0o600


@pytest.mark.fault
def test_a_file_that_is_no_database_is_set_aside_and_never_loaded(queue, tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    queue.path.write_bytes(pickle.dumps([Trap()] * 100))
    queue.add(items("a"))
    assert states(queue) == {"a": "pending"} and len(queue.notices()) == 1
    assert not (tmp_path / "executed").exists()


@pytest.mark.fault
def test_a_process_that_has_the_damaged_file_open_goes_on_with_the_new_one(queue):
    queue.add(items("a"))
    other = JobQueue(queue.path)
    assert len(other.jobs()) == 1
    queue_module.queue_repair._is_sound, sound = (
        (lambda path: False),
        (queue_module.queue_repair._is_sound),
    )
    try:
        queue_module.queue_repair.rebuild(queue.path)
    finally:
        queue_module.queue_repair._is_sound = sound
    other.add(items("b"))
    assert states(queue) == {"a": "pending", "b": "pending"}


@pytest.mark.fault
@pytest.mark.slow
def test_errors_of_the_database_are_told_in_plain_words(queue, monkeypatch, tmp_path):
    queue.add(items("a"))
    monkeypatch.setattr(queue_database, "BUSY_TIMEOUT_S", 0.1)
    locked = JobQueue(queue.path)
    with sqlite3.connect(queue.path) as db:
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(QueueError, match="another program holds"):
            locked.add(items("b"))
    monkeypatch.setattr(
        queue_database.psutil,
        "disk_partitions",
        lambda all: [type("Part", (), {"mountpoint": "/", "fstype": "nfs4"})],
    )
    with pytest.raises(QueueError, match="network folder.*HEYGEM_QUEUE"):
        JobQueue(tmp_path / "new" / "queue.db").jobs()
    (tmp_path / "file").write_text("")
    with pytest.raises(QueueError, match="queue"):
        JobQueue(tmp_path / "file" / "queue.db").jobs()


def test_a_later_version_of_the_database_is_refused(queue):
    queue.add(items("a"))
    queue._database.write(lambda db: queue_rows.set_fact(db, "schema", "99"))
    with pytest.raises(QueueError, match="later version"):
        JobQueue(queue.path).jobs()


@pytest.mark.slow
@pytest.mark.fault
def test_a_full_disk_refuses_all_items_of_a_request_and_loses_none_of_the_earlier(tiny_disk):
    queue = JobQueue(tiny_disk / "queue.db")
    queue.add(items("a"))
    with pytest.raises(QueueError, match="disk is full.*HEYGEM_QUEUE"):
        queue.add(items(*(f"v{k}" for k in range(700))))
    assert states(queue) == {"a": "pending"}


def test_a_batch_has_ended_once_when_its_last_item_has(queue, tmp_path):
    """Whoever finished it: a worker, or somebody who cancelled what was waiting."""
    queue.add(recorded(tmp_path / "one", "a", "b"), batch="night")
    queue.add(recorded(tmp_path / "other", "a"), batch="night")
    queue.add(recorded(tmp_path / "alone", "a"))
    assert queue.take_ended_batches() == []
    job = queue.claim("w")
    queue.finish(job.id, "w", Outcome(job.name, Path(job.video), "done", seconds=3.0))
    assert queue.take_ended_batches() == []  # one of its items is pending
    queue.cancel(queue.jobs(states=["pending"])[0].id)
    assert queue.take_ended_batches(but="night") == []
    (ended,) = queue.take_ended_batches()
    assert ended.batch == "night" and ended.params["inputs"]["output"] == str(tmp_path / "one")
    assert [item[:2] for item in ended.items] == [("skipped", 3.0), ("cancelled", 0.0)]
    assert queue.take_ended_batches() == []  # somebody has it
    queue.retry_all(states=["cancelled"])
    job = queue.claim("w")
    queue.finish(job.id, "w", Outcome(job.name, Path(job.video), "failed", code="NO_FACE"))
    (again,) = queue.take_ended_batches(batch="night")
    assert sorted(item[0] for item in again.items) == ["failed", "skipped"]


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_the_queue_of_a_moved_project_leads_into_the_new_place(tmp_path, how):
    first = tmp_path / "50%_one"
    queue = JobQueue(first / "runs" / "queue.db")
    inputs = {"videos": [f"{first}/in/a.mp4", "/v/b.mp4"], "audio": f"{first}/in/a.wav"}
    recipe = {"inputs": inputs | {"output": f"{first}/runs/out"}}
    queue.add(plan_items(Params.from_dict(recipe | {"mlflow": {"folder": f"{first}/mlruns"}})))
    queue.close()
    second = tmp_path / "two"
    how(first, second)
    moved = JobQueue(second / "runs" / "queue.db")
    one, other = moved.jobs()
    assert [one.video, other.video] == [f"{second}/in/a.mp4", "/v/b.mp4"]
    assert one.audio == f"{second}/in/a.wav" and one.output.startswith(f"{second}/runs/out/")
    params = Params.from_dict(moved.get(one.id).params)
    assert params.inputs.output == f"{second}/runs/out"
    assert params.mlflow.folder == f"{second}/mlruns"
    for job in (one, other):
        moved.cancel(job.id)
    (ended,) = moved.take_ended_batches()
    assert len(ended.items) == 2, "the mark of their batch has moved, too"
    if how is shutil.copytree:
        assert JobQueue(first / "runs" / "queue.db").jobs()[0].video == f"{first}/in/a.mp4"


def test_a_queue_that_a_user_has_named_is_no_projects(tmp_path):
    queue = JobQueue(tmp_path / "one" / "queue.db")
    queue.add(recorded(tmp_path / "one", "a"))
    queue.close()
    shutil.move(tmp_path / "one", tmp_path / "two")
    (job,) = JobQueue(tmp_path / "two" / "queue.db").jobs()
    assert job.output.startswith(f"{tmp_path}/one/")


def test_the_queue_tells_only_what_ended_since_it_was_last_empty(queue, tmp_path):
    """Items without a batch's name stay in the list: those of this morning are no news."""
    for name, status, counts in (("a", "failed", {"failed": 1}), ("b", "done", {"skipped": 1})):
        queue.add(recorded(tmp_path, name))
        job = queue.claim("w")
        queue.finish(job.id, "w", Outcome(job.name, Path(job.video), status, seconds=3.0))
        (ended,) = queue.take_ended_batches()
        assert ended.counts == counts and 0 <= ended.counted_s < ended.elapsed_s + 1
    assert [item[0] for item in ended.items] == ["failed", "skipped"], "a record has all of them"
    text = announcement.content(ended)["text"]
    assert text == "heygem: the queue: 1 of 1 videos made"


def recorded(folder, *names):
    """Items that are recorded in MLflow."""
    inputs = {"videos": [f"/v/{name}.mp4" for name in names], "audio": "/v/a.wav"}
    return plan_items(Params.from_dict({"inputs": inputs | {"output": str(folder)}}))


def test_who_waits_for_a_batch_is_told_that_the_queue_is_paused(queue, tmp_path):
    inputs = {"videos": ["/v/a.mp4"], "audio": "/v/a.wav", "output": str(tmp_path)}
    params = Params.from_dict({"inputs": inputs, "mlflow": {"enabled": False}})
    reasons, over = [], threading.Event()

    def note(reason):
        reasons.append(reason)
        over.set()

    queue.pause("holiday")
    queued_batch.run(queue, params, lambda stop: over.wait(60), batch="night", on_pause=note)
    assert reasons == ["holiday"]
