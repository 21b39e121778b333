"""Ctrl-C and termination signals as an event that long work looks at."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second one ends the program at once.

    Only the main thread of a program may install signal handlers, so call it there.
    """
    cancel = threading.Event()
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def stop(_number: int, _frame: FrameType | None) -> None:
        cancel.set()
        restore()

    for number in previous:
        signal.signal(number, stop)
    try:
        yield cancel
    finally:
        restore()
