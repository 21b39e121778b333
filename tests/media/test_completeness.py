"""Files that end before their header says: refused before any work, whatever their format."""

import os
import socket

import numpy as np
import pytest
from helpers.media import (
    picture,
    raw_wav,
    read_frames,
    refusal,
    synthetic_voice,
    write_wav,
)
from PIL import Image

from heygem import audio
from heygem.core.files import hash_input
from heygem.media import probe, read_audio

pytestmark = pytest.mark.fault

SOUNDS = {
    "wav": "pcm_s16le",
    "w64": "pcm_s16le",
    "aiff": "pcm_s16be",
    "caf": "pcm_s16le",
    "au": "pcm_s16be",
    "avi": "pcm_s16le",
    "flac": "flac",
    "mp3": "libmp3lame",
    "m4a": "aac",
    "mka": "aac",
}


def cut(path, share):
    """The beginning of a file, beside it."""
    content = path.read_bytes()
    part = path.with_name(f"cut{path.suffix}")
    part.write_bytes(content[: int(len(content) * share)])
    return part


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("ending", SOUNDS)
@pytest.mark.slow
def test_a_sound_that_is_cut_short_is_refused(tmp_path, ending, share):
    voice = np.tile(synthetic_voice(2), 4)
    whole = write_wav(tmp_path / f"whole.{ending}", voice, codec=SOUNDS[ending])
    assert audio.load(whole).duration_s == pytest.approx(8, abs=0.1)
    assert "cut short" in refusal(lambda: audio.load(cut(whole, share)))


@pytest.mark.parametrize("declared", [0, 0x7FFFF000, 0x80000000, 0xFFFFFFFF])
def test_a_recording_through_a_pipe_does_not_know_its_length(tmp_path, declared):
    path = raw_wav(tmp_path / "piped.wav", synthetic_voice(1), declared_bytes=declared)
    assert read_audio(path).duration_s == 1


@pytest.mark.slow
def test_an_ogg_without_its_last_page_may_be_cut_short(tmp_path):
    voice = np.tile(synthetic_voice(2, rate_hz=48_000), 3)
    whole = write_wav(tmp_path / "whole.ogg", voice, 48_000, "libopus")
    for path, is_cut in ((whole, False), (cut(whole, 0.5), True)):
        codes = [finding.code for finding in audio.check(audio.load(path))]
        assert ("NO_END_MARK" in codes) == is_cut


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "bmp", "tiff"])
def test_a_picture_that_breaks_off_is_refused(tmp_path, ending):
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    whole = tmp_path / f"whole.{ending}"
    Image.fromarray(noise).save(whole)
    assert read_frames(whole)[0][0].image.shape == (96, 128, 3)
    for share in (0.5, 0.9):
        assert "cut short" in refusal(lambda share=share: probe(cut(whole, share)))


def test_a_jpeg_with_bytes_after_its_end_is_whole(tmp_path):
    path = tmp_path / "p.jpg"
    Image.fromarray(picture()).save(path)
    path.write_bytes(path.read_bytes() + bytes(5000))  # as some cameras write it
    assert probe(path).is_still


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")  # nobody writes to it: reading would wait for ever
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.wav"))
    (tmp_path / "link.wav").symlink_to(tmp_path / "pipe.wav")
    for name, kind in {
        tmp_path / "pipe.wav": "a pipe",
        tmp_path / "link.wav": "a pipe",
        tmp_path / "socket.wav": "a socket",
        tmp_path: "a folder",
        "/dev/zero": "a device",
    }.items():
        for read in (probe, audio.load, hash_input):
            assert kind in refusal(lambda name=name, read=read: read(name))
