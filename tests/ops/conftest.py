"""Fixtures of the operator's tests: a queue with a night's work, and records of their own."""

from pathlib import Path

import pytest

from heygem.batch.items import plan_items
from heygem.batch.outcome import Outcome
from heygem.batch.queue import JobQueue
from heygem.config.params import Params

REASON = {"what": "no face <b>was</b> found | anywhere", "remedy": "use a frontal video"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A HEYGEM_HOME and HEYGEM_RECORDS of its own."""
    monkeypatch.setenv("HEYGEM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    return tmp_path / "home"


@pytest.fixture
def queue(tmp_path, monkeypatch, home):
    """An empty queue, which is the project's for this test."""
    path = tmp_path / "queue.db"
    monkeypatch.setenv("HEYGEM_QUEUE", str(path))
    return JobQueue(path)


@pytest.fixture
def add(queue, tmp_path):
    """Add items that speak for ten seconds; returns their jobs."""

    def add_items(*names, **more):
        videos = [str(tmp_path / f"{name}.mp4") for name in names]
        inputs = {"videos": videos, "text": "a" * 150, "output": str(tmp_path / "out")}
        return queue.add(plan_items(Params.from_dict({"inputs": inputs})), **more)

    return add_items


@pytest.fixture
def work_off(queue):
    """Take the next job and finish it: with seconds, or with a code as failed."""

    def finish(seconds=None, code="", **more):
        job = queue.claim("w")
        made = {"timings": {"track_s": seconds / 4, "render_s": seconds / 2}} if seconds else {}
        outcome = Outcome(
            job.name, Path(job.video), "failed" if code else "done", code=code,
            error=REASON["what"] if code else "", reason=REASON if code else {},
            seconds=seconds or 1.0, manifest=made, **more,
        )  # fmt: skip
        return queue.finish(job.id, "w", outcome)

    return finish


@pytest.fixture
def night(add, work_off):
    """Twenty items made in 1 to 20 s, one there already, two failed, two pending."""
    add(*(f"p{k:02}" for k in range(25)), owner="anna", batch="night")
    for seconds in range(1, 21):
        work_off(float(seconds))
    work_off()
    work_off(code="NO_FACE")
    work_off(code="NO_FACE")
