"""One item with the real pipeline: kills at any point, and what is checked before it is done."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
from helpers.home import home_with_models
from helpers.media import tone, write_wav
from helpers.workers import TESTS, children, start_worker

import heygem
from heygem.batch.item import checks, manifest
from heygem.batch.items import plan_items
from heygem.batch.queue import JobQueue
from heygem.batch.workers.worker import MAKE, Worker
from heygem.config.params import Params
from heygem.core.files import read_json, sha256
from heygem.provenance import keys as key_store
from heygem.provenance.ledger import MADE, Ledger

pytestmark = pytest.mark.slow


@pytest.fixture
def isolated_home(tmp_path, monkeypatch):
    """A HEYGEM_HOME, records included, that holds only this machine's models."""
    monkeypatch.setenv("HEYGEM_HOME", str(home_with_models(tmp_path / "home")))
    monkeypatch.delenv("HEYGEM_RECORDS", raising=False)


@pytest.fixture
def queue(tmp_path, talking, monkeypatch, isolated_home):
    """A queue with one real item of a second."""
    project = Path(heygem.__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", f"{TESTS}{os.pathsep}{project}")
    write_wav(tmp_path / "a.wav", tone(1.0, hz=220).samples[:, 0])
    inputs = {"videos": [str(talking[0])], "audio": str(tmp_path / "a.wav")}
    recipe = {"inputs": inputs | {"output": str(tmp_path / "out")}, "mlflow": {"enabled": False}}
    queue = JobQueue(tmp_path / "queue.db")
    queue.add(plan_items(Params.from_dict(recipe)))
    return queue


def require_done(job):
    """The invariant of "done"."""
    assert job.state == "done", job
    content = read_json(job.item().details)
    assert manifest.is_up_to_date(content, job.identity, Path(job.output))
    checks.check_result(Path(job.output), content, keys=key_store.ensure())
    hidden = [path.name for path in Path(job.output).parent.glob(".heygem-*")]
    assert not hidden, "nothing of the killed attempts is left"


@pytest.mark.fault
def test_killed_between_name_and_record_the_file_is_recognised_and_not_made_again(
    queue, monkeypatch
):
    monkeypatch.setattr("heygem.batch.queue.retry.RETRY_S", 0.0)
    make = "helpers.workers:make_and_die_before_the_record"
    Worker(queue, make=make, until_empty=True).run()
    job = queue.get(queue.jobs()[0].id)
    require_done(job)
    kinds = [event["kind"] for event in queue.events(job_id=job.id)]
    assert kinds == ["added", "claimed", "waits", "claimed", "done"]
    assert len(Ledger().entries(kind=MADE)) == 1, "rendered once"
    content = read_json(job.item().details)
    assert "recovered from the ledger" in content["notes"][0] and content["output"]["frames"] == 25

    output, keys = Path(job.output), key_store.ensure()
    whole = output.read_bytes()
    checks.check_result(output, content, keys=keys)
    with pytest.raises(checks.CheckError, match="25 of 26 frames"):
        claimed = content | {"output": content["output"] | {"frames": 26}}
        checks.check_result(output, claimed, keys=keys)
    output.write_bytes(whole[:-1000])
    with pytest.raises(checks.CheckError, match="not the file that was made"):
        checks.check_result(output, content, keys=keys)
    unlabelled = {"output": {"sha256": sha256(Path(job.video))}}
    with pytest.raises(checks.CheckError, match="labels"):
        checks.check_result(Path(job.video), unlabelled, keys=keys)


@pytest.mark.fault
def test_killed_at_random_points_of_the_real_pipeline_the_item_ends_done(queue):
    seed = int(os.environ.get("HEYGEM_SEED", time.time_ns() % 1000))
    print(f"HEYGEM_SEED={seed}")
    dice = random.Random(seed)
    for _ in range(int(os.environ.get("HEYGEM_KILLS", "2"))):
        worker = start_worker(queue, make=MAKE)
        began = time.monotonic()
        while not any(job.progress for job in queue.jobs(states=["running"])):
            assert worker.poll() is None and time.monotonic() - began < 120
            time.sleep(0.05)
        time.sleep(dice.uniform(0, 4))
        for target in [dice.choice([worker.pid, *children(worker.pid)]), worker.pid]:
            try:
                os.kill(target, signal.SIGKILL)
            except ProcessLookupError:
                break  # it was faster
        worker.wait()
    queue._database.write(lambda db: db.execute("UPDATE jobs SET not_before = 0"))
    assert start_worker(queue, make=MAKE).wait(300) == 0
    require_done(queue.get(queue.jobs()[0].id))
