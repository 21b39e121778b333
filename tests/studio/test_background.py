"""Work in the background: the newest request replaces all others."""

import threading
from types import SimpleNamespace

import pytest

from heygem.core.errors import Cancelled, InputError
from heygem.studio import background
from heygem.studio.background import LatestTask


def test_a_new_request_replaces_the_running_one():
    task, results, began = LatestTask(), [], threading.Event()

    def slow(progress, cancel):
        began.set()
        if cancel.wait(10):
            raise Cancelled("stopped")
        return "slow"

    task.submit(slow, results.append)
    assert began.wait(5)
    for name in ("dropped", "newest"):
        task.submit(lambda progress, cancel, name=name: name, results.append)
    assert task.wait(5)
    assert results == ["newest"] or results == ["dropped", "newest"]
    assert not task.busy and task.error is None


def test_cancelling_stops_the_work_and_is_no_error():
    task, results, began = LatestTask(), [], threading.Event()

    def endless(progress, cancel):
        began.set()
        cancel.wait(30)
        raise Cancelled("stopped")

    task.submit(endless, results.append)
    assert began.wait(5)
    task.cancel()
    assert task.wait(5), "long before the work would have ended"
    assert task.stopped and results == [] and task.error is None


def test_an_error_stays_until_the_next_request():
    task = LatestTask()

    def broken(progress, cancel):
        raise InputError("the file is odd", seen="7 bytes", remedy="take another")

    task.submit(broken)
    assert task.wait(5) and isinstance(task.error, InputError)
    task.submit(lambda progress, cancel: None)
    assert task.wait(5) and task.error is None


def test_progress_estimates_the_time_left(monkeypatch):
    clock_s = iter([100.0, 102.0])
    monkeypatch.setattr(background, "time", SimpleNamespace(monotonic=lambda: next(clock_s)))
    task, estimates = LatestTask(), []
    task.observe(lambda change: estimates.append(change["new"]), "remaining_s")

    def work(progress, cancel):
        progress("render", 0, 10)
        progress("render", 4, 10)

    task.submit(work)
    assert task.wait(5)
    assert estimates == [pytest.approx(3.0), 0.0], "6 steps at half a second each, then none"
