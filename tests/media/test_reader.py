"""The video reader: exact times, spans, and damage."""

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from helpers.media import picture, read_frames, refusal, tone, write_raw_video, write_video

from heygem.media import RecordedFrames, VideoReader, VideoWriter, container, probe, reader
from heygem.media.colour import BT709


@pytest.mark.parametrize(
    "rate", [Fraction(24000, 1001), 25, Fraction(30000, 1001), 30, 50, Fraction(60000, 1001), 60]
)
def test_constant_rates_keep_their_times_exactly(tmp_path, rate):
    path = write_video(tmp_path / "rate.mp4", frames=90, rate=rate)
    frames, reader = read_frames(path)
    assert [f.time_s for f in frames] == [float(i / Fraction(rate)) for i in range(90)]
    assert reader.info.video.rate == rate
    assert not reader.info.video.variable_rate
    assert [f.index for f in frames] == list(range(90))


def test_uneven_times_survive_a_copy_exactly(vfr_clip, tmp_path):
    path, times_s = vfr_clip
    frames, reader = read_frames(path)
    video = reader.info.video
    assert video.variable_rate
    assert [f.time_s for f in frames] == list(times_s)
    copy = tmp_path / "copy.mp4"
    with VideoWriter(
        copy,
        label=RecordedFrames(),
        width=64,
        height=48,
        rate=video.rate,
        time_base=video.time_base,
    ) as writer:
        for frame in frames:
            writer.write(frame.image, frame.time_s)
    assert [f.time_s for f in read_frames(copy)[0]] == list(times_s)


def test_one_dropped_frame_makes_the_rate_variable(tmp_path):
    times_s = [i / 25 for i in range(100) if i != 40]
    path = write_video(tmp_path / "drop.mp4", frames=99, times_s=times_s)
    frames, reader = read_frames(path)
    assert [f.time_s for f in frames] == times_s
    assert reader.info.video.variable_rate


def test_first_frame_is_time_zero_when_the_stream_starts_late(tmp_path):
    frames = []
    for i in range(5):
        frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
        frame.pts, frame.time_base = 50 + 2 * i, Fraction(1, 25)
        frames.append(frame)
    path = write_raw_video(tmp_path / "late.mkv", frames)
    assert [round(f.time_s, 3) for f in read_frames(path)[0]] == [0, 0.08, 0.16, 0.24, 0.32]


@pytest.mark.slow
def test_a_span_is_exact_and_keeps_the_frame_numbers(tmp_path):
    # B-frames and a key frame every 12: most starts lie between key frames.
    path = tmp_path / "gop.mp4"
    frames = [av.VideoFrame.from_ndarray(picture(i), format="rgb24") for i in range(75)]
    write_raw_video(path, frames, options={"g": "12", "bf": "3", "crf": "5"})
    whole, _ = read_frames(path)
    for start, end in [(0.2, 0.4), (0.48, 0.52), (1.0, None), (2.93, None), (1.01, 1.1)]:
        part, _ = read_frames(path, start_s=start, end_s=end)
        expected = [f for f in whole if f.time_s >= start and (end is None or f.time_s < end)]
        assert [(f.index, f.time_s) for f in part] == [(f.index, f.time_s) for f in expected]
        assert all((a.image == b.image).all() for a, b in zip(part, expected, strict=True))


def test_only_selected_frames_are_returned(clip):
    with VideoReader(clip) as reader:
        every_frame = list(reader)
    with VideoReader(clip, only=[3, 11]) as reader:
        selected = list(reader)
    assert [f.index for f in selected] == [3, 11]
    for frame in selected:
        assert frame.time_s == every_frame[frame.index].time_s
        np.testing.assert_array_equal(frame.image, every_frame[frame.index].image)


def test_iterating_twice_gives_the_same(clip):
    with VideoReader(clip) as reader:
        first, second = list(reader), list(reader)
    assert len(first) == len(second) == 25
    assert all((a.image == b.image).all() for a, b in zip(first, second, strict=True))


