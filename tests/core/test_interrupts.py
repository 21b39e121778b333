"""Ctrl-C sets an event first, and has its usual effect the second time or when nothing listens."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from heygem.core import interrupts
from heygem.core.errors import Cancelled
from heygem.core.interrupts import cancellation, raise_if_cancelled, stoppable


def test_the_first_interrupt_sets_the_event_and_the_second_raises():
    with pytest.raises(KeyboardInterrupt):
        with stoppable() as cancel:
            assert not cancel.is_set()
            os.kill(os.getpid(), signal.SIGINT)
            assert cancel.is_set()
            os.kill(os.getpid(), signal.SIGINT)


def test_the_usual_handlers_are_back_afterwards():
    usual = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert signal.getsignal(signal.SIGINT) != usual[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == usual


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["usual", "ignored"])
def handler(request):
    """Of SIGINT: the usual one, and the one that a shell gives to a program in the background."""
    before = signal.signal(signal.SIGINT, request.param)
    yield request.param
    signal.signal(signal.SIGINT, before)


@pytest.mark.fault
def test_work_that_does_not_look_is_interrupted_where_it_is(monkeypatch, handler):
    monkeypatch.setattr(interrupts, "GRACE_S", 0.05)
    never = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        with stoppable():
            os.kill(os.getpid(), signal.SIGTERM)
            never.wait(60)
    assert signal.getsignal(signal.SIGINT) == handler


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_that_cannot_be_interrupted_ends_all_the_same(number):
    program = """if True:
        import time
        from heygem.core import interrupts
        interrupts.GRACE_S, interrupts.LIMIT_S = 0.1, 0.3
        with interrupts.stoppable():
            print("ready", flush=True)
            while True:
                try:
                    time.sleep(60)
                except KeyboardInterrupt:
                    pass
        """
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(60) == interrupts.EXIT_CODE


@pytest.mark.slow
def test_work_that_ends_in_order_is_left_alone(monkeypatch):
    monkeypatch.setattr(interrupts, "GRACE_S", 0.2)
    with stoppable() as cancel:
        os.kill(os.getpid(), signal.SIGTERM)
        assert cancel.wait(1)
    time.sleep(0.4)  # an interrupt now would fail this test


def test_loops_look_at_the_event_of_the_work_they_are_a_part_of():
    inner, outer = threading.Event(), threading.Event()
    raise_if_cancelled()  # outside of any work: nothing to look at
    with cancellation(outer):
        with cancellation(inner):
            outer.set()
            raise_if_cancelled()
        with pytest.raises(Cancelled):
            raise_if_cancelled()
    raise_if_cancelled()
