"""The log file, one-line notices, and output of compiled libraries."""

import json
import logging
import os
import subprocess
import sys
import threading
import warnings

import pytest
from helpers import killing

from heygem.core import logs
from heygem.core.errors import Notice


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A log of its own; the process's logging is put back afterwards."""
    monkeypatch.setenv("HEYGEM_HOME", str(tmp_path))
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    logger = logging.getLogger("heygem")
    before = list(logger.handlers), logger.propagate
    yield tmp_path
    for handler in set(logger.handlers) - set(before[0]):
        handler.close()
        logger.removeHandler(handler)
    logger.propagate = before[1]


def printed_errors(code, home, **environment):
    """What a process of its own prints to stderr; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"HEYGEM_HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


def test_only_this_user_can_read_the_log(home):
    logs.start_log()
    assert logs.log_file().parent.stat().st_mode & 0o777 == 0o700


def test_warnings_go_to_the_log_file(home):
    logs.start_log()
    logging.getLogger("heygem.test").warning("disk is slow")
    assert logs.log_file().is_relative_to(home)
    (line,) = logs.log_file().read_text().splitlines()
    record = json.loads(line)
    assert (record["logger"], record["message"]) == ("heygem.test", "disk is slow")
    assert (record["level"], record["pid"]) == ("WARNING", os.getpid())
    assert logs.log_file().stat().st_mode & 0o777 == 0o600


def test_a_notice_is_one_line_and_other_warnings_keep_their_form(home):
    logs.start_log()
    assert warnings.formatwarning("a is b now", Notice, "heygem", 0) == "notice: a is b now\n"
    assert "x.py:3: UserWarning: c" in warnings.formatwarning("c", UserWarning, "x.py", 3)


def test_file_descriptor_2_goes_to_the_log_and_python_to_the_terminal(tmp_path):
    code = (
        "import os, sys\n"
        "from heygem.core import logs\n"
        "with logs.quiet_libraries():\n"
        "    os.write(2, b'banner of a library\\n')\n"
        "    print('from Python', file=sys.stderr)\n"
        "os.write(2, b'afterwards\\n')\n"
    )
    assert printed_errors(code, tmp_path).splitlines() == ["from Python", "afterwards"]
    assert (tmp_path / "logs" / "libraries.log").read_text() == "banner of a library\n"


def test_threads_that_overlap_leave_the_terminal_as_it_was(tmp_path):
    """The one that redirected first ends first, as two pages of the studio do."""
    code = (
        "import os, sys\n"
        "from heygem.core import logs\n"
        "first, second = logs.quiet_libraries(), logs.quiet_libraries()\n"
        "first.__enter__(), second.__enter__()\n"
        "first.__exit__(None, None, None)\n"
        "os.write(2, b'banner\\n')\n"
        "second.__exit__(None, None, None)\n"
        "print('from Python', file=sys.stderr)\n"
        "os.write(2, b'afterwards\\n')\n"
    )
    assert printed_errors(code, tmp_path).splitlines() == ["from Python", "afterwards"]


def write_records(folder, writer, count, size=200):
    """Log `count` numbered records of about `size` letters; runs in a child process."""
    os.environ["HEYGEM_HOME"] = str(folder)
    logs.MAX_BYTES = 20_000
    logs.start_log()
    logger = logging.getLogger("heygem.test")
    for number in range(count):
        logger.info("%s", "x" * size, extra={"data": {"writer": writer, "number": number}})


def read_records(folder):
    """All records of a log and its rotated files; fails on a line that is no record."""
    paths = (folder / "logs").glob("heygem.log*")
    return [json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines()]


@pytest.mark.slow
@pytest.mark.fault
def test_no_record_is_lost_or_torn_while_four_processes_rotate_the_log(home):
    errors = killing.run_at_once(lambda k: write_records(home, k, 100), 4)
    assert not any(errors)
    assert len(list((home / "logs").glob("heygem.log*"))) > 3  # it was rotated
    numbers = {(r["data"]["writer"], r["data"]["number"]) for r in read_records(home)}
    assert numbers == {(writer, number) for writer in range(4) for number in range(100)}
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in (home / "logs").glob("heygem.log*"))


@pytest.mark.fault
@pytest.mark.parametrize("at_operation", [4, 5, 6, 7, 8, 9])
@pytest.mark.slow
def test_a_writer_that_is_killed_while_it_rotates_loses_nothing(home, at_operation):
    write_records(home, 0, 50)
    before = len(read_records(home))
    close_handlers()
    assert killing.run_killed(lambda: write_records(home, 1, 120), at_operation)
    write_records(home, 2, 5)
    records = read_records(home)
    assert [r["data"]["number"] for r in records if r["data"]["writer"] == 0] == list(range(before))
    assert sum(r["data"]["writer"] == 2 for r in records) == 5


@pytest.mark.fault
def test_the_program_goes_on_where_the_log_cannot_be_written(home):
    logs.start_log()
    (home / "logs" / "heygem.log").unlink(missing_ok=True)
    (home / "logs" / "heygem.log").mkdir()
    logging.getLogger("heygem.test").warning("nowhere to go")


def close_handlers():
    logger = logging.getLogger("heygem")
    for handler in logger.handlers[:]:
        if isinstance(handler, logging.FileHandler):
            logger.removeHandler(handler)
            handler.close()


@pytest.mark.slow
def test_the_log_is_utf8_in_a_locale_that_is_not(tmp_path):
    code = (
        "import logging\n"
        "from heygem.core import logs\n"
        "logs.start_log()\n"
        "logging.getLogger('heygem').warning('\\u5634 %s', 'caf\\udce9.mp4')\n"
    )
    ascii_only = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert printed_errors(code, tmp_path, **ascii_only) == ""
    (record,) = read_records(tmp_path)
    assert record["message"] == "嘴 caf\udce9.mp4"


def test_folders_are_left_out_at_the_default_level_and_kept_for_debugging(home, monkeypatch):
    logs.start_log()
    logger = logging.getLogger("heygem.test")
    try:
        open("/home/anna/private/face.mp4")
    except OSError:
        logger.exception("cannot read %s", "/home/anna/private/face.mp4")
    text = logs.log_file().read_text("utf-8")
    assert "anna" not in text and "…/face.mp4" in text
    assert "https://host/a/b" == logs.without_folders("https://host/a/b")
    close_handlers()
    monkeypatch.setenv("HEYGEM_LOG_LEVEL", "debug")
    logs.start_log()
    logger.debug("reads %s", "/home/anna/private/face.mp4")
    assert "reads /home/anna/private/face.mp4" in logs.log_file().read_text("utf-8")


def test_the_log_of_an_item_has_its_records_also_those_of_its_threads(tmp_path):
    logger = logging.getLogger("heygem.test")
    with logs.recorded("anna", job="4f", folder=tmp_path / "anna"):
        logger.info("before the folder")
        (tmp_path / "anna").mkdir()
        thread = threading.Thread(target=logger.info, args=("from a thread",))
        thread.start()
        thread.join()
    logger.info("afterwards")
    path = tmp_path / "anna" / "log.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [r["message"] for r in records] == ["before the folder", "from a thread"]
    assert {(r["item"], r["job"]) for r in records} == {("anna", "4f")}
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_item_that_is_refused_leaves_an_earlier_log_as_it_was(tmp_path):
    logger = logging.getLogger("heygem.test")
    with logs.recorded("anna", folder=tmp_path):
        logger.info("made")
    made = (tmp_path / "log.jsonl").read_bytes()
    with logs.recorded("anna", folder=tmp_path) as run:
        logger.info("refused")
        run.discard()
    assert made and (tmp_path / "log.jsonl").read_bytes() == made
    with logs.recorded("ben", folder=tmp_path / "ben") as run:
        logger.info("refused")
        run.discard()
    assert not (tmp_path / "ben").exists()


@pytest.mark.parametrize("setting", ["script", "notebook"])
def test_warnings_are_still_printed_in_scripts_and_notebooks(tmp_path, setting):
    start = "logs.start_log(show_warnings=True)" if setting == "notebook" else "pass"
    code = (
        "import logging\n"
        "from heygem.core import logs\n"
        f"{start}\n"
        "with logs.recorded('anna'):\n"
        "    logging.getLogger('heygem.x').warning('dark picture')\n"
        "    logging.getLogger('heygem.x').info('a detail')\n"
    )
    assert printed_errors(code, tmp_path) == "dark picture\n"
