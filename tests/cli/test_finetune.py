"""`heygem finetune`: the questions about consent."""

import subprocess
import sys

import pytest

from heygem.batch.notebooks import root
from heygem.cli import finetune as command
from heygem.finetune.consent import Statement

MAIN = "from heygem.cli.main import main; main()"


@pytest.mark.slow
def test_a_script_without_a_consent_is_refused_in_one_line(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            MAIN,
            "finetune",
            str(root() / "samples" / "hopper.mp4"),
            "--out",
            "x.heygem",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "--consent own" in done.stderr and not (tmp_path / "x.heygem").exists()


def test_a_user_at_the_terminal_is_asked(monkeypatch):
    answers = iter(["3", "P-7", "films", "2999-12-31", "contract 12"])
    monkeypatch.setattr(command.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(command.typer, "prompt", lambda *_, **__: next(answers))
    empty = {"who": "", "purpose": "", "until": "", "reference": ""}
    assert Statement(**command._ask(empty)) == Statement(
        "recorded", "P-7", "films", "2999-12-31", "contract 12"
    )
