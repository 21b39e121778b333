"""Cancellation of work in a thread."""

import threading

import pytest

from heygem.core.errors import Cancelled
from heygem.finetune.cancellation import CancellableProgress


@pytest.mark.slow
def test_a_cancellation_does_not_wait_for_the_work():
    cancel, started, release = threading.Event(), threading.Event(), threading.Event()
    progress = CancellableProgress(None, cancel)
    ended, threads = [], []

    def work():
        threads.append(threading.current_thread())
        started.set()
        release.wait()
        try:
            progress("late", 0, 1)
        except Cancelled:
            ended.append(True)

    threading.Thread(target=lambda: started.wait() and cancel.set()).start()
    with pytest.raises(Cancelled):  # raised although the work would wait for ever
        progress.run(work)
    release.set()
    threads[0].join(5)
    assert ended  # the abandoned thread ends at its next report


def test_results_and_errors_of_the_work_are_passed_on():
    progress = CancellableProgress(None, None)
    assert progress.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        progress.run(lambda: 1 / 0)


def test_reports_are_passed_on_until_a_cancellation():
    reports, cancel = [], threading.Event()
    progress = CancellableProgress(lambda *report: reports.append(report), cancel)
    progress("track", 1, 2)
    cancel.set()
    with pytest.raises(Cancelled):
        progress("track", 2, 2)
    assert reports == [("track", 1, 2)]
