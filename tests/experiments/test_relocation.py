"""A store in a folder that was moved or copied."""

import shutil

import pytest
from helpers.recorded_runs import record

from heygem.experiments import database, runs, store


@pytest.fixture
def old(tmp_path, clip):
    """A store with one run, in a folder whose name a pattern of SQL would match too often."""
    folder = tmp_path / "old_place %" / "mlruns"
    record(folder, "anna", files=[clip], within="heygem/films")
    return folder


@pytest.mark.slow
def test_a_copied_store_records_beside_itself_and_finds_its_old_runs(old, clip, tmp_path):
    new = tmp_path / "new_place" / "mlruns"
    shutil.copytree(old, new)
    before = {path: path.stat().st_mtime_ns for path in old.rglob("*")}
    record(new, "berta", files=[clip], within="heygem/films")
    assert {path: path.stat().st_mtime_ns for path in old.rglob("*")} == before
    for run in runs.list_runs(new):
        assert run.video.is_relative_to(new), run.name
        assert run.video.read_bytes() == clip.read_bytes()
    (original,) = runs.list_runs(old)
    assert original.video.is_relative_to(old), "the original is left as it was"


@pytest.mark.slow
def test_a_moved_store_takes_its_old_runs_with_it(old, tmp_path):
    new = tmp_path / "moved"
    old.rename(new)
    (run,) = runs.list_runs(new)
    assert run.video.is_file() and run.video.is_relative_to(new)
    assert not old.exists(), "nothing is written into the old place again"


@pytest.mark.slow
def test_the_same_store_by_another_name_and_foreign_addresses_stay(old, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(old)
    client = store.open_client(old)
    elsewhere = (tmp_path / "elsewhere").as_uri()
    client.create_experiment("by-hand", artifact_location=elsewhere)
    shutil.copytree(old, copy := tmp_path / "copy")
    assert database.adopt_artifacts(link, link / database.DATABASE) == 0
    assert database.adopt_artifacts(copy, copy / database.DATABASE) == 1
    names = {e.name: e.artifact_location for e in store.open_client(copy).search_experiments()}
    assert names["by-hand"] == elsewhere
    assert names["heygem/films"] == f"{copy.as_uri()}/artifacts/heygem_films"
