"""Output folders: one run at a time, clean after a killed run."""

import subprocess
import sys

import pytest

from heygem.batch import runner
from heygem.batch.item.output_lock import lock_output_dir, remove_empty_dirs, remove_stale_parts
from heygem.core.errors import OutputError

HOLD = """
import sys, time
from pathlib import Path
from heygem.batch.item.output_lock import lock_output_dir
with lock_output_dir(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def lock_holder(tmp_path):
    """A process that holds the folder `out`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
def test_second_run_in_a_folder_names_the_process_of_the_first(pipeline_stub, recipe, lock_holder):
    with pytest.raises(OutputError, match=f"another run.*process {lock_holder.pid}"):
        runner.run(recipe("fine"))


@pytest.mark.slow
def test_lock_and_partial_files_of_a_killed_run_are_removed(
    pipeline_stub, recipe, lock_holder, tmp_path
):
    lock_holder.kill()
    lock_holder.wait()
    part = tmp_path / "out" / f".0123456789ab-{lock_holder.pid}.part"
    part.write_bytes(b"half a video")
    other = tmp_path / "out" / ".hidden-notes.txt"
    other.write_bytes(b"the user's own")
    assert runner.run(recipe("fine")).exit_code == 0
    assert not part.exists() and other.exists()


@pytest.mark.slow
def test_partial_files_of_a_running_process_stay(lock_holder, tmp_path):
    part = tmp_path / "out" / f".0123456789ab-{lock_holder.pid}.part"
    part.write_bytes(b"half a video")
    remove_stale_parts(tmp_path / "out")
    assert part.exists()


def test_created_folders_are_removed_if_left_empty(tmp_path):
    with lock_output_dir(tmp_path / "deep" / "out"):
        assert (tmp_path / "deep" / "out").is_dir()
    assert not (tmp_path / "deep").exists()
    with lock_output_dir(tmp_path / "deep" / "out"):
        (tmp_path / "deep" / "out" / "video.mp4").write_bytes(b"a video")
    assert (tmp_path / "deep" / "out" / "video.mp4").exists()


def test_only_empty_folders_are_removed(tmp_path):
    (tmp_path / "details" / "failed").mkdir(parents=True)
    (tmp_path / "details" / "made").mkdir()
    (tmp_path / "details" / "made" / "manifest.json").write_text("{}")
    remove_empty_dirs(tmp_path / "details")
    assert [path.name for path in (tmp_path / "details").iterdir()] == ["made"]
