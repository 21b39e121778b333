"""Disks that fill up, turn read-only or disappear while a video is made: real small disks."""

import os
import subprocess
from types import SimpleNamespace

import pytest
from helpers import disks
from helpers.media import synthetic_voice, write_wav

from heygem import avatar, pipeline
from heygem.batch.queue.retry import WAITING
from heygem.config.params import FaceSettings, Params
from heygem.core import assets
from heygem.core.errors import DiskFullError, DiskLostError, Notice, OutputError
from heygem.pipeline import segments
from heygem.provenance import keys as key_store
from heygem.provenance.ledger import Ledger

pytestmark = [pytest.mark.fault, pytest.mark.slow]
QUICK = {"media": {"crf": 40, "preset": "ultrafast"}, "device": "cpu"}


@pytest.fixture(scope="module")
def models():
    return pipeline.Models(Params.from_dict(QUICK))


@pytest.fixture
def studio(hopper_avatar, models, tiny_disk, tmp_path, monkeypatch):
    """A portrait that speaks for 0.6 s, 15 frames, onto a disk of one megabyte."""
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    ledger = Ledger(keys=key_store.ensure())
    sound = write_wav(tmp_path / "voice.wav", synthetic_voice(0.6))
    folder = tiny_disk / "out"
    folder.mkdir()
    rendered: list[int] = []

    def make(at_frame=None, action=None, *, segment_s=60.0):
        rendered.clear()

        def progress(stage, done, total):
            if stage == "listen" and at_frame is None and action is not None and done:
                action()
            if stage == "render" and done < total:
                rendered.append(done)
                if done == at_frame:
                    action()

        return pipeline.generate(
            hopper_avatar, sound, folder / "a.mp4", Params.from_dict(QUICK), models=models,
            ledger=ledger, progress=progress, segment_s=segment_s,
        )  # fmt: skip

    return SimpleNamespace(
        make=make, folder=folder, disk=tiny_disk, rendered=rendered, ledger=ledger
    )


def test_a_disk_that_fills_up_leaves_nothing_and_the_item_is_made_when_there_is_room(studio):
    with pytest.raises(DiskFullError, match=r"cannot write a\.mp4: the disk is full.*MB free"):
        studio.make(8, lambda: disks.fill(studio.disk))
    assert list(studio.folder.iterdir()) == []
    (studio.disk / "filler").unlink()
    assert studio.make().frames == 15
    assert [path.name for path in studio.folder.iterdir()] == ["a.mp4"]
    assert studio.ledger.verify() == [] and studio.ledger.unfinished() == []


def test_a_long_item_goes_on_after_a_full_disk(studio):
    with pytest.raises(DiskFullError):
        studio.make(11, lambda: disks.fill(studio.disk), segment_s=0.2)
    assert not (studio.folder / "a.mp4").exists()
    (studio.disk / "filler").unlink()
    studio.make(segment_s=0.2)
    assert studio.rendered == list(range(10, 15))
    assert [path.name for path in studio.folder.iterdir()] == ["a.mp4"]


def test_a_disk_that_turned_read_only_is_named(studio):
    def turn_read_only():
        subprocess.run(["mount", "-o", "remount,ro", str(studio.disk)], check=True)

    with pytest.raises(OutputError, match=r"cannot write a\.mp4: the disk is read-only.*--out"):
        studio.make(None, turn_read_only)
    assert studio.ledger.unfinished() == []


@pytest.mark.parametrize("segment_s", [60.0, 0.2])
def test_a_folder_that_disappears_may_come_back(studio, segment_s):
    away = studio.disk / "away"
    with pytest.raises(DiskLostError, match="is gone") as caught:
        studio.make(8, lambda: studio.folder.rename(away), segment_s=segment_s)
    assert caught.value.code in WAITING  # the queue tries it again later
    assert not studio.folder.exists()
    away.rename(studio.folder)
    studio.make(segment_s=segment_s)
    # What could not be removed while the folder was away goes with the next process.
    assert [path.name for path in studio.folder.glob("[!.]*")] == ["a.mp4"]


def test_a_network_folder_that_is_unmounted_in_between_may_come_back(studio):
    def unmount():
        subprocess.run(["umount", "--lazy", str(studio.disk)], check=True)

    try:
        with pytest.raises(DiskLostError, match="is gone"):
            studio.make(8, unmount)
        assert list(studio.disk.iterdir()) == []  # nothing was written under the mount point
    finally:  # for the end of the fixture
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(studio.disk)]
        subprocess.run(command, check=True)


def test_a_full_cache_costs_the_next_tracking_and_nothing_else(
    hopper_still, faces, tiny_disk, monkeypatch
):
    disks.fill(tiny_disk)
    monkeypatch.setattr(assets, "avatar_folder", lambda: tiny_disk / "avatars")
    with pytest.warns(Notice, match="cannot be kept.*disk is full.*HEYGEM_HOME"):
        person = avatar.load(hopper_still, FaceSettings(), backend=faces)
    assert person.usable.all()
    assert [path.name for path in tiny_disk.iterdir() if path.name != "avatars"] == ["filler"]


def test_segments_of_a_lost_run_are_not_left_for_ever(studio):
    with pytest.raises(DiskFullError):
        studio.make(11, lambda: disks.fill(studio.disk), segment_s=0.2)
    (studio.disk / "filler").unlink()
    work = segments.work_folder(studio.folder / "a.mp4")
    old_s = work.stat().st_mtime - segments.RETENTION_S - 60
    for path in (*work.iterdir(), work):
        os.utime(path, (old_s, old_s))
    assert segments.remove_stale_segments(studio.folder) == [work]
