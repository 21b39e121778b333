"""`heygem check`: quality of inputs."""

from pathlib import Path

import pytest


@pytest.mark.slow
def test_check_reports_good_and_bad_inputs(heygem, inputs):
    videos = ("--video", inputs / "good.mp4", "--video", inputs / "small.mp4")
    code, out, err = heygem("check", "--audio", inputs / "voice.wav", *videos)
    assert code == 2 and err == ""
    good, small = out.split("good.mp4\n")[1].split("small.mp4\n")
    assert "512x512" in good and "8 of 8 frames usable" in good
    assert "UNUSABLE" in small and "64" in small
    assert out.splitlines()[0].endswith("voice.wav") and "s of sound" in out
    assert not Path("out").exists()


@pytest.mark.slow
def test_check_warns_of_silence(heygem, inputs):
    code, out, _ = heygem("check", "--audio", inputs / "silent.wav")
    assert code == 0 and "warning: the audio is silent" in out


@pytest.mark.slow
def test_unusable_audio_does_not_hide_the_videos(heygem, inputs):
    options = ("--audio", inputs / "short.wav", "--video", inputs / "good.mp4")
    code, out, _ = heygem("check", *options)
    assert code == 2 and "UNUSABLE" in out and "8 of 8 frames usable" in out


@pytest.mark.slow
def test_files_without_options_are_accepted_with_a_notice(heygem, inputs):
    code, out, err = heygem("check", inputs / "voice.wav", inputs / "good.mp4")
    assert code == 0 and "s of sound" in out and "8 of 8 frames usable" in out
    assert len(err.splitlines()) == 1 and "--audio AUDIO --video VIDEO" in err


def test_check_without_files_is_an_error(heygem):
    code, out, err = heygem("check")
    assert code == 2 and out == "" and "give --audio, --video or both" in err
