"""The video writer: lossless mode, odd sizes, atomic output, refusals."""

import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.media import part_files, picture, read_frames, refusal, tone, write_video, write_wav

from heygem.core.errors import OutputError, ParameterError
from heygem.media import AudioFile, RecordedFrames, VideoWriter, probe, read_audio


def test_lossless_is_bit_exact_and_odd_sizes_fit(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 49, 65, 3), dtype=np.uint8)
    for ending in ("mp4", "mkv"):
        path = tmp_path / f"exact.{ending}"
        with VideoWriter(
            path, label=RecordedFrames(), width=65, height=49, rate=25, lossless=True
        ) as writer:
            for i, image in enumerate(images):
                writer.write(image, i / 25)
        assert not writer.notes
        assert all((f.image == images[f.index]).all() for f in read_frames(path)[0])


def test_odd_sizes_are_padded_and_noted(tmp_path):
    image = picture(0, 65, 49)
    path = tmp_path / "odd.mp4"
    with VideoWriter(path, label=RecordedFrames(), width=65, height=49, rate=25, crf=5) as writer:
        writer.write(image, 0)
    assert any("65x49" in note for note in writer.notes)
    image_read = read_frames(path)[0][0].image
    assert image_read.shape == (50, 66, 3)
    assert np.abs(image_read[:49, :65].astype(int) - image).mean() < 3
    assert np.abs(image_read[49, :65].astype(int) - image[48]).mean() < 4


def test_the_index_precedes_the_data_so_that_playback_starts_at_once(clip):
    data = clip.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_the_encoders_threads_share_frames_not_slices_of_one(tmp_path):
    path = tmp_path / "threads.mp4"
    with VideoWriter(path, label=RecordedFrames(), width=640, height=480, rate=25) as writer:
        writer.write(picture(0, 640, 480), 0)
    assert b"sliced_threads=0" in path.read_bytes()  # x264 writes its settings into the film


def test_an_aborted_video_leaves_no_files(tmp_path):
    target = tmp_path / "out.mp4"
    target.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        with VideoWriter(target, label=RecordedFrames(), width=64, height=48, rate=25) as writer:
            writer.write(picture(), 0)
            assert part_files(tmp_path)
            raise KeyboardInterrupt
    assert target.read_bytes() == b"before" and part_files(tmp_path) == []


def test_the_target_appears_only_when_complete(tmp_path):
    target = tmp_path / "out.mp4"
    writer = VideoWriter(target, label=RecordedFrames(), width=64, height=48, rate=25)
    writer.write(picture(), 0)
    assert not target.exists()
    assert writer.close() == target and probe(target).video.frames == 1
    writer.abort()  # too late to take anything back
    assert target.exists()


def test_files_of_a_killed_process_are_removed(tmp_path):
    target = tmp_path / "o.mp4"
    VideoWriter(target, label=RecordedFrames(), width=64, height=48, rate=25)  # never closed
    part_file = next(tmp_path.glob(".*.part"))
    dead_part_file = part_file.rename(
        part_file.with_name(part_file.name.replace(str(os.getpid()), "999999999"))
    )
    write_video(target, frames=2)
    assert not dead_part_file.exists() and part_files(tmp_path) == []


def test_an_unwritable_target_is_refused_with_its_reason(tmp_path):
    make = lambda path: VideoWriter(path, label=RecordedFrames(), width=64, height=48, rate=25)  # noqa: E731
    assert "folder" in refusal(lambda: make(tmp_path / "gone" / "o.mp4"), OutputError)
    (tmp_path / "file").touch()
    assert "folder" in refusal(lambda: make(tmp_path / "file" / "o.mp4"), OutputError)
    assert ".mp4" in refusal(lambda: make(tmp_path / "o.avi"), OutputError)
    (tmp_path / "dir.mp4").mkdir()
    assert "folder" in refusal(lambda: make(tmp_path / "dir.mp4"), OutputError)
    assert part_files(tmp_path) == []


@pytest.mark.slow
def test_a_full_disk_leaves_no_files_and_is_reported(tmp_path):
    # A limit on file size stops writes where a full disk would, without needing to be root.
    code = """
import resource, signal, sys
import numpy as np
from heygem.core.errors import OutputError
from heygem.media import RecordedFrames, VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
noise = np.random.default_rng(0)
try:
    size = {"width": 320, "height": 240, "rate": 25}
    with VideoWriter(
        sys.argv[1], label=RecordedFrames(), **size, crf=5, preset="ultrafast"
    ) as w:
        for i in range(int(sys.argv[2])):
            w.write(noise.integers(0, 256, (240, 320, 3), dtype=np.uint8), i / 25)
except OutputError as e:
    print(e)
"""
    for frames in ("60", "3"):  # while writing, and only in the last flush
        target = tmp_path / "full.mp4"
        out = subprocess.run(
            [sys.executable, "-c", code, os.fspath(target), frames], capture_output=True, text=True
        )
        assert "cannot write" in out.stdout, out.stderr
        assert not target.exists() and part_files(tmp_path) == []


def test_frames_of_wrong_size_or_time_are_refused(tmp_path):
    with VideoWriter(
        tmp_path / "o.mp4", label=RecordedFrames(), width=64, height=48, rate=25
    ) as writer:
        writer.write(picture(), 0)
        with pytest.raises(ParameterError, match="increase"):
            writer.write(picture(), 0)
        with pytest.raises(ParameterError, match="48, 64"):
            writer.write(picture(0, 32, 32), 1)


def test_audio_is_written_from_a_file(tmp_path, wav):
    path = write_video(
        tmp_path / "o.mp4", audio=AudioFile(write_wav(tmp_path / "w.wav", tone(3).samples))
    )
    assert read_audio(path).duration_s == pytest.approx(3, abs=0.07)
