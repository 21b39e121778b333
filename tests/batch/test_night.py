"""The short form of the proof run: a batch that is killed, meets a full disk, and ends complete."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IS_LONG = os.environ.get("HEYGEM_NIGHT")  # the numbers of the issue in place of the short form


@pytest.mark.fault
@pytest.mark.slow
def test_a_disturbed_batch_ends_complete_and_correct(tmp_path):
    size = ["200", "20", "10", "20", "30"] if IS_LONG else ["7", "4", "2", "1", "1"]
    names = ("--items", "--bad", "--kills", "--full-s", "--wait-s")
    options = zip(names, size, strict=True)
    report = tmp_path / "night.json"
    command = [sys.executable, ROOT / "benchmarks" / "night.py", "--workers", "2"]
    command += [part for option in options for part in option]
    command += ["--folder", tmp_path / "night", "--out", report]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(report.read_text())
    assert figures["problems"] == []
    assert figures["states"] == {"done": int(size[0]) - int(size[1]), "failed": int(size[1])}
    assert len(figures["kills"]) == int(size[2])
