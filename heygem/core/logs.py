"""Logs: one JSON object a line, in one file that several processes share, and beside each result.

`log_file` is rotated each night and when it is large, under a lock of its own, so that workers,
studio and command line may write it at the same time. It is UTF-8 in any locale and readable by
its owner only. At the default level folders are left out of what is logged, because they name
people; `HEYGEM_LOG_LEVEL=DEBUG` keeps them. Read it with `heygem logs`.
"""

import contextlib
import json
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from heygem.core.errors import Notice
from heygem.core.folders import home, make_private_folder

RUN_LOG = "log.jsonl"  # in an item's folder of details
MAX_BYTES = 8 << 20  # of one file; then it is rotated
MAX_FILES = 14  # rotated files that are kept: two weeks at most
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_MAX_RUN_LOG_BYTES = 1 << 20
_MAX_WAITING = 1000  # records of an item that has no folder yet
_PRIVATE = 0o600
_PACKAGES = re.compile(r"/\S*?/(?:site|dist)-packages/")
_OWN_CODE = str(Path(__file__).parents[2]) + "/"
_FOLDERS = re.compile(r"(?<![\w./:-])~?(?:/[^/\s'\":;,()<>\[\]]+)+/(?=[^/\s])")


class Run:
    """The making of one item, as far as its log is concerned.

    Records are held back until the item has a folder: an item that is refused before any work
    leaves none.

    Attributes
    ----------
    item : str
        Name of the item.
    job : str
        Its id in the queue; "" outside of one.
    """

    def __init__(self, item: str, job: str, folder: Path | None) -> None:
        self.item = item
        self.job = job
        self._path = folder / RUN_LOG if folder is not None else None
        self._size_before: int | None = None
        self._waiting: list[str] = []
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        """Append a line to the log in the item's folder, or hold it back; never raises OSError."""
        if self._path is None:
            return
        with self._lock:
            self._waiting = [*self._waiting[-_MAX_WAITING:], line]
            with contextlib.suppress(OSError):
                if self._path.parent.is_dir():
                    text = "".join(f"{each}\n" for each in self._waiting)
                    before = _append_private(self._path, text)
                    if self._size_before is None:
                        self._size_before = before
                    self._waiting = []

    def discard(self) -> None:
        """Take back what was written to the log in the item's folder: the item leaves nothing."""
        path, self._path = self._path, None
        if path is not None and self._size_before is not None:
            with contextlib.suppress(OSError):
                if self._size_before:
                    os.truncate(path, self._size_before)
                else:
                    path.unlink()


_current: ContextVar[Run | None] = ContextVar("run", default=None)
_active: list[Run] = []  # in this process; a thread without a context belongs to the only one


class JsonLines(logging.Formatter):
    """One JSON object for each record: time (UTC), level, logger, message, pid; item, job, data.

    Parameters
    ----------
    keep_paths : bool
        Whether file names keep their folders.
    """

    def __init__(self, *, keep_paths: bool = False) -> None:
        super().__init__()
        self._keep_paths = keep_paths

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of UTF-8 text; `data` is what `extra={"data": ...}` gave."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._text(record.getMessage()),
            "pid": record.process,
        }
        run = _run_of()
        if run is not None:
            content |= {"item": run.item} | ({"job": run.job} if run.job else {})
        data = getattr(record, "data", None)
        if isinstance(data, dict):
            content["data"] = data
        if record.exc_info:
            content["exception"] = self._text(self.formatException(record.exc_info))
        line = json.dumps(content, ensure_ascii=False, default=lambda value: self._text(str(value)))
        # Names that are not UTF-8 hold lone surrogates; JSON reads their escape as the same.
        return line.encode("utf-8", "backslashreplace").decode()

    def _text(self, text: str) -> str:
        return text if self._keep_paths else without_folders(text)


