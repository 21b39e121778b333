"""Fixtures of the command-line tests: inputs, and a way to run a command."""

import sys

import cv2
import numpy as np
import pytest
import skimage.data
from helpers.home import home_with_models

from heygem import media
from heygem.audio import tts
from heygem.cli.main import main


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A HEYGEM_HOME that holds only this machine's models."""
    folder = home_with_models(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEYGEM_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, home):
    """Folder of good, bad and broken videos and audio files."""
    folder = tmp_path_factory.mktemp("inputs")
    person = skimage.data.astronaut()
    write_test_video(folder / "good.mp4", person)
    write_test_video(folder / "small.mp4", cv2.resize(person, (256, 256)))
    write_test_video(
        folder / "faceless.mp4", np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 256))
    )
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("this is no video\n" * 100)
    whole = (folder / "good.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    utterance = tts.synthesize("Hello there.", "en")
    media.write_wav(folder / "voice.wav", utterance.samples, utterance.rate_hz)
    media.write_wav(
        folder / "short.wav", utterance.samples[: utterance.rate_hz // 20], utterance.rate_hz
    )
    media.write_wav(folder / "silent.wav", np.zeros(16_000, np.float32), 16_000)
    return folder


def write_test_video(path, image, frames=8):
    """A short video of an image that shifts sideways."""
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, 2)
        image = np.ascontiguousarray(image[:256, :256])
    height, width = image.shape[:2]
    with media.VideoWriter(
        path, label=media.RecordedFrames(), width=width, height=height, rate=25
    ) as writer:
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
            main()
        out, err = capfd.readouterr()
        code = ended.value.code
        return 0 if code is None else code, out, err

    return command
