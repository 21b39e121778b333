"""Ctrl-C sets an event first, and has its usual effect the second time."""

import os
import signal

import pytest

from heygem.core.interrupts import stoppable


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
