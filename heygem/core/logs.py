"""The command line's dealings with the terminal: Ctrl-C, the log, and libraries that talk."""

import contextlib
import logging
import logging.handlers
import os
import signal
import sys
import threading
import warnings
from pathlib import Path

from heygem.core import assets
from heygem.core.errors import Notice


@contextlib.contextmanager
def stoppable():
    """An event that the first Ctrl-C sets; a second one ends the program at once."""
    cancel = threading.Event()
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(*_):
        cancel.set()
        for number, handler in usual.items():
            signal.signal(number, handler)

    for number in usual:
        signal.signal(number, stop)
    try:
        yield cancel
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def log_file() -> Path:
    """Where the details of unexpected failures go."""
    return assets.home() / "logs" / "heygem.log"


def start_log():
    """Details to a file, warnings to the terminal; a log that cannot be written is done without."""
    root = logging.getLogger("heygem")
    with contextlib.suppress(OSError):
        log_file().parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            log_file(), maxBytes=1 << 20, backupCount=3, encoding="utf-8", delay=True
        )
        handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(name)s %(message)s"))
        root.addHandler(handler)
    root.propagate = False
    _show_notices_in_one_line()


def _show_notices_in_one_line():
    """Print heygem's own notices without the source line that Python's warnings bring."""
    usual = warnings.formatwarning

    def formatted(message, category, *place):
        if issubclass(category, Notice):
            return f"notice: {message}\n"
        return usual(message, category, *place)

    warnings.formatwarning = formatted


@contextlib.contextmanager
def quiet_libraries():
    """Send what compiled libraries print by themselves to the log; Python's own stderr stays.

    The face models' runtime, for one, announces itself on file descriptor 2.
    """
    try:
        sys.stderr.flush()
        log_file().parent.mkdir(parents=True, exist_ok=True)
        own = os.dup(2)
        log = os.open(log_file(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        yield
        return
    usual = sys.stderr
    os.dup2(log, 2)
    os.close(log)
    with os.fdopen(own, "w", buffering=1, encoding=usual.encoding, errors=usual.errors) as stream:
        sys.stderr = stream
        try:
            yield
        finally:
            sys.stderr = usual
            os.dup2(own, 2)
