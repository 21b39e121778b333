"""Fast stand-ins for `make_item` of the workers, and workers as processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import heygem
from heygem.batch.outcome import Outcome
from heygem.core.files import sha256, write_json, write_text
from heygem.core.leftovers import hidden_path

TESTS = Path(__file__).parents[1]
MAKE = "helpers.workers:make"

RUN = """
import sys
from heygem.batch.queue import JobQueue
from heygem.batch.workers.worker import Worker
from heygem.core import interrupts
options = eval(sys.argv[2])
with interrupts.stoppable() as stop:
    Worker(JobQueue(sys.argv[1]), **options).run(stop)
"""


def make(job, models, progress, cancel):
    """Write a small file and its hash, or behave as the name of the video says."""
    kind = Path(job.video).stem.partition("-")[0]
    progress("render", 0, 2)
    if kind == "poison":
        write_json(job.item().details, {"schema": 1, "id": "x", "status": "begun"})
        hidden_path(job.output).write_text("half a result")
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "killed" and job.losses < 4:
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hung":
        time.sleep(3600)  # ignores `cancel`
    if kind == "orphan":  # a program of its own that must not survive
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        Path(job.output).with_suffix(".pid").write_text(str(child.pid))
        time.sleep(3600)
    if kind == "bad":
        return _outcome(job, "failed", error="no face", code="NO_FACE", bad_input=True)
    if kind == "full" and not Path(job.output).with_suffix(".room").exists():
        Path(job.output).with_suffix(".room").touch()  # somebody makes room meanwhile
        return _outcome(job, "failed", error="the disk is full", code="DISK_FULL")
    if kind == "memory" and not job.smaller:
        return _outcome(job, "failed", error="no memory", code="OUT_OF_MEMORY")
    for _ in range(int(os.environ.get("HEYGEM_TEST_STEPS", 1))):
        if cancel.is_set():
            return _outcome(job, "cancelled")
        time.sleep(0.02)
    output, record = Path(job.output), Path(job.output).with_suffix(".json")
    known = json.loads(record.read_text()) if record.is_file() else {}
    status = "skipped" if output.is_file() and known.get("sha256") == sha256(output) else "done"
    if status == "done":
        write_text(output, f"{job.id} {os.getpid()}\n")
        time.sleep(0.02)
        write_text(record, json.dumps({"sha256": sha256(output)}))
    models["count"] = models.get("count", 0) + 1
    manifest = {"id": "x", "timings": {"made_by_this_process": models["count"]}}
    return _outcome(job, status, manifest=manifest, output=output, seconds=0.1)


def _outcome(job, status, **more):
    return Outcome(job.name, Path(job.video), status, **more)


def start_worker(queue, *, steps=1, **options):
    """A worker process; `steps` is how long an item takes, in steps of 20 ms."""
    options = {"make": MAKE, "until_empty": True, **options}
    project = Path(heygem.__file__).parents[1]
    environment = os.environ | {
        "PYTHONPATH": f"{TESTS}{os.pathsep}{project}",
        "HEYGEM_TEST_STEPS": str(steps),
    }
    command = [sys.executable, "-c", RUN, str(queue.path), repr(options)]
    return subprocess.Popen(command, env=environment)


def is_alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid):
    """Process ids of the children of a process."""
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def make_and_die_before_the_record(job, models, progress, cancel):
    """As `make_item`, but the first time the process is killed when the file has its name."""
    from heygem.batch.item import details, making, model_cache

    mark = Path(job.output).parent.parent / "died"
    if not mark.exists():

        def die(*_, **__):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

        details.finish = die
    models.setdefault("models", model_cache.ModelCache())
    return making.make_item(job, models["models"], progress, cancel)
