"""The command line, with real people, real files and everything a user may get wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from heygem import media
from heygem.audio import tts
from heygem.batch import runner
from heygem.cli.main import main
from heygem.config.params import Params
from heygem.core import assets

HEYGEM = [sys.executable, "-c", "from heygem.cli.main import main; main()"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home of its own, with this machine's models in it."""
    if any(entry.state != "ok" for entry in assets.inventory()):
        pytest.skip("models are not there: run heygem models pull")
    folder = tmp_path_factory.mktemp("home")
    (folder / "models").symlink_to(assets.model_folder().absolute())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEYGEM_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def stuff(tmp_path_factory, home):
    """One good person and one good voice; and what people give by mistake."""
    folder = tmp_path_factory.mktemp("stuff")
    person = skimage.data.astronaut()
    write_video(folder / "good.mp4", person)
    write_video(folder / "small.mp4", cv2.resize(person, (256, 256)))
    write_video(folder / "faceless.mp4", np.tile(np.arange(256, dtype=np.uint8)[:, None], (256, 3)))
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("this is no video\n" * 100)
    whole = (folder / "good.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    said = tts.synthesize("Hello there.", "en")
    media.write_wav(folder / "voice.wav", said.samples, said.rate_hz)
    media.write_wav(folder / "short.wav", said.samples[: said.rate_hz // 20], said.rate_hz)
    media.write_wav(folder / "silent.wav", np.zeros(16_000, np.float32), 16_000)
    return folder


def write_video(path, image, frames=8):
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, 2)
        image = np.ascontiguousarray(image[:256, :256])
    height, width = image.shape[:2]
    with media.VideoWriter(path, width=width, height=height, rate=25) as writer:
        for i in range(frames):
            writer.write(np.roll(image, i % 2, axis=1), i / 25)


@pytest.fixture
def heygem(monkeypatch, capfd, tmp_path, home):
    """Run a command in an empty folder; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["heygem", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        out, err = capfd.readouterr()
        code = ended.value.code
        return 0 if code is None else code, out, err

    return command


def make(heygem, stuff, *videos, audio="voice.wav", more=()):
    words = ["generate", "--audio", stuff / audio, "--out", "out"]
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


def test_every_bad_video_gets_one_clear_line_and_the_good_one_its_video(heygem, stuff, tmp_path):
    videos = [stuff / name for name in BAD_VIDEOS]
    code, out, err = make(heygem, stuff, *videos[:3], stuff / "good.mp4", *videos[3:])
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
    # And once more: the good one is there already.
    code, out, err = make(heygem, stuff, stuff / "good.mp4", stuff / "missing.mp4")
    assert code == 2 and "already there" in out


@pytest.mark.parametrize("name", [*BAD_VIDEOS])
def test_a_bad_video_alone_leaves_nothing_behind(heygem, stuff, name, tmp_path):
    code, out, err = make(heygem, stuff, stuff / name)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["short.wav", "missing.wav", "empty.mp4", "text.mp4", "good.mp4"])
def test_bad_audio_is_one_line_for_all(heygem, stuff, name, tmp_path):
    code, out, err = make(heygem, stuff, stuff / "good.mp4", stuff / "small.mp4", audio=name)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1 and err.startswith("error: ") and name in err
    assert os.listdir(tmp_path) == []


def test_output_that_cannot_be_written(heygem, stuff, tmp_path):
    (tmp_path / "out").write_bytes(b"a file")
    code, out, err = make(heygem, stuff, stuff / "good.mp4")
    assert (code, out) == (2, "")
    assert "output folder" in err and len(err.splitlines()) == 1
    assert (tmp_path / "out").read_bytes() == b"a file"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "lips.opennes_gain=1"], "did you mean 'openness_gain'?"),
        (["--set", "lips.openness_gain=wide"], "seen: 'wide'"),
        (["--set", "lips.openness_gain=7"], "seen: 7"),
        (["--set", "nonsense"], "KEY=VALUE"),
        (["--set", "label.visible=false"], "requester"),
        (["--params", "none.yaml"], "no such parameter file"),
    ],
)
def test_mistyped_settings_stop_before_any_work(heygem, stuff, words, said, tmp_path):
    code, out, err = make(heygem, stuff, stuff / "good.mp4", more=words)
    assert (code, out) == (2, "")
    assert said in err and len(err.splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_silent_audio_is_a_warning_not_an_error(heygem, stuff):
    code, out, err = make(heygem, stuff, stuff / "good.mp4", audio="silent.wav")
    assert code == 0 and err == ""
    assert "warning: the audio is silent" in out


def test_odd_names_work(heygem, stuff, tmp_path):
    names = [
        "中文 名字.mp4",
        "-dash.mp4",
        "a:b.mp4",
        "new\nline.mp4",
        "q\"uo'te$.mp4",
        "长" * 80 + ".mp4",
    ]
    for name in names:
        shutil.copy(stuff / "good.mp4", tmp_path / name)
    code, out, err = make(heygem, stuff, *names)
    assert code == 0, err
    lines = [line for line in out.splitlines() if not line.startswith("  ")]
    assert len(lines) == len(names)
    made = list(Path("out").glob("*.mp4"))
    assert len(made) == len(names)
    for video in made:
        assert media.probe(video).duration_s > 0.3
    code, out, err = heygem("check", "--", stuff / "voice.wav", *names)
    assert code == 0, out


def test_text_instead_of_audio(heygem, stuff):
    words = ["generate", "--text", "Good morning.", "--video", stuff / "good.mp4", "--out", "out"]
    code, out, err = heygem(*words, "--set", "mlflow.enabled=false")
    assert code == 0 and out.startswith("out/good-speech.mp4")


def test_recipe_and_options_go_together(heygem, stuff, tmp_path):
    recipe = Params.from_dict(
        {
            "inputs": {"text": "replaced by the option", "videos": ["replaced.mp4"]},
            "media": {"preset": "veryfast", "crf": 30},
            "mlflow": {"enabled": False},
        }
    )
    Path("mine.yaml").write_text(recipe.to_yaml())
    code, out, err = make(heygem, stuff, stuff / "good.mp4", more=["--params", "mine.yaml"])
    assert code == 0, err
    written = json.loads(Path("out/details/good-voice/manifest.json").read_text())
    assert written["params"]["media"]["crf"] == 30
    assert written["audio"]["path"] == str(stuff / "voice.wav")


def test_check_says_what_is_good_and_bad(heygem, stuff):
    code, out, err = heygem("check", stuff / "voice.wav", stuff / "good.mp4", stuff / "small.mp4")
    assert code == 2
    good, small = out.split("good.mp4\n")[1].split("small.mp4\n")
    assert "512x512" in good and "8 of 8 frames usable" in good
    assert "UNUSABLE" in small and "64" in small
    assert out.splitlines()[0].endswith("voice.wav") and "s of sound" in out
    assert not Path("out").exists()


def test_check_warns_of_silence(heygem, stuff):
    code, out, _ = heygem("check", stuff / "silent.wav", stuff / "good.mp4")
    assert code == 0 and "warning: the audio is silent" in out


def test_models_commands(heygem):
    code, out, _ = heygem("models", "list")
    assert code == 0
    for asset in assets.PULLED:
        assert asset.name in out and asset.sha256 in out
    assert "Apache-2.0" in out and "missing" not in out
    assert heygem("models", "verify")[0] == 0
    code, out, _ = heygem("models", "pull")
    assert code == 0 and out.startswith("0 fetched")


def test_missing_models_name_the_remedy(heygem, stuff, monkeypatch, tmp_path_factory, tmp_path):
    monkeypatch.setenv("HEYGEM_HOME", str(tmp_path_factory.mktemp("bare")))
    code, out, err = make(heygem, stuff, stuff / "good.mp4")
    assert code == 2 and "heygem models pull" in err
    assert len(err.splitlines()) == 1 and os.listdir(tmp_path) == []
    assert heygem("models", "verify")[0] == 2


@pytest.mark.parametrize("command", [[], ["generate"], ["run"], ["check"], ["models"], ["ui"]])
def test_help_teaches(heygem, command):
    code, out, _ = heygem(*command, "--help")
    assert code == 0 and "Usage" in out
    if command == ["generate"]:
        for word in ("--audio", "--video", "--out", "--params", "Ctrl-C"):
            assert word in out


def test_ui_without_runs_is_told(heygem):
    code, _, err = heygem("ui")
    assert code == 2 and "no recorded runs" in err


def test_unexpected_failure_is_one_line_and_a_log(heygem, stuff, monkeypatch, home):
    monkeypatch.setattr(runner, "run", lambda *_, **__: 1 / 0)
    code, out, err = make(heygem, stuff, stuff / "good.mp4")
    assert code == 1
    first, second = err.splitlines()
    assert first == "error: unexpected ZeroDivisionError: division by zero"
    log = Path(second.removeprefix("details: "))
    assert log.is_relative_to(home) and "Traceback" in log.read_text()


def test_ctrl_c_leaves_nothing_half_written(stuff, tmp_path):
    said = tts.synthesize("A rather long sentence that is said again and again. " * 20, "en")
    media.write_wav(tmp_path / "long.wav", said.samples, said.rate_hz)
    command = [*HEYGEM, "generate", "--audio", "long.wav", "--out", "out", "--video"]
    command += [str(stuff / "good.mp4"), "--set", "mlflow.enabled=false"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".*.part")):  # the video is being written
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == f"not made: {stuff / 'good.mp4'}\n"
    assert os.listdir(tmp_path) == ["long.wav"]


def test_a_table_of_pairs_is_checked_before_any_work(heygem, tmp_path):
    (tmp_path / "table.csv").write_text("video,audio,lips.offset_ms\na.mp4,b.wav,soon\n")
    code, out, err = heygem("generate", "--pairs", "table.csv", "--out", "out")
    assert code == 2 and not out and len(err.splitlines()) == 1
    assert "table.csv, row 2" in err and "lips.offset_ms" in err and "soon" in err
    assert not (tmp_path / "out").exists()


def test_a_table_of_pairs_takes_the_place_of_a_recipes_videos(heygem, stuff, tmp_path):
    rows = f"video,audio,name\n{stuff / 'good.mp4'},{stuff / 'voice.wav'},mine\n"
    rows += f"{stuff / 'good.mp4'},{stuff / 'short.wav'},\n"
    (tmp_path / "table.csv").write_text(rows)
    (tmp_path / "r.yaml").write_text("inputs: {videos: [other.mp4], audio: other.wav}\n")
    words = ("--params", "r.yaml", "--out", "out", "--set", "mlflow.enabled=false")
    code, out, err = heygem("generate", "--pairs", "table.csv", *words)
    assert code == 2 and out.startswith("out/mine.mp4")
    assert "short.wav" in err and "too short" in err
