"""Reading the log that `heygem.core.logs` writes, also while it is written and rotated."""

import json
import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from heygem.core import logs
from heygem.core.errors import ParameterError

POLL_S = 0.3
_FIRST_KEY = '{"time": "'
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Record:
    """One record of the log.

    Attributes
    ----------
    time : datetime or None
        UTC; None for a line that is no record: what an earlier version wrote, or a torn line.
    level, logger, message : str
    pid : int
    item, job : str
        The item that was being made, and its id in the queue; "" for none.
    data : dict
        Numbers and codes that belong to the message.
    exception : str
        Traceback; "" without one.
    line : str
        As it stands in the file.
    """

    time: datetime | None
    level: str
    logger: str
    message: str
    pid: int = 0
    item: str = ""
    job: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    exception: str = ""
    line: str = field(default="", repr=False)


@dataclass(frozen=True)
class Filter:
    """Which records to read.

    Attributes
    ----------
    level : str
        The least serious one; one of `heygem.core.logs.LEVELS`.
    item : str
        Name of the item or its id in the queue; "" for all records.
    since : datetime or None
        The earliest time.
    """

    level: str = "DEBUG"
    item: str = ""
    since: datetime | None = None

    def __call__(self, record: Record) -> bool:
        """Whether a record is selected; a line that is no record is, if everything is."""
        if record.time is None:
            return self == Filter()
        levels = logging.getLevelNamesMapping()
        if levels.get(record.level, 0) < levels[self.level]:
            return False
        if self.item and self.item not in (record.item, record.job):
            return False
        return self.since is None or record.time >= self.since


def parse_line(line: str) -> Record:
    """The record in a line; after a torn record (a full disk), the whole one at its end."""
    line = line.rstrip("\n")
    for text in (line, line[max(line.rfind(_FIRST_KEY), 0) :]):
        try:
            content = json.loads(text)
            return Record(
                time=datetime.fromisoformat(content["time"]).astimezone(UTC),
                level=str(content["level"]),
                logger=str(content["logger"]),
                message=str(content["message"]),
                pid=int(content.get("pid", 0)),
                item=str(content.get("item", "")),
                job=str(content.get("job", "")),
                data=dict(content.get("data", {})),
                exception=str(content.get("exception", "")),
                line=text,
            )
        except (ValueError, KeyError, TypeError):
            continue
    return Record(None, "INFO", "", line, line=line)


def files(path: Path | None = None) -> list[Path]:
    """The log and its rotated files, oldest first."""
    path = path if path is not None else logs.log_file()
    paths = [each for each in path.parent.glob(f"{path.name}*") if each.is_file()]
    return sorted(paths, key=lambda each: (each == path, each.stat().st_mtime_ns))


def read(selection: Filter = Filter(), path: Path | None = None) -> Iterator[Record]:  # noqa: B008
    """Records of the log, oldest first.

    Parameters
    ----------
    selection : Filter
        Which records are yielded; rotated files that end before its time are not opened.
    path : path, optional
        The log; default: `heygem.core.logs.log_file`. Its rotated files are read too.
    """
    for file in files(path):
        yield from _records(file, selection)


def newest(selection: Filter, count: int, path: Path | None = None) -> list[Record]:
    """The last of the selected records, oldest first; reads no more files than it needs."""
    records: list[Record] = []
    for file in reversed(files(path)):
        if len(records) >= count:
            break
        missing = count - len(records)
        records = [*deque(_records(file, selection), maxlen=missing), *records]
    return records


def _records(file: Path, selection: Filter) -> Iterator[Record]:
    try:
        if selection.since is not None and file.stat().st_mtime < selection.since.timestamp():
            return
        stream = open(file, encoding="utf-8", errors="replace")
    except FileNotFoundError:  # removed by a rotation just now
        return
    with stream:
        yield from filter(selection, map(parse_line, stream))


def follow(
    selection: Filter = Filter(),  # noqa: B008
    path: Path | None = None,
    *,
    poll_s: float = POLL_S,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Record]:
    """Records that are written from now on, across rotations; ends when `stop()` is true.

    Parameters
    ----------
    selection, path
        See `read`.
    poll_s : float
        How often to look [s].
    stop : callable
    """
    path = path if path is not None else logs.log_file()
    stream = _opened(path)
    if stream is not None:
        stream.seek(0, os.SEEK_END)
    rest = ""
    while True:
        is_last = stop()
        text = stream.read() if stream is not None else ""
        *lines, rest = (rest + text).split("\n")
        yield from filter(selection, map(parse_line, lines))
        if stream is None or (not text and _was_rotated(stream, path)):
            following = _opened(path)
            if following is not None:
                if stream is not None:
                    stream.close()
                stream, rest = following, ""
                continue
        if is_last and not text:
            return
        if not text:
            time.sleep(poll_s)


def _opened(path: Path) -> IO[str] | None:
    try:
        return open(path, encoding="utf-8", errors="replace", newline="\n")
    except FileNotFoundError:
        return None


def _was_rotated(stream: IO[str], path: Path) -> bool:
    """Whether the name belongs to another file by now."""
    try:
        return not os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False  # between two steps of a rotation


def parse_since(text: str, *, now: datetime | None = None) -> datetime:
    """A time from "2h" (before now; s, m, h, d, w) or "2026-11-21 22:00" (local time), as UTC.

    Raises
    ------
    ParameterError
    """
    now = now if now is not None else datetime.now(UTC)
    ago = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        return datetime.fromisoformat(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ParameterError(
            "this is no time", seen=text, remedy="give 30m, 2h, 1d or 2026-11-21T22:00"
        ) from error


def to_text(record: Record) -> str:
    """A record for people, in local time: a line, and a traceback below it; no control codes."""
    if record.time is None:
        return printable(record.message)
    local = record.time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    about = f"[{record.item}] " if record.item else ""
    facts = "".join(f"  {key}={value}" for key, value in record.data.items())
    line = printable(f"{local} {record.level:8} {about}{record.message}{facts}")
    trace = [f"    {printable(each)}" for each in record.exception.splitlines()]
    return "\n".join([line, *trace])


def printable(text: str) -> str:
    """Text without what a terminal would obey: control characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