class _RunHandler(logging.Handler):
    """Passes the records of a run to its log."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def emit(self, record: logging.LogRecord) -> None:
        if _run_of() is self._run:
            self._run.write(self.format(record))


def log_file() -> Path:
    """The file that receives what happens, warnings, and the details of unexpected failures."""
    return home() / "logs" / "heygem.log"


def library_log() -> Path:
    """The file that receives what compiled libraries and kernels print."""
    return home() / "logs" / "libraries.log"


def start_log(*, show_warnings: bool = False) -> None:
    """Write heygem's log to `log_file`, and print its notices in one line each.

    A second call changes nothing, unless `HEYGEM_HOME` is another one by now. Where the file cannot
    be written, the program continues without.

    Parameters
    ----------
    show_warnings : bool
        Whether warnings are printed too, as Python does where no log was set up; for notebooks.
    """
    logger = logging.getLogger("heygem")
    for handler in logger.handlers[:]:
        if isinstance(handler, logging.FileHandler):
            if handler.baseFilename == str(log_file().absolute()):
                break
            logger.removeHandler(handler)
            handler.close()
    else:
        with contextlib.suppress(OSError):
            make_private_folder(log_file().parent)
            _add_handler(logger, _LogFile(log_file()))
    if show_warnings and logging.lastResort is not None:
        logger.addHandler(logging.lastResort)
    logger.setLevel(_level())
    logger.propagate = False
    _print_notices_in_one_line()


@contextlib.contextmanager
def recorded(item: str, *, job: str = "", folder: Path | None = None) -> Iterator[Run]:
    """What is logged within the block carries the item's name, and goes to its folder too.

    Parameters
    ----------
    item, job
        See `Run`.
    folder
        Of the item's details, which need not be there yet; None: no log beside the result.
    """
    run = Run(item, job, folder)
    token = _current.set(run)
    _active.append(run)
    logger, handler = logging.getLogger("heygem"), _RunHandler(run)
    try:
        with logger_set_up():
            _add_handler(logger, handler)
            yield run
    finally:
        logger.removeHandler(handler)
        _active.remove(run)
        _current.reset(token)


@contextlib.contextmanager
def logger_set_up() -> Iterator[None]:
    """Within the block, what happens is logged also where a script has not started the log.

    Put it around runs of several threads: the first that ends would restore the level for all.
    """
    logger = logging.getLogger("heygem")
    level = logger.level
    usual = None if logger.hasHandlers() else logging.lastResort
    if level == logging.NOTSET:
        logger.setLevel(_level())
    if usual is not None:  # warnings are still printed
        logger.addHandler(usual)
    try:
        yield
    finally:
        if usual is not None:
            logger.removeHandler(usual)
        logger.setLevel(level)


def _add_handler(logger: logging.Logger, handler: logging.Handler) -> None:
    handler.setFormatter(JsonLines(keep_paths=_level() <= logging.DEBUG))
    logger.addHandler(handler)


def without_folders(text: str) -> str:
    """Text in which file names have lost their folders; paths of code keep the package's part."""
    text = _PACKAGES.sub("", text).replace(_OWN_CODE, "")
    return _FOLDERS.sub("…/", text)


class _LogFile(logging.FileHandler):
    """A shared file that is opened, and its library loaded, with the first record."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self._file: logging.Handler | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self._file is None:
            try:
                self._file = _shared_file(Path(self.baseFilename))
            except OSError:
                return self.handleError(record)
            self._file.setFormatter(self.formatter)
        self._file.emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A full disk or a lost folder costs the record, never the work."""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


def _shared_file(path: Path) -> logging.Handler:
    """Appends to a file that other processes append to, and rotates it, under a lock."""
    from concurrent_log_handler import ConcurrentTimedRotatingFileHandler

    class SharedFile(ConcurrentTimedRotatingFileHandler):
        def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
            """A full disk or a lost folder costs the record, never the work."""

    return SharedFile(
        path,
        when="midnight",
        utc=True,
        maxBytes=MAX_BYTES,
        backupCount=MAX_FILES,
        encoding="utf-8",
        chmod=_PRIVATE,
    )


def _run_of() -> Run | None:
    """The run of the thread that logs; of another thread, the only one in this process."""
    run = _current.get()
    return run if run is not None or len(_active) != 1 else _active[0]


def _level() -> int:
    """From `HEYGEM_LOG_LEVEL`; INFO where that is none of `LEVELS`."""
    name = os.environ.get("HEYGEM_LOG_LEVEL", "INFO").upper()
    return logging.getLevelNamesMapping()[name if name in LEVELS else "INFO"]


def _append_private(path: Path, text: str) -> int:
    """Append to a file, which begins anew when it is large; returns its size before [bytes]."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _PRIVATE), "wb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > _MAX_RUN_LOG_BYTES:
            stream.truncate(size := 0)
        stream.write(text.encode())
    return size


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


def open_library_log() -> int:
    """A descriptor that appends to `library_log`, which begins anew when it is large.

    Raises
    ------
    OSError
    """
    path = library_log()
    make_private_folder(path.parent)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > MAX_BYTES:
            os.replace(path, path.with_name(path.name + ".1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _PRIVATE)


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Send what compiled libraries write to file descriptor 2 to `library_log`.

    `sys.stderr` of Python still reaches the terminal. The runtime of the face models, for one,
    prints a banner that no setting turns off. Threads may be in it at once: the first one redirects
    the descriptor, the last one puts it back.
    """
    try:
        _redirection.enter()
    except OSError:  # a full disk: the libraries stay loud
        yield
        return
    try:
        yield
    finally:
        _redirection.leave()


class _Redirection:
    """The redirected file descriptor 2, and how many have asked for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._usual = sys.stderr
        self._terminal: TextIO | None = None

    def enter(self) -> None:
        with self._lock:
            if self._count == 0:
                self._usual = sys.stderr
                self._usual.flush()
                log = open_library_log()
                self._terminal = os.fdopen(
                    os.dup(2),
                    "w",
                    buffering=1,
                    encoding=self._usual.encoding,
                    errors=self._usual.errors,
                )
                os.dup2(log, 2)
                os.close(log)
                sys.stderr = self._terminal
            self._count += 1

    def leave(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count == 0 and self._terminal is not None:
                sys.stderr = self._usual
                self._terminal.flush()
                os.dup2(self._terminal.fileno(), 2)
                self._terminal.close()


_redirection = _Redirection()