@pytest.mark.slow
def test_memory_does_not_grow_with_length(tmp_path):
    # 100 frames of 1.2 MB: a list of them would take 120 MB.
    still = picture(0, 800, 512)
    path = write_video(
        tmp_path / "long.mp4", frames=100, width=800, height=512, make=lambda *_: still
    )
    code = (
        "import resource, sys, os; os.sched_setaffinity(0, {0});"
        "from heygem.media import VideoReader; r = VideoReader(sys.argv[1]); i = iter(r);"
        "[next(i) for _ in range(10)];"
        "a = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "n = sum(1 for _ in i);"
        "print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - a)"
    )
    out = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    count, growth_kb = map(int, out.stdout.split())
    assert count == 90 and growth_kb < 30_000


def test_a_transport_stream_with_one_key_frame_is_whole(tmp_path):
    frames = [av.VideoFrame.from_ndarray(picture(i), format="rgb24") for i in range(75)]
    options = {"g": "9999", "sc_threshold": "0"}
    path = write_raw_video(tmp_path / "one.ts", frames, options=options)
    times_s = [frame.time_s for frame in read_frames(path)[0]]
    assert np.allclose(times_s, np.arange(75) / 25, atol=1e-4)


def test_interlaced_video_is_read_and_noted(tmp_path):
    frames = [av.VideoFrame.from_ndarray(picture(i, 64, 64), format="rgb24") for i in range(5)]
    path = write_raw_video(tmp_path / "i.mp4", frames, options={"x264-params": "interlaced=1"})
    decoded, reader = read_frames(path)
    assert len(decoded) == 5 and any("interlaced" in note for note in reader.notes)


def test_damaged_packets_are_skipped_and_counted(tmp_path):
    whole = write_video(tmp_path / "w.mp4", frames=100, crf=5)
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    pos, size = places[50]
    data[pos : pos + size] = b"\xff" * size
    (tmp_path / "bad.mp4").write_bytes(data)
    frames, reader = read_frames(tmp_path / "bad.mp4")
    assert len(frames) >= 98
    assert any("damaged" in note for note in reader.notes)


def test_a_video_with_many_damaged_packets_is_refused_at_its_end(tmp_path):
    frames = [av.VideoFrame.from_ndarray(picture(i), format="rgb24") for i in range(100)]
    whole = write_raw_video(tmp_path / "w.mp4", frames, options={"g": "1"})  # key frames only
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    for pos, size in places[40:50]:
        data[pos : pos + size] = b"\xff" * size
    (tmp_path / "bad.mp4").write_bytes(data)
    assert "90 of 100 frames" in refusal(lambda: read_frames(tmp_path / "bad.mp4"))


@pytest.mark.slow
def test_a_matroska_that_ends_early_is_refused_at_its_end(tmp_path):
    noise = np.random.default_rng(0)
    whole = write_video(
        tmp_path / "w.mkv",
        frames=100,
        width=160,
        height=120,
        audio=tone(4),
        make=lambda i, w, h: noise.integers(0, 256, (h, w, 3), dtype=np.uint8),
    )
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert len(read_frames(whole)[0]) == 100
    assert "cut short" in refusal(lambda: read_frames(tmp_path / "cut.mkv"))


@pytest.mark.slow
def test_real_clips_are_read_completely(data):
    clips = sorted(data.glob("*/*.mp4"))[::60]
    for clip in clips:
        count = 0
        with VideoReader(clip) as reader:
            for frame in reader:
                count += 1
                shape = frame.image.shape
        assert count == reader.info.video.frames
        assert shape == (reader.info.video.height, reader.info.video.width, 3)


def test_a_part_of_a_video_is_read_from_one_opening_of_the_file(clip, monkeypatch):
    probe(clip)  # what it says holds from then on
    opened = []

    def counted(path):
        opened.append(path)
        return container.open_media(path)

    monkeypatch.setattr(reader, "open_media", counted)
    with VideoReader(clip, start_s=0.5) as part:
        assert next(part.yuv_images(BT709)).shape == (48, 64, 3)
    assert len(opened) == 1
