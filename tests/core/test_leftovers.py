"""Temporary files of dead processes are removed; those of running ones never."""

import os
import subprocess
import sys
import time

import pytest

from heygem.core import files, leftovers

HOLD = """
import sys, time
from heygem.core import files, leftovers
with files.replacing(sys.argv[1]) as part, leftovers.temporary_folder() as folder:
    part.write_bytes(b"half")
    (folder / "speech.wav").write_bytes(b"half")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path, monkeypatch):
    """A process that is writing `cache/a.npz`, with a temporary folder in `temp`."""
    for name in ("cache", "temp"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    command = [sys.executable, "-c", HOLD, str(tmp_path / "cache" / "a.npz")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith(str(tmp_path / "temp"))
    yield process
    process.kill()
    process.wait()


@pytest.mark.fault
def test_what_a_killed_process_left_is_removed_and_what_a_running_one_writes_is_not(
    writer, tmp_path
):
    others = [tmp_path / "temp" / "heygem-notes", tmp_path / "cache" / ".heygem.lock"]
    for path in others:
        path.write_text("the user's own")
    assert leftovers.remove_leftovers(tmp_path / "temp") == []
    assert leftovers.remove_leftovers(tmp_path / "cache", own_folder=True) == []
    writer.kill()
    writer.wait()
    (folder,) = leftovers.remove_leftovers(tmp_path / "temp")
    (part,) = leftovers.remove_leftovers(tmp_path / "cache", own_folder=True)
    assert not folder.exists() and not part.exists()
    assert all(path.exists() for path in others)


@pytest.mark.fault
def test_a_process_id_that_was_given_away_again_keeps_no_leftover(tmp_path):
    host, pid, started = leftovers.temporary_name().split("-")[1:4]
    assert int(pid) == os.getpid()
    earlier = f"{int(started, 16) - 3600:08x}"
    part = tmp_path / f".heygem-{host}-{pid}-{earlier}-00000000.part"
    part.write_bytes(b"half")
    assert leftovers.remove_leftovers(tmp_path) == [part]


@pytest.mark.fault
def test_files_of_another_machine_and_of_earlier_versions_are_left_for_a_day(tmp_path):
    host, pid, started = leftovers.temporary_name().split("-")[1:4]
    elsewhere = f"{int(host, 16) ^ 1:04x}"
    part = tmp_path / f".heygem-{elsewhere}-{pid}-{started}-00000000.part"
    earlier = tmp_path / "tmpab12cd_9.part"
    foreign = tmp_path / "film.mp4.part"
    for path in (part, earlier, foreign):
        path.write_bytes(b"half")
    assert leftovers.remove_leftovers(tmp_path, own_folder=True) == []
    yesterday = time.time() - 25 * 3600
    for path in (part, earlier, foreign):
        os.utime(path, (yesterday, yesterday))
    assert leftovers.remove_leftovers(tmp_path) == [part]  # a folder of the user
    assert leftovers.remove_leftovers(tmp_path, own_folder=True) == [earlier]
    assert foreign.exists()


@pytest.mark.fault
def test_a_link_of_that_name_does_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "film.mp4").write_bytes(b"the user's own")
    host, pid, _, _ = leftovers.temporary_name().split("-")[1:]
    (tmp_path / f"heygem-{host}-{pid}-00000001-00000000").symlink_to(tmp_path / "home")
    leftovers.remove_leftovers(tmp_path)
    assert (tmp_path / "home" / "film.mp4").exists()


def test_a_temporary_folder_is_private_and_gone_at_the_end():
    with leftovers.temporary_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "a").write_text("a")
    assert not folder.exists()


def test_a_missing_folder_has_no_leftovers(tmp_path):
    assert leftovers.remove_leftovers(tmp_path / "none") == []


def test_files_in_writing_are_named_after_their_process(tmp_path):
    with files.replacing(tmp_path / "a.json") as staged:
        assert f"-{os.getpid()}-" in staged.name and staged.suffix == ".part"
