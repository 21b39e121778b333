"""The metadata label in audio files and pictures."""

import wave

import numpy as np
from PIL import Image

from heygem import media
from heygem.provenance import containers


def test_audio_files_and_pictures_hold_the_newest_tag_only(tmp_path, installation):
    text = installation.labeller.tags["AIGC"]
    with wave.open(str(tmp_path / "a.wav"), "wb") as w:
        w.setnchannels(1), w.setsampwidth(2), w.setframerate(16000)
        w.writeframes(np.arange(1601, dtype="<i2").tobytes())
    Image.fromarray(installation.frames[0]).save(tmp_path / "a.png")
    Image.fromarray(installation.frames[0]).save(tmp_path / "a.jpg")
    for name in ("a.wav", "a.png", "a.jpg"):
        before = media.read_audio(tmp_path / name).samples if name == "a.wav" else None
        containers.write_tag(tmp_path / name, "old")
        containers.write_tag(tmp_path / name, text)
        assert containers.read_tags(tmp_path / name) == [text]  # one, the newest
        if before is not None:
            assert (media.read_audio(tmp_path / name).samples == before).all()
    assert (np.asarray(Image.open(tmp_path / "a.png")) == installation.frames[0]).all()
