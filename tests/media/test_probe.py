"""What `probe` reports about size, rate, aspect, tags and streams."""

import importlib
import json
from fractions import Fraction

import av
import numpy as np
import pytest
from helpers.media import picture, write_raw_video, write_video
from PIL import Image

from heygem.core.errors import InputError
from heygem.media import RecordedFrames, VideoReader, VideoWriter, probe

probe_module = importlib.import_module("heygem.media.probe")  # `media.probe` is the function


def test_probe_reports_size_rate_and_audio(clip):
    info = probe(clip)
    assert (info.video.width, info.video.height) == (64, 48)
    assert info.video.rate == 25 and info.video.frames == 25
    assert not info.video.variable_rate and not info.is_still
    assert info.duration_s == pytest.approx(1, abs=0.07)
    assert info.audio.rate_hz == 16_000 and info.audio.channels == 1


def test_a_file_is_described_once_until_it_changes(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4")
    info = probe(path)
    info.tags["note"] = "of the caller"
    monkeypatch.setattr(probe_module, "open_media", lambda path: pytest.fail("opened again"))
    assert probe(path).video == info.video and "note" not in probe(path).tags
    monkeypatch.undo()
    write_video(path, pixel_aspect=Fraction(16, 15))
    assert probe(path).video.pixel_aspect == Fraction(16, 15)


def test_non_square_pixels_keep_their_aspect(tmp_path):
    path = write_video(tmp_path / "sar.mp4", pixel_aspect=Fraction(16, 15))
    assert probe(path).video.pixel_aspect == Fraction(16, 15)


def test_a_song_with_cover_art_is_not_a_video(tmp_path):
    cover, song = tmp_path / "c.png", tmp_path / "song.mp3"
    Image.fromarray(picture()).save(cover)
    with av.open(str(song), "w") as out, av.open(str(cover)) as art:
        sound = out.add_stream("libmp3lame", rate=44_100)
        stream = out.add_stream_from_template(art.streams.video[0])
        stream.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(
            np.zeros((2, 44_100), np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate = 44_100
        for packet in art.demux():
            if packet.size:
                packet.stream = stream
                out.mux(packet)
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    assert probe(song).video is None and probe(song).audio.codec.startswith("mp3")


def test_frames_that_all_have_one_time_are_refused(tmp_path):
    path = tmp_path / "standing.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in [*(av.VideoFrame.from_ndarray(picture(i)) for i in range(5)), None]:
            for packet in stream.encode(frame):
                packet.pts = packet.dts = 0
                container.mux(packet)
    with pytest.raises(InputError, match=r"same time.*5 frames.*setpts"):
        probe(path)


def test_given_tags_are_written_and_source_tags_are_not(tmp_path):
    source = write_raw_video(
        tmp_path / "phone.mov",
        [av.VideoFrame.from_ndarray(picture(i), format="rgb24") for i in range(3)],
        tags={"com.apple.quicktime.location.ISO6709": "+48.1+011.5/", "make": "Phone"},
        container_options={"movflags": "use_metadata_tags"},
    )
    assert "Phone" in probe(source).tags.values()
    label = json.dumps({"Label": "1", "ContentProducer": '甲"乙\\\n'}, ensure_ascii=False)
    for ending in ("mp4", "mov", "mkv"):
        path = tmp_path / f"out.{ending}"
        with (
            VideoReader(source) as reader,
            VideoWriter(
                path, label=RecordedFrames({"AIGC": label}), width=64, height=48, rate=25
            ) as writer,
        ):
            for frame in reader:
                writer.write(frame.image, frame.time_s)
        tags = probe(path).tags
        assert tags["AIGC"] == label
        assert not any("48.1" in v or "Phone" in v for v in tags.values())
