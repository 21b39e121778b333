"""Deleted results, and the way back."""

import shutil

import pytest

from heygem.batch.item.manifest import results
from heygem.core.errors import OutputError
from heygem.core.files import write_json
from heygem.studio import trash


@pytest.fixture
def output(tmp_path):
    """An output folder with one result."""
    details = tmp_path / "details" / "anna"
    details.mkdir(parents=True)
    write_json(details, {"output": {"file": "../../anna.mp4"}}, name="manifest.json")
    (tmp_path / "anna.mp4").write_bytes(b"film")
    return tmp_path


def test_a_deleted_result_is_listed_nowhere_and_comes_back_whole(output):
    (result,) = results(output)
    item = trash.delete(result, output)
    assert results(output) == [] and trash.list_deleted(output) == [item]
    assert trash.restore(item) == output / "anna.mp4"
    assert results(output) == [result] and trash.list_deleted(output) == []


def test_what_took_its_place_stays(output):
    (result,) = results(output)
    item = trash.delete(result, output)
    (output / "anna.mp4").write_bytes(b"newer")
    with pytest.raises(OutputError, match="another video"):
        trash.restore(item)
    assert (output / "anna.mp4").read_bytes() == b"newer" and trash.list_deleted(output) == [item]


def test_after_a_week_it_is_gone_for_good(output, monkeypatch):
    trash.delete(results(output)[0], output)
    monkeypatch.setattr(trash, "KEEP_S", -1.0)
    assert trash.list_deleted(output) == [] and not list((output / trash.FOLDER).iterdir())


def test_it_can_be_removed_for_good_at_once(output):
    item = trash.delete(results(output)[0], output)
    trash.empty(output)
    assert trash.list_deleted(output) == []
    with pytest.raises(OutputError, match="cannot put"):
        trash.restore(item)


@pytest.mark.fault
def test_a_folder_that_may_not_be_written_is_named(output, monkeypatch):
    (result,) = results(output)
    shutil.rmtree(output / trash.FOLDER, ignore_errors=True)
    (output / trash.FOLDER).write_text("a file in the way")
    with pytest.raises(OutputError, match="cannot delete"):
        trash.delete(result, output)
    assert results(output) == [result]
