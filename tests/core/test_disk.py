"""What a full disk, a quota, a read-only or otherwise refusing disk is called."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest
from helpers import disks

from heygem.core import disk, files
from heygem.core.errors import OutputError


@pytest.mark.fault
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "allows no file as large"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "you may not write there"),
        (errno.ENAMETOOLONG, "choose a shorter name"),
        (errno.EIO, "the disk reports an error"),
        (errno.ENOENT, "the folder is not there"),
    ],
)
def test_each_refusal_says_what_and_what_to_do(tmp_path, number, words):
    hidden = OSError(number, os.strerror(number), str(tmp_path / ".heygem-hidden.part"))
    error = disk.write_error(hidden, tmp_path / "anna.mp4", place="output")
    assert words in str(error) and "anna.mp4" in str(error)
    assert "hidden" not in str(error) and error.remedy
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert "free on the disk at" in str(error) and "--out" in str(error)


def test_how_much_is_needed_is_said_where_it_is_known(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    error = disk.write_error(full, tmp_path / "anna.mp4", needed_bytes=2_500_000)
    assert "about 2.5 MB are needed" in str(error)


@pytest.mark.parametrize(
    ("place", "words"),
    [("cache", "HEYGEM_HOME"), ("temporary", "TMPDIR"), ("records", "HEYGEM_RECORDS")],
)
def test_the_remedy_names_the_setting_that_moves_the_file(tmp_path, place, words):
    full = OSError(errno.ENOSPC, "No space left on device")
    assert words in str(disk.write_error(full, tmp_path / "a", place=place))


def test_the_place_follows_from_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HEYGEM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    full = OSError(errno.ENOSPC, "No space left on device")
    folders = ("home", "HEYGEM_HOME"), ("temp/heygem-1", "TMPDIR"), ("temp/out", "--out")
    for folder, words in folders:
        assert words in str(disk.write_error(full, tmp_path / folder / "a"))


@pytest.mark.fault
def test_errors_of_libraries_are_understood(tmp_path):
    sqlite_error = sqlite3.OperationalError("database or disk is full")
    sqlite_error.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert disk.error_number(sqlite_error, tmp_path) == errno.ENOSPC
    rust = RuntimeError("I/O error: No space left on device (os error 28)")
    assert disk.error_number(rust, tmp_path) == errno.ENOSPC
    wrapped = RuntimeError("cannot save")
    wrapped.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded")
    assert disk.error_number(wrapped, tmp_path) == errno.EDQUOT


@pytest.mark.fault
def test_on_a_full_disk_an_error_without_a_reason_is_understood(tmp_path, monkeypatch):
    assert disk.error_number(RuntimeError("Io: Other"), tmp_path) == 0
    monkeypatch.setattr(disk, "free_bytes", lambda path: 0)
    assert disk.error_number(RuntimeError("Io: Other"), tmp_path) == errno.ENOSPC


@pytest.mark.fault
@pytest.mark.slow
def test_a_limit_on_file_sizes_is_told_and_leaves_nothing(tmp_path):
    """A real refusal by the kernel, in a process of its own: the limit cannot be raised again."""
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from heygem.core import files\n"
        "files.write_bytes(Path(sys.argv[1]), b'x' * 5000)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.bin")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "cannot write a.bin: the file system, or a limit" in done.stderr
    assert "about 5.0 kB are needed" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault
def test_a_full_disk_is_told_with_its_name_and_what_is_free(tiny_disk):
    with pytest.raises(OutputError, match=f"the disk is full; seen: .* free on .* {tiny_disk}"):
        files.write_bytes(tiny_disk / "a.bin", b"x" * 2_000_000)
    assert list(tiny_disk.iterdir()) == []


@pytest.mark.fault
def test_a_disk_without_inodes_is_not_called_full(tmp_path):
    with disks.mounted(tmp_path / "tiny", "1m,nr_inodes=2") as folder:
        (folder / "a").touch()
        with pytest.raises(OutputError, match="no room for more files.*remove some files"):
            files.write_bytes(folder / "b", b"x")


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1500, "1.5 kB"), (2.5e9, "2.5 GB")])
def test_sizes_are_readable(count, text):
    assert disk.format_size(int(count)) == text


def test_usage_is_that_of_the_nearest_folder_that_exists(tmp_path):
    free, total = disk.usage(tmp_path / "not" / "there")
    assert total == shutil.disk_usage(tmp_path).total
    assert 0 < free <= total
    assert disk.free_bytes(tmp_path) <= total
