"""The log file, one-line notices, and output of compiled libraries."""

import logging
import os
import subprocess
import sys
import warnings

import pytest

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


def test_only_this_user_can_read_the_log(home):
    logs.start_log()
    assert logs.log_file().parent.stat().st_mode & 0o777 == 0o700


def test_warnings_go_to_the_log_file(home):
    logs.start_log()
    logging.getLogger("heygem.test").warning("disk is slow")
    assert logs.log_file().is_relative_to(home)
    assert "heygem.test disk is slow" in logs.log_file().read_text()


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
    environment = os.environ | {"HEYGEM_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines() == ["from Python", "afterwards"]
    assert (tmp_path / "logs" / "heygem.log").read_text() == "banner of a library\n"
