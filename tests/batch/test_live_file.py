"""The picture of an item that is being drawn, from its process to a page."""

import shutil
import stat

import numpy as np
import pytest

from heygem.batch.item import live_file
from heygem.core.leftovers import remove_leftovers
from heygem.media import live_picture

FRAME = np.full((90, 160, 3), 128, np.uint8)


@pytest.fixture(autouse=True)
def no_interval(monkeypatch):
    monkeypatch.setattr(live_picture, "INTERVAL_S", 0.0)


def test_the_next_picture_is_drawn_when_the_last_was_taken(tmp_path):
    with live_file.live_picture(tmp_path) as show:
        assert live_file.take_picture(tmp_path) == b"", "nothing is drawn yet"
        show(FRAME)
        (path,) = tmp_path.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, "it shows a person"
        written_ns = path.stat().st_mtime_ns
        show(FRAME)
        assert path.stat().st_mtime_ns == written_ns, "nobody has looked at the last one"
        assert live_file.take_picture(tmp_path)[:2] == b"\xff\xd8"
        assert list(tmp_path.iterdir()) == []
        show(FRAME)
        assert live_file.take_picture(tmp_path)
        show(FRAME)
    assert list(tmp_path.iterdir()) == [], "it goes with the drawing"


@pytest.mark.fault
def test_a_folder_that_cannot_be_written_costs_the_picture_alone(tmp_path):
    folder = tmp_path / "details"
    folder.mkdir()
    with live_file.live_picture(folder) as show:
        shutil.rmtree(folder)
        show(FRAME)
    assert not folder.exists()


@pytest.mark.fault
def test_the_picture_of_a_killed_process_is_removed_by_the_next(tmp_path):
    with live_file.live_picture(tmp_path) as show:
        show(FRAME)
        (mine,) = tmp_path.iterdir()
        dead = tmp_path / mine.name.replace(mine.name.split("-")[3], "00000001")
        dead.write_bytes(b"of a process that is gone")
        assert remove_leftovers(tmp_path) == [dead]
        assert mine.exists()
