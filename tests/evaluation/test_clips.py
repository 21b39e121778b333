"""Which videos are evaluated, and how short clips of one person become one."""

import numpy as np
import pytest
from helpers.media import tone, write_video

from heygem import media
from heygem.core.errors import InputError
from heygem.evaluation.clips import Clip, collect_clips, join


def manifest(folder, *rows):
    lines = ["file,speaker,split,sync", *(",".join(row) for row in rows)]
    (folder / "MANIFEST.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.slow
def test_short_clips_of_a_person_are_joined_and_divided_where_the_manifest_says(tmp_path):
    for name in ("a", "b", "c"):
        write_video(tmp_path / f"{name}.mp4", frames=25, audio=tone(1.0))
    (tmp_path / "c.align").write_text("0 12500 bin\n12500 25000 blue\n")
    rows = (
        ("c.mp4", "anna", "dev", "ok"),
        ("a.mp4", "anna", "train", ""),
        ("b.mp4", "ben", "train", ""),
    )
    (joined,) = collect_clips([manifest(tmp_path, *rows)], tmp_path / "out")
    assert (joined.speaker, joined.sync) == ("anna", "ok")
    assert [part.name for part in joined.parts] == ["a.mp4", "c.mp4"]
    assert joined.boundary_s == pytest.approx(1.0)
    assert joined.words[0].start_s == pytest.approx(1.0)
    with media.VideoReader(joined.path) as reader:
        frames = list(reader)
    with media.VideoReader(tmp_path / "c.mp4") as reader:
        source = list(reader)
    assert len(frames) == 50 and np.array_equal(frames[25].image, source[0].image)
    assert frames[-1].time_s == pytest.approx(49 / 25)


@pytest.mark.slow
def test_all_videos_of_a_folder_without_a_manifest_are_evaluated(tmp_path):
    (tmp_path / "anna").mkdir()
    write_video(tmp_path / "anna" / "long.mp4", frames=25 * 11, audio=tone(11.0))
    (clip,) = collect_clips([tmp_path], tmp_path / "out")
    assert (clip.speaker, clip.boundary_s, clip.extra_footage) == ("anna", None, ())
    assert collect_clips([clip], tmp_path) == [clip]
    assert Clip.from_path(clip.path).speaker == "anna"


def test_clips_of_different_sizes_are_not_joined(tmp_path):
    paths = [
        write_video(tmp_path / "a.mp4", audio=tone()),
        write_video(tmp_path / "b.mp4", width=96, audio=tone()),
    ]
    with pytest.raises(InputError, match=r"differ in size.*64x48, 96x48"):
        join(paths[:1], paths[1:], tmp_path / "out.mkv", "anna")


def test_a_clip_without_audio_is_not_joined(tmp_path, clip, silent_clip):
    with pytest.raises(InputError, match="silent.mp4 has no picture or no audio"):
        join([clip], [silent_clip], tmp_path / "out.mkv", "anna")
