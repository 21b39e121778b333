"""A worker that a page starts and that outlives it, and what the page shows of it."""

import os
import subprocess
import sys
from typing import Any

import psutil

from heygem.batch.queue import JobQueue
from heygem.batch.workers.child import open_log

LOG = "worker.log"  # beside the queue's database


def start(queue: Any) -> None:
    """End a pause, and start a worker if none runs and a job waits.

    Parameters
    ----------
    queue : JobQueue or another queue
        One that is not in a database of this machine has workers of its own.
    """
    if not isinstance(queue, JobQueue):
        return
    queue.resume()
    if queue.is_open() and not queue.workers():
        start_worker(queue)


def start_worker(queue: JobQueue) -> None:
    """Start a worker process that ends by itself when it has been idle for some minutes."""
    with open_log(queue.path.with_name(LOG)) as log:
        subprocess.Popen(
            [sys.executable, "-m", "heygem.batch.workers.worker", str(queue.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Its own session: neither closing the page nor Ctrl-C stops it.
            start_new_session=True,
        )


def worker_state(queue: Any) -> tuple[str, float]:
    """Whether workers are "busy", "idle" (models loaded, no jobs) or "none", and their memory [GB].

    Memory is that of the workers on this machine and of the processes that make the items.
    """
    workers = queue.workers()
    if not workers:
        return "none", 0.0
    gigabytes = 0.0
    for worker in workers:
        if worker.process.get("host") == os.uname().nodename:
            gigabytes += _memory_gb(int(worker.process["pid"]))
    return "busy" if any(worker.job for worker in workers) else "idle", gigabytes


def _memory_gb(pid: int) -> float:
    """Resident memory of a process and its children [GB]."""
    try:
        process = psutil.Process(pid)
        members = [process, *process.children(recursive=True)]
        return sum(float(member.memory_info().rss) for member in members) / 1e9
    except psutil.Error:  # it ended just now
        return 0.0
