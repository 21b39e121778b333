"""`heygem generate` with real videos, and with every kind of wrong input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heygem import media
from heygem.audio import tts
from heygem.config.params import Params

MAIN = "from heygem.cli.main import main; main()"


def run_generate(heygem, inputs, *videos, audio="voice.wav", more=()):
    words = ["generate", "--audio", inputs / audio, "--out", "out"]
    for video in videos:
        words += ["--video", video]
    return heygem(*words, "--set", "mlflow.enabled=false", "--set", "media.preset=veryfast", *more)


BAD_VIDEOS = {
    "missing.mp4": "no such file",
    "empty.mp4": "empty",
    "text.mp4": "",
    "cut.mp4": "",
    "voice.wav": "no picture",
    "faceless.mp4": "no face",
    "small.mp4": "64",
}


@pytest.mark.slow
def test_each_bad_video_gets_a_one_line_error_and_the_good_one_is_made(heygem, inputs, tmp_path):
    videos = [inputs / name for name in BAD_VIDEOS]
    code, out, err = run_generate(heygem, inputs, *videos[:3], inputs / "good.mp4", *videos[3:])
    assert code == 2
    assert out.startswith("out/good-voice.mp4")
    lines = err.splitlines()
    assert len(lines) == len(BAD_VIDEOS), err
    for line, (name, words) in zip(lines, BAD_VIDEOS.items(), strict=True):
        assert line.startswith("failed: ") and name in line
        assert words in line.lower()
        # What failed, and what to do about it.
        assert len(line.split(";")) >= 2, line
        assert "Traceback" not in line and "Error" not in line
    assert sorted(os.listdir("out")) == ["batch.json", "details", "good-voice.mp4"]
    assert os.listdir("out/details") == ["good-voice"]
    statuses = [item["status"] for item in json.loads(Path("out/batch.json").read_text())["items"]]
    assert statuses.count("done") == 1 and statuses.count("failed") == len(BAD_VIDEOS)
    # The second run skips the good one.
    code, out, err = run_generate(heygem, inputs, inputs / "good.mp4", inputs / "missing.mp4")
    assert code == 2 and "already there" in out


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BAD_VIDEOS])
def test_a_bad_video_alone_leaves_no_output(heygem, inputs, name, tmp_path):
    code, out, err = run_generate(heygem, inputs, inputs / name)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["short.wav", "missing.wav", "empty.mp4", "text.mp4", "good.mp4"])
def test_bad_audio_is_one_error_for_all_videos(heygem, inputs, name, tmp_path):
    code, out, err = run_generate(
        heygem, inputs, inputs / "good.mp4", inputs / "small.mp4", audio=name
    )
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and err.startswith("error: ") and name in err
    assert os.listdir(tmp_path) == []


def test_output_that_cannot_be_written(heygem, inputs, tmp_path):
    (tmp_path / "out").write_bytes(b"a file")
    code, out, err = run_generate(heygem, inputs, inputs / "good.mp4")
    assert (code, out) == (2, "")
    assert "output folder" in err and len(err.splitlines()) == 1
    assert (tmp_path / "out").read_bytes() == b"a file"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "lips.opennes_gain=1"], "did you mean 'openness_gain'?"),
        (["--set", "lips.openness_gain=wide"], "seen: 'wide'"),
        (["--set", "lips.openness_gain=7"], "seen: 7"),
        (["--set", "nonsense"], "KEY=VALUE"),
        (["--set", "label.visible=false"], "requester"),
        (["--params", "none.yaml"], "no such parameter file"),
    ],
)
def test_mistyped_settings_stop_before_any_work(heygem, inputs, words, message, tmp_path):
    code, out, err = run_generate(heygem, inputs, inputs / "good.mp4", more=words)
    assert (code, out) == (2, "")
    assert message in err and len(err.splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_silent_audio_is_a_warning_not_an_error(heygem, inputs):
    code, out, err = run_generate(heygem, inputs, inputs / "good.mp4", audio="silent.wav")
    assert code == 0 and err == ""
    assert "warning: the audio is silent" in out


@pytest.mark.slow
def test_odd_file_names_work(heygem, inputs, tmp_path):
    names = [
        "中文 名字.mp4",
        "-dash.mp4",
        "a:b.mp4",
        "new\nline.mp4",
        "q\"uo'te$.mp4",
        "长" * 80 + ".mp4",
        os.fsdecode(b"latin-\xe9.mp4"),
    ]
    for name in names:
        shutil.copy(inputs / "good.mp4", tmp_path / name)
    code, out, err = run_generate(heygem, inputs, *names)
    assert code == 0, err
    lines = [line for line in out.splitlines() if not line.startswith("  ")]
    assert len(lines) == len(names)
    results = list(Path("out").glob("*.mp4"))
    assert len(results) == len(names)
    for video in results:
        assert media.probe(video).duration_s > 0.3
    videos = [word for name in names for word in ("--video", name)]
    code, out, err = heygem("check", "--audio", inputs / "voice.wav", *videos)
    assert code == 0, out


@pytest.mark.slow
def test_text_instead_of_audio(heygem, inputs):
    words = ["generate", "--text", "Good morning.", "--video", inputs / "good.mp4", "--out", "out"]
    code, out, err = heygem(*words, "--set", "mlflow.enabled=false")
    assert code == 0 and out.startswith("out/good-speech.mp4")


@pytest.mark.slow
def test_options_override_the_recipe(heygem, inputs, tmp_path):
    recipe = Params.from_dict(
        {
            "inputs": {"text": "replaced by the option", "videos": ["replaced.mp4"]},
            "media": {"preset": "veryfast", "crf": 30},
            "mlflow": {"enabled": False},
        }
    )
    Path("mine.yaml").write_text(recipe.to_yaml())
    code, out, err = run_generate(
        heygem, inputs, inputs / "good.mp4", more=["--params", "mine.yaml"]
    )
    assert code == 0, err
    written = json.loads(Path("out/details/good-voice/manifest.json").read_text())
    assert written["params"]["media"]["crf"] == 30
    assert written["audio"]["path"] == str(inputs / "voice.wav")


@pytest.mark.slow
def test_missing_models_name_the_remedy(heygem, inputs, monkeypatch, tmp_path_factory, tmp_path):
    monkeypatch.setenv("HEYGEM_HOME", str(tmp_path_factory.mktemp("bare")))
    code, out, err = run_generate(heygem, inputs, inputs / "good.mp4")
    assert code == 2 and "heygem models pull" in err
    assert len(err.splitlines()) == 1 and os.listdir(tmp_path) == []
    assert heygem("models", "verify")[0] == 2


@pytest.mark.slow
def test_ctrl_c_leaves_no_partial_file(inputs, tmp_path):
    utterance = tts.synthesize("A rather long sentence that is said again and again. " * 8, "en")
    media.write_wav(tmp_path / "long.wav", utterance.samples, utterance.rate_hz)
    command = [
        sys.executable,
        "-c",
        MAIN,
        "generate",
        "--audio",
        "long.wav",
        "--out",
        "out",
        "--video",
    ]
    command += [str(inputs / "good.mp4"), "--set", "mlflow.enabled=false"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "out").glob(".*.part")):  # the video is being written
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == f"not made: {inputs / 'good.mp4'}\n"
    assert os.listdir(tmp_path) == ["long.wav"]


def test_a_table_of_pairs_is_checked_before_any_work(heygem, tmp_path):
    (tmp_path / "table.csv").write_text("video,audio,lips.offset_ms\na.mp4,b.wav,soon\n")
    code, out, err = heygem("generate", "--pairs", "table.csv", "--out", "out")
    assert code == 2 and not out and len(err.splitlines()) == 1
    assert "table.csv, row 2" in err and "lips.offset_ms" in err and "soon" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_table_of_pairs_replaces_the_recipes_videos(heygem, inputs, tmp_path):
    rows = f"video,audio,name\n{inputs / 'good.mp4'},{inputs / 'voice.wav'},mine\n"
    rows += f"{inputs / 'good.mp4'},{inputs / 'short.wav'},\n"
    (tmp_path / "table.csv").write_text(rows)
    (tmp_path / "r.yaml").write_text("inputs: {videos: [other.mp4], audio: other.wav}\n")
    words = ("--params", "r.yaml", "--out", "out", "--set", "mlflow.enabled=false")
    code, out, err = heygem("generate", "--pairs", "table.csv", *words)
    assert code == 2 and out.startswith("out/mine.mp4")
    assert "short.wav" in err and "too short" in err
