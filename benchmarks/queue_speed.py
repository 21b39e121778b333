"""Time and memory of the queue with thousands of items.

    python benchmarks/queue_speed.py [--items 5000]

Prints the median of ten for each operation. Processor time is given beside the time, because other
programs on the machine do not change it.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from heygem.batch.items import plan_items
from heygem.batch.outcome import Outcome
from heygem.batch.queue import JobQueue
from heygem.config.params import Params


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=5000)
    count = parser.parse_args().items
    with tempfile.TemporaryDirectory() as folder:
        queue = JobQueue(Path(folder) / "queue.db")
        inputs = {"videos": [f"/v/{k}.mp4" for k in range(count)], "audio": "/v/a.wav"}
        items = plan_items(Params.from_dict({"inputs": inputs | {"output": folder}}))
        _print("add all", [_timed(lambda: queue.add(items))])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _repeat("list all", queue.jobs)
        _repeat("list a page of 100", lambda: queue.jobs(limit=100, offset=count // 2))
        _repeat("count", queue.counts)
        _repeat("totals", queue.totals)

        def make_one() -> None:
            job = queue.claim("w")
            assert job is not None
            queue.heartbeat(job.id, "w", {"stage": "render"})
            queue.finish(job.id, "w", Outcome(job.name, Path(job.video), "done"))

        _repeat("claim, heartbeat and finish", make_one)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = queue.path.stat().st_size
        print(f"peak memory while listing: +{(after - before) / 1024:.0f} MiB")
        print(f"database: {size / 1e6:.1f} MB")


def _timed(action: Callable[[], object]) -> tuple[float, float]:
    """Time and processor time of a call [s]."""
    began, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - began, time.process_time() - processor


def _repeat(name: str, action: Callable[[], object]) -> None:
    _print(name, [_timed(action) for _ in range(10)])


def _print(name: str, times: list[tuple[float, float]]) -> None:
    wall, processor = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    print(f"{name}: {wall:.1f} ms, {processor:.1f} ms of processor time")


if __name__ == "__main__":
    main()
