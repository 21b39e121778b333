"""Full and read-only disks, for output, temporary folder, cache and records: real small disks."""

import errno
import subprocess

import numpy as np
import pytest
from helpers import disks
from helpers.batch import pairs_recipe, write_table

from heygem import media
from heygem.audio import tts
from heygem.batch import runner
from heygem.batch.item.output_lock import lock_output_dir
from heygem.core.errors import OutputError
from heygem.media.disclosure import RecordedFrames

pytestmark = pytest.mark.fault


def test_a_full_output_disk_is_told_before_work(tiny_disk):
    (tiny_disk / "out").mkdir()
    disks.fill(tiny_disk)
    for name in ("out", "new"):  # a folder that is there, and one that is to be made
        with pytest.raises(OutputError, match=f"disk is full; seen: 0 B of .* {tiny_disk}.*--out"):
            with lock_output_dir(tiny_disk / name):
                raise AssertionError("work began")
    assert not (tiny_disk / "out" / ".heygem.lock").exists()
    assert not (tiny_disk / "new").exists()


def test_a_read_only_output_disk_is_told_before_work(tiny_disk):
    (tiny_disk / "out").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(tiny_disk)], check=True)
    with pytest.raises(OutputError, match="read-only.*--out"):
        with lock_output_dir(tiny_disk / "out"):
            raise AssertionError("work began")


def test_a_disk_that_fills_up_names_the_video_and_what_is_needed(tiny_disk):
    disks.fill(tiny_disk, leave=200_000)
    noise = np.random.default_rng(0)
    with pytest.raises(OutputError, match=r"cannot write anna\.mp4: the disk is full.*MB are need"):
        with media.VideoWriter(
            tiny_disk / ".hidden.mp4", label=RecordedFrames(), width=320, height=240, rate=25,
            shown_name="anna.mp4", expected_frames=100, preset="ultrafast",
        ) as writer:  # fmt: skip
            for k in range(100):
                writer.write(noise.integers(0, 255, (240, 320, 3), np.uint8), k / 25)
    assert [path.name for path in tiny_disk.iterdir()] == ["filler"]


def test_a_full_temporary_folder_is_not_a_missing_library(tiny_disk, monkeypatch):
    disks.fill(tiny_disk, leave=100_000)
    monkeypatch.setattr("tempfile.tempdir", str(tiny_disk))
    with pytest.raises(OutputError, match="voice cannot be set up.*disk is full.*TMPDIR") as caught:
        tts.synthesize("Good morning.")
    assert "pip install" not in str(caught.value)
    assert [path.name for path in tiny_disk.iterdir()] == ["filler"]


def test_an_error_of_the_system_inside_an_item_is_told_with_its_disk(
    pipeline_stub, workdir, monkeypatch
):
    def fill_up(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("heygem.pipeline.generate", fill_up)
    table = write_table(workdir, "video,audio\nanna.mp4,hello.wav\n")
    report = runner.run(pairs_recipe(table))
    (outcome,) = report.outcomes
    assert report.exit_code == 2
    assert outcome.code == "DISK_FULL" and "the disk is full" in outcome.error
    assert "free on the disk at" in outcome.error
