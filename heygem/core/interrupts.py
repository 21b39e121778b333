"""Stopping long work: Ctrl-C and termination signals as an event, and the event in inner loops.

Work is stopped in three steps. Loops look at the event with `raise_if_cancelled` and end in order.
What has not ended `GRACE_S` after the signal is interrupted where it is, as Ctrl-C interrupts a
program without handlers. What has not ended `LIMIT_S` after it, because it waits for something that
does not come, ends without cleaning up, like a killed program; what that leaves is removed by the
next run.
"""

import contextlib
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextvars import ContextVar
from types import FrameType
from typing import Any, ParamSpec, TypeVar, cast

from heygem.core.errors import Cancelled

P = ParamSpec("P")
T = TypeVar("T")

GRACE_S = 4.0
LIMIT_S = 8.0
POLL_S = 0.1  # between two looks at the event, where something is waited for
EXIT_CODE = 130  # of a program that was stopped, by the custom of shells

_current: ContextVar[threading.Event | None] = ContextVar("cancel", default=None)


class StopEvent(threading.Event):
    """A cancellation that says whether the work is to continue later.

    Attributes
    ----------
    keeps_work : bool
        Whether finished parts of long work are kept for the next run: the program is ending, and
        nobody has asked to give the work up.
    """

    keeps_work = False


@contextlib.contextmanager
def cancellation(cancel: threading.Event | None) -> Iterator[None]:
    """Within the block, `raise_if_cancelled` of this thread looks at `cancel`, if there is one.

    An event of its own that nobody sets protects what must be finished once it has begun.
    """
    token = _current.set(cancel if cancel is not None else _current.get())
    try:
        yield
    finally:
        _current.reset(token)


def observes_cancel(function: Callable[P, T]) -> Callable[P, T]:
    """Decorator: while the function runs, loops look at its keyword argument `cancel`."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with cancellation(cast(threading.Event | None, kwargs.get("cancel"))):
            return function(*args, **kwargs)

    return call


def is_cancelled() -> bool:
    """Whether the work that this is a part of was cancelled."""
    cancel = _current.get()
    return cancel is not None and cancel.is_set()


def work_is_given_up() -> bool:
    """Whether the work was cancelled for good; False also where it is to continue later."""
    return is_cancelled() and not getattr(_current.get(), "keeps_work", False)


def raise_if_cancelled() -> None:
    """Look whether the work that this is a part of was cancelled; for loops that may run long.

    Raises
    ------
    Cancelled
    """
    if is_cancelled():
        raise Cancelled("stopped on request", remedy="run it again to make it")


def wait_for(future: Future[Any]) -> None:
    """Wait until it is done, or the work that this is a part of is cancelled.

    Raises
    ------
    Cancelled
    """
    while not wait([future], timeout=POLL_S).done:
        raise_if_cancelled()


@contextlib.contextmanager
def stoppable() -> Iterator[StopEvent]:
    """An event that the first SIGINT or SIGTERM sets; the second one ends the program at once.

    Finished parts of long work are kept.

    Only the main thread of a program may install signal handlers, so call it there.
    """
    cancel, ended = StopEvent(), threading.Event()
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def stop(_number: int, _frame: FrameType | None) -> None:
        cancel.keeps_work = True
        cancel.set()
        restore()
        if previous[signal.SIGINT] is signal.SIG_IGN:  # as in a shell's background jobs
            signal.signal(signal.SIGINT, signal.default_int_handler)  # `_insist` sends it
        threading.Thread(target=_insist, args=(ended,), name="insist", daemon=True).start()

    for number in previous:
        signal.signal(number, stop)
    try:
        yield cancel
    finally:
        ended.set()
        restore()


def _insist(ended: threading.Event) -> None:
    """Interrupt the main thread if it continues, then end the program."""
    if ended.wait(GRACE_S):
        return
    # A real signal, which also wakes a main thread that waits for a lock.
    os.kill(os.getpid(), signal.SIGINT)
    if not ended.wait(LIMIT_S - GRACE_S):
        os._exit(EXIT_CODE)
