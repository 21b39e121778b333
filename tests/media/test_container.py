"""Opening media files: unusual names, and refusals of what cannot be used."""

from pathlib import Path

import av
import numpy as np
import pytest
from helpers.media import (
    part_files,
    picture,
    read_frames,
    refusal,
    tone,
    write_raw_video,
    write_video,
)
from PIL import Image

from heygem.media import VideoReader, is_avatar_bundle, probe, read_audio
from heygem.media.container import media_path

NAMES = [
    "说话的人.mp4",
    'it\'s "quoted".mp4',
    "two\nlines.mp4",
    "-dash.mp4",
    "a:b.mp4",
    "http:x.mp4",
    "100%d.mp4",
    "n" * 251 + ".mp4",
    b"latin-\xe9.mp4".decode("utf-8", "surrogateescape"),
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_unusual_file_names_work(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # relative, as a user would type it
    write_video(Path(name), frames=3, audio=tone(0.2))
    assert len(read_frames(name)[0]) == 3
    assert read_audio(name).duration_s > 0.1
    assert part_files(tmp_path) == []


def test_an_image_with_a_pattern_for_a_name_is_one_image(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "p%03d.png")
    assert len(read_frames(tmp_path / "p%03d.png")[0]) == 1


def test_every_unusable_input_is_refused_in_one_line(tmp_path, wav, silent_clip, truncated_clip):
    assert "no such file" in refusal(lambda: probe(tmp_path / "gone\n.mp4"))
    assert "folder" in refusal(lambda: probe(tmp_path))
    (tmp_path / "zero.mp4").touch()
    assert "empty" in refusal(lambda: probe(tmp_path / "zero.mp4"))
    (tmp_path / "text.mp4").write_text("this is not a video" * 50)
    said = refusal(lambda: probe(tmp_path / "text.mp4"))
    assert "not media" in said and "950 bytes of text" in said
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    assert "not media" in refusal(lambda: probe(tmp_path / "noise.mp4"))
    assert "no picture" in refusal(lambda: VideoReader(wav))
    assert "no sound" in refusal(lambda: read_audio(silent_clip))
    assert "cut short" in refusal(lambda: probe(truncated_clip))
    assert "cut short" in refusal(lambda: VideoReader(truncated_clip))


def test_playlists_are_not_followed(tmp_path, clip):
    secret = clip.rename(tmp_path / "secret.mp4")
    for name, text in {
        "list.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "list.txt": f"ffconcat version 1.0\nfile '{secret.name}'\n",
    }.items():
        for target in (tmp_path / name, tmp_path / f"{name}.mp4"):
            target.write_text(text)
            assert "playlist" in refusal(lambda p=target: probe(p))


def test_an_mp4_without_its_index_is_refused_as_cut_short(tmp_path):
    frames = [av.VideoFrame.from_ndarray(picture(i), format="rgb24") for i in range(30)]
    whole = write_raw_video(tmp_path / "w.mp4", frames)  # index at the end
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-400])
    assert "cut short" in refusal(lambda: probe(tmp_path / "cut.mp4"))


def test_an_avatar_bundle_stands_for_the_video_in_it(tmp_path, clip):
    bundle = tmp_path / "anna.heygem"
    bundle.mkdir()
    inside = clip.rename(bundle / "shown.mp4")
    assert is_avatar_bundle(bundle) and not is_avatar_bundle(inside)
    assert media_path(bundle) == inside and media_path(inside) == inside
    assert probe(bundle).video.frames == 25 and len(read_frames(bundle)[0]) == 25
    assert read_audio(bundle).duration_s == pytest.approx(1, abs=0.07)
