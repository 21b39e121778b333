"""Reading the log: filters, times, torn lines, following across rotations."""

import json
import logging
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from heygem.core import logs
from heygem.core.errors import ParameterError
from heygem.ops import log_view

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def line(message, *, minutes=0, level="INFO", **more):
    """A line of the log, so many minutes after noon."""
    time = (NOON + timedelta(minutes=minutes)).isoformat(timespec="milliseconds")
    content = {"time": time, "level": level, "logger": "heygem.x", "message": message, "pid": 7}
    return json.dumps(content | more, ensure_ascii=False) + "\n"


@pytest.fixture
def log(tmp_path):
    """A log with one rotated file."""
    old = tmp_path / "heygem.log.2026-11-20"
    old.write_text(line("first", item="anna") + line("second", minutes=5, level="ERROR"))
    os.utime(old, (1, 1))
    path = tmp_path / "heygem.log"
    path.write_text(line("third", minutes=10, level="WARNING", item="ben", job="4f"))
    return path


def messages(log, **filters):
    return [r.message for r in log_view.read(log_view.Filter(**filters), log)]


def test_rotated_files_come_before_the_log(log):
    assert messages(log) == ["first", "second", "third"]


def test_records_are_chosen_by_level_item_job_and_time(log):
    assert messages(log, level="WARNING") == ["second", "third"]
    assert messages(log, item="anna") == ["first"]
    assert messages(log, item="4f") == ["third"]
    rotated = log.with_name("heygem.log.2026-11-20")
    os.utime(rotated, (NOON.timestamp() + 360,) * 2)
    assert messages(log, since=NOON + timedelta(minutes=5)) == ["second", "third"]


def test_files_that_are_not_needed_are_not_read(log, monkeypatch):
    lines = []
    parse = log_view.parse_line
    monkeypatch.setattr(log_view, "parse_line", lambda text: lines.append(text) or parse(text))
    assert messages(log, since=NOON) == ["third"]  # the rotated file was last written in 1970
    assert [r.message for r in log_view.newest(log_view.Filter(), 1, log)] == ["third"]
    assert len(lines) == 2
    newest = log_view.newest(log_view.Filter(), 2, log)
    assert [record.message for record in newest] == ["second", "third"]


@pytest.mark.fault
def test_a_record_after_a_torn_one_is_read_and_other_lines_are_shown_as_they_are(log):
    log.write_text(line("torn")[:40] + line("whole") + "2026-11-01 17 of version 0.1\n")
    records = list(log_view.read(path=log))[-2:]
    assert records[0].message == "whole" and records[0].time == NOON
    assert (
        records[1].time is None and log_view.to_text(records[1]) == "2026-11-01 17 of version 0.1"
    )
    assert messages(log, level="INFO")[-1] == "whole"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("30m", NOON - timedelta(minutes=30)),
        ("1.5h", NOON - timedelta(hours=1.5)),
        ("2w", NOON - timedelta(days=14)),
        ("2026-11-21T09:00+00:00", NOON - timedelta(hours=3)),
    ],
)
def test_a_time_is_ago_or_a_date(text, expected):
    assert log_view.parse_since(text, now=NOON) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "5", "99999999999999w"])
def test_what_is_no_time_is_an_error(text):
    with pytest.raises(ParameterError, match="this is no time"):
        log_view.parse_since(text)


def test_a_name_cannot_command_the_terminal(log):
    log.write_text(line("\x1b[2Jgone", data={"code": "NO\nFACE"}, exception="a\n\x1b]0;b"))
    (record,) = log_view.newest(log_view.Filter(), 1, log)
    text = log_view.to_text(record)
    assert "\x1b" not in text and text.count("\n") == 2


@pytest.mark.slow
def test_following_goes_on_across_a_rotation(tmp_path, monkeypatch):
    monkeypatch.setenv("HEYGEM_HOME", str(tmp_path))
    monkeypatch.setattr(logs, "MAX_BYTES", 3000)
    logger = logging.getLogger("heygem")
    before = list(logger.handlers), logger.level, logger.propagate
    logs.start_log()
    logger.info("before")
    written, seen, done = threading.Event(), [], threading.Event()

    def collect():
        for record in log_view.follow(poll_s=0.01, stop=done.is_set):
            seen.append(record.message)
            written.set()

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        while not written.wait(0.05):
            logger.info("begun")
        for number in range(60):
            written.clear()
            logger.info("%d %s", number, "x" * 100)
            assert written.wait(20)
    finally:
        done.set()
        thread.join()
        for handler in set(logger.handlers) - set(before[0]):
            handler.close()
            logger.removeHandler(handler)
        logger.level, logger.propagate = before[1:]
    assert len(log_view.files()) > 2  # it was rotated
    numbers = [text.split()[0] for text in seen if "x" in text]
    assert "before" not in seen and numbers == [str(number) for number in range(60)]


@pytest.mark.slow
def test_the_command_prints_in_a_locale_without_an_encoding(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "heygem.log").write_text(line("嘴", item="安娜"), "utf-8")
    environment = os.environ | {
        "HEYGEM_HOME": str(tmp_path), "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0", "TZ": "UTC",
    }  # fmt: skip
    command = [sys.executable, "-c", "from heygem.cli.main import main; main()", "logs"]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == "2026-11-21 12:00:00 INFO     [安娜] 嘴\n"
    wrong = subprocess.run([*command, "--level", "loud"], env=environment, capture_output=True)
    assert wrong.returncode == 2 and b"unknown level" in wrong.stderr
