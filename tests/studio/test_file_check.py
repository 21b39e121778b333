"""The verdict on a file the moment it is chosen."""

import numpy as np
import pytest
from helpers.browser import SAMPLES
from helpers.media import tone, write_video, write_wav
from helpers.studio import WAIT_S
from PIL import Image

from heygem import avatar
from heygem.config.params import FaceSettings
from heygem.core.i18n import translator
from heygem.studio import file_check
from heygem.studio.file_check import FileVerdicts, check_file


def check(path, kind, lang="en"):
    return check_file(path, kind, translator(lang))


@pytest.mark.slow
def test_a_good_video_and_a_good_sound_are_good():
    video = check(SAMPLES / "hopper.mp4", "video")
    assert video.level == "good" and video.problems == () and "face" in video.facts
    sound = check(SAMPLES / "speech_en.wav", "audio")
    assert sound.level == "good" and "speech" in sound.facts


@pytest.mark.slow
def test_what_cannot_be_used_is_named_at_once(clip, truncated_clip, empty_wav, tmp_path):
    cut = check(truncated_clip, "video")
    assert cut.level == "unusable" and "cut short" in cut.problems[0]
    faceless = check(clip, "video")
    assert faceless.level == "unusable" and "no face" in faceless.problems[0]
    silent = check(empty_wav, "audio")
    assert silent.level != "good" and "silent" in silent.problems[0]
    song = write_wav(tmp_path / "tone.wav", tone(3.0).samples)
    assert check(song, "audio").level == "warning"
    assert check(tmp_path / "nowhere.mp4", "video").level == "unusable"
    zh = check(clip, "video", "zh")
    assert zh.problems == ("没有找到人脸",) and "秒" in zh.facts


@pytest.mark.slow
def test_a_person_who_lies_on_the_side_is_named(hopper, faces, tmp_path):
    for name, turns in (("upright.png", 0), ("side.png", 1)):
        Image.fromarray(np.rot90(hopper, turns)).save(tmp_path / name)
    assert check(tmp_path / "upright.png", "video").level == "good"
    verdict = check(tmp_path / "side.png", "video")
    assert verdict.level == "warning" and "turn the video upright" in verdict.problems[0]
    person = avatar.load(tmp_path / "side.png", FaceSettings(), backend=faces, cache=False)
    assert "NOT_UPRIGHT" in [finding["code"] for finding in person.report["findings"]]


@pytest.mark.slow
def test_a_face_too_small_for_a_job_is_no_mere_warning(hopper, tmp_path):
    picture = Image.fromarray(hopper)
    for name, size in (("coarse.png", 0.45), ("tiny.png", 0.25)):
        canvas = Image.new("RGB", picture.size)
        canvas.paste(picture.resize([round(size * edge) for edge in picture.size]))
        canvas.save(tmp_path / name)
    coarse = check(tmp_path / "coarse.png", "video")
    assert coarse.level == "warning" and "coarse" in coarse.problems[0]
    tiny = check(tmp_path / "tiny.png", "video")
    assert tiny.level == "unusable" and "at least 64" in tiny.problems[0]


@pytest.mark.slow
@pytest.mark.fault
def test_a_film_whose_index_outlives_its_pictures_is_cut_short(tmp_path):
    whole = write_video(tmp_path / "a.mkv", frames=120, width=160, height=120, crf=5)
    cut = tmp_path / "b.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    verdict = check(cut, "video")
    assert verdict.level == "unusable" and "cut short" in verdict.problems[0]


def test_a_file_is_looked_at_once_until_it_changes(wav, monkeypatch):
    calls = []
    probe = file_check.media.probe
    monkeypatch.setattr(file_check.media, "probe", lambda path: calls.append(path) or probe(path))
    for _ in range(3):
        check(wav, "audio")
        check(wav, "audio", "zh")
    assert len(calls) == 1
    write_wav(wav, np.zeros(16000, np.float32))
    check(wav, "audio")
    assert len(calls) == 2


@pytest.mark.slow
def test_each_chosen_file_gets_its_line(clip, tmp_path):
    odd = tmp_path / "<b>.mp4"
    odd.write_bytes(b"no video")
    verdicts = FileVerdicts("video", translator("en"))
    verdicts.show([SAMPLES / "hopper.mp4", clip, odd])
    assert verdicts.idle.wait(WAIT_S)
    assert verdicts.value.count("<li") == 3 and "&lt;b&gt;.mp4" in verdicts.value
    assert str(tmp_path) not in verdicts.value, "a file is named, not its folder"
    assert verdicts.value.count('role="alert"') == 2 and "✓ hopper.mp4" in verdicts.value
    verdicts.show([])
    assert verdicts.value == ""
