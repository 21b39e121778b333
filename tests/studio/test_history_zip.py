"""The ZIP of results replaces an earlier ZIP of results, and no other file."""

import threading
import zipfile

import pytest

from heygem.batch.results.archive import remove_stale, write_results


@pytest.fixture
def results(tmp_path):
    """Two results of an output folder."""
    rows = []
    for name in ("anna", "ben"):
        details = tmp_path / "details" / name
        details.mkdir(parents=True)
        (details / "manifest.json").write_text("{}")
        (tmp_path / f"{name}.mp4").write_text(name)
        rows.append({"path": tmp_path / f"{name}.mp4", "details": details, "id": name})
    return rows


def write(results, target):
    return write_results(results, target, lambda *_: None, threading.Event())


def test_an_earlier_zip_is_replaced(results, tmp_path):
    target = tmp_path / "results.zip"
    assert write(results[:1], target) == (target, 1)
    assert write(results, target) == (target, 2)
    with zipfile.ZipFile(target) as archive:
        assert sorted(archive.namelist()) == ["anna.json", "anna.mp4", "ben.json", "ben.mp4"]


@pytest.mark.fault
def test_a_zip_of_the_user_stays(results, tmp_path):
    target = tmp_path / "results.zip"
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("tax.pdf", "mine")
    before = target.read_bytes()
    path, _ = write(results, target)
    assert path == tmp_path / "results-2.zip" and target.read_bytes() == before


@pytest.mark.fault
def test_a_zip_to_which_the_user_added_a_file_stays(results, tmp_path):
    target, _ = write(results, tmp_path / "results.zip")
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("notes.txt", "mine")
    path, _ = write(results, target)
    assert path != target
    with zipfile.ZipFile(target) as archive:
        assert "notes.txt" in archive.namelist()


def test_a_zip_goes_with_a_video_that_is_deleted(results, tmp_path):
    target, _ = write(results, tmp_path / "results.zip")
    assert not remove_stale(tmp_path) and target.is_file()
    results[0]["path"].unlink()
    assert remove_stale(tmp_path) and not target.exists()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("anna.mp4", "the user's own")
    assert not remove_stale(tmp_path) and target.is_file()
