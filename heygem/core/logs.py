"""The log file, one-line notices, and the output of compiled libraries."""

import contextlib
import logging
import logging.handlers
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from heygem.core import assets
from heygem.core.errors import Notice
from heygem.core.folders import make_private_folder


def log_file() -> Path:
    """The file that receives warnings and the details of unexpected failures."""
    return assets.home() / "logs" / "heygem.log"


def start_log() -> None:
    """Write heygem's log to `log_file`, and print its notices in one line each.

    Where the file cannot be written, the program goes on without a log.
    """
    logger = logging.getLogger("heygem")
    with contextlib.suppress(OSError):
        make_private_folder(log_file().parent)
        handler = logging.handlers.RotatingFileHandler(
            log_file(), maxBytes=1 << 20, backupCount=3, encoding="utf-8", delay=True
        )
        handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(name)s %(message)s"))
        logger.addHandler(handler)
    logger.propagate = False
    _print_notices_in_one_line()


def _print_notices_in_one_line() -> None:
    """Leave out the source line that Python prints with a warning; other warnings keep theirs."""
    usual = warnings.formatwarning

    def formatted(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if issubclass(category, Notice):
            return f"notice: {message}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = formatted


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Send what compiled libraries write to file descriptor 2 to the log.

    `sys.stderr` of Python still reaches the terminal. The runtime of the face models, for one,
    prints a banner that no setting turns off.
    """
    try:
        sys.stderr.flush()
        make_private_folder(log_file().parent)
        terminal = os.dup(2)
        log = os.open(log_file(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        yield
        return
    usual = sys.stderr
    os.dup2(log, 2)
    os.close(log)
    with os.fdopen(
        terminal, "w", buffering=1, encoding=usual.encoding, errors=usual.errors
    ) as stream:
        sys.stderr = stream
        try:
            yield
        finally:
            sys.stderr = usual
            os.dup2(terminal, 2)
