"""The `heygem` command as a whole: help, errors, renamed commands."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.media import synthetic_voice, write_wav

from heygem.batch import runner


@pytest.mark.slow
@pytest.mark.parametrize("command", [[], ["generate"], ["run"], ["check"], ["models"], ["ui"]])
def test_every_command_has_help(heygem, command):
    code, out, _ = heygem(*command, "--help")
    assert code == 0 and "Usage" in out
    if command == ["generate"]:
        for word in ("--audio", "--video", "--out", "--params", "Ctrl-C"):
            assert word in out


def test_ui_without_recorded_runs_is_an_error(heygem):
    code, _, err = heygem("ui")
    assert code == 2 and "no recorded runs" in err


def test_ui_refuses_a_port_that_is_taken_before_it_prints_an_address(heygem, tmp_path):
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        code, out, err = heygem("ui", "--folder", str(tmp_path), "--port", port)
    assert code == 2 and f"127.0.0.1:{port}" in err and out == ""


@pytest.mark.slow
def test_an_unexpected_failure_is_one_line_and_a_log_entry(heygem, inputs, monkeypatch, home):
    monkeypatch.setattr(runner, "run", lambda *_, **__: 1 / 0)
    options = ("--audio", inputs / "voice.wav", "--video", inputs / "good.mp4")
    code, out, err = heygem("generate", *options)
    assert code == 1
    first, second = err.splitlines()
    assert first == "error: unexpected ZeroDivisionError: division by zero"
    log = Path(second.removeprefix("details: "))
    assert log.is_relative_to(home) and "Traceback" in log.read_text()


@pytest.mark.slow
def test_help_imports_no_heavy_module():
    """PyTorch, OpenCV and the like take seconds to import, NumPy as long as the rest."""
    code = (
        "import sys, heygem.cli.main\n"
        "from heygem.core import logs\n"
        "logs.start_log()\n"
        "heavy = {'torch', 'numpy', 'cv2', 'scipy', 'av', 'mlflow', 'pydantic', 'matplotlib'}\n"
        "heavy |= {'psutil', 'concurrent_log_handler'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.slow
def test_a_job_imports_no_library_that_it_does_not_use(tmp_path):
    """PyTorch takes 2 s and 200 MB in each worker, scipy's solvers and statistics 0.8 s and 60.

    Numba is loaded while a job listens, and face models where a person is tracked.
    """
    code = (
        "import sys\n"
        "from heygem import pipeline\n"
        "from heygem.config.params import Params\n"
        "params = Params()\n"
        "models = pipeline.Models(params)\n"
        "early = {'numba', 'ai_edge_litert'} & set(sys.modules)\n"
        "assert not early, early\n"
        "assert len(models.encode_audio(sys.argv[1], params.audio).predicted)\n"
        "unused = {'torch', 'scipy.signal', 'scipy.optimize', 'scipy.stats', 'librosa', 'mlflow'}\n"
        "print(sorted(unused & set(sys.modules)))"
    )
    sound = write_wav(tmp_path / "voice.wav", synthetic_voice(0.5))
    command = [sys.executable, "-c", code, sound]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


@pytest.mark.slow
def test_renamed_commands_are_accepted_with_a_notice(heygem, tmp_path):
    code, _, err = heygem("keys", "adopt", tmp_path / "chain.pem", tmp_path / "key.pem")
    assert code == 2 and "heygem keys adopt is now called heygem keys import" in err
    code, out, err = heygem("inventory")
    assert code == 0 and out and "heygem inventory is now called heygem sbom" in err
    _, out, _ = heygem("--help")
    assert "inventory" not in out and "sbom" in out


@pytest.mark.slow
def test_the_commands_run_as_a_module_too():
    """From a checkout that is not installed there is no `heygem` on the path."""
    command = [sys.executable, "-m", "heygem.cli.main", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "heygem generate" in done.stdout, done.stderr
