"""The bundled samples are what their tables say they are."""

import csv
import importlib
import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from heygem import media
from heygem.core import assets
from heygem.core.errors import AssetError

SAMPLES = Path(__file__).parent.parent / "samples"
CLIPS = {"hopper": (Fraction(30), "en-us"), "collins": (Fraction(25), "cmn")}


@pytest.fixture(scope="module")
def maker():
    """The script, imported as it runs: its folder first on the path."""
    sys.path.insert(0, str(SAMPLES))
    try:
        yield importlib.import_module("make_samples")
    finally:
        sys.path.remove(str(SAMPLES))


def _table(name):
    with open(SAMPLES / f"{name}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _column(rows, key):
    return np.array([float(r[key]) for r in rows])


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_clip_plays_and_has_a_row_for_every_frame(name):
    info = media.probe(SAMPLES / f"{name}.mp4")
    assert info.video.rate == CLIPS[name][0]
    assert info.audio is not None and abs(info.audio.duration_s - info.video.duration_s) < 0.1
    times = [f.time_s for f in media.VideoReader(SAMPLES / f"{name}.mp4")]
    rows = _table(name)
    assert len(times) == len(rows)
    assert np.allclose(times, _column(rows, "time_s"), atol=1e-3)
    assert 6 < times[-1] < 9


@pytest.mark.parametrize("name", CLIPS)
def test_clip_says_that_it_is_ai_made(name):
    label = json.loads(media.probe(SAMPLES / f"{name}.mp4").tags["AIGC"])
    assert label["Label"] == "1" and label["ProduceID"] == f"sample-{name}"


@pytest.mark.parametrize("name", CLIPS)
def test_truth_opens_on_vowels_and_shuts_on_closures(name):
    rows = _table(name)
    aperture = _column(rows, "aperture")
    assert aperture.min() == 0 and 0.06 < aperture.max() < 0.25
    of = {"open": [], "shut": []}
    for row, a in zip(rows, aperture, strict=True):
        if set(row["phone"]) & set("ɑaæ"):
            of["open"].append(a)
        elif row["phone"] in ("m", "p", "b"):
            of["shut"].append(a)
    assert of["open"] and of["shut"]
    assert np.median(of["open"]) > 0.04 and np.median(of["shut"]) < 0.01
    # Silence before and after.
    assert aperture[:5].max() == 0 and aperture[-5:].max() == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_picture_follows_the_truth(name):
    """Tracked by heygem's own face mesh, which does not use the viseme table."""
    try:
        from heygem.face.backends import MediaPipeBackend
        from heygem.face.detector import region_of

        backend = MediaPipeBackend(assets.path)
    except AssetError as e:
        pytest.skip(str(e))
    measured, region = [], None
    for frame in media.VideoReader(SAMPLES / f"{name}.mp4"):
        if region is None:
            region = backend.detect(frame.image)[0]
        points, _ = backend.mesh(frame.image, region)
        region = region_of(points)
        eyes = np.linalg.norm(points[263, :2] - points[33, :2])
        gap = np.linalg.norm(points[14, :2] - points[13, :2]) / eyes
        width = np.linalg.norm(points[291, :2] - points[61, :2]) / eyes
        measured.append((gap, width))
    gap, width = np.array(measured).T
    rows = _table(name)
    truth = _column(rows, "aperture")
    at = {k: np.corrcoef(np.roll(gap, -k)[5:-5], truth[5:-5])[0, 1] for k in range(-3, 4)}
    assert at[0] > 0.9 and max(at, key=at.get) == 0, at
    assert np.corrcoef(width, _column(rows, "width"))[0, 1] > 0.8


def test_sound_starts_and_ends_with_the_mouth():
    for name in CLIPS:
        track = media.read_audio(SAMPLES / f"{name}.mp4")
        loud = np.abs(track.samples).max(1) > 0.02
        start_s = np.argmax(loud) / track.rate_hz
        end_s = (len(loud) - np.argmax(loud[::-1])) / track.rate_hz
        rows = _table(name)
        moving = _column(rows, "time_s")[_column(rows, "aperture") > 0.005]
        assert abs(moving[0] - start_s) < 0.15 and abs(moving[-1] - end_s) < 0.25


def test_truth_can_be_made_again(maker):
    for clip in maker.CLIPS:
        _, mouth = maker.truth(clip)
        assert mouth.to_csv() == (SAMPLES / f"{clip.name}.csv").read_text(encoding="utf-8")


def test_driving_speech_is_other_sentences_and_clean(maker):
    texts = {c.text for c in maker.CLIPS} | {line.text for line in maker.LINES}
    assert len(texts) == 4
    for line in maker.LINES:
        track = media.read_audio(SAMPLES / f"{line.name}.wav")
        assert track.rate_hz == 22050 and track.samples.shape[1] == 1
        assert 5 < len(track.samples) / track.rate_hz < 9
        assert 0.2 < np.abs(track.samples).max() < 0.9


def test_still_portrait_and_size_of_it_all():
    info = media.probe(SAMPLES / "hopper.jpg")
    assert info.is_still and 480 <= info.video.height <= 640
    assert sum(f.stat().st_size for f in SAMPLES.iterdir() if f.is_file()) < 5e6


def test_portraits_are_read_from_installed_packages(maker, monkeypatch):
    """No photograph may be fetched: a newcomer's machine may have no network."""
    import socket

    def refuse(*_):
        raise AssertionError("asked the network for a photograph")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for person in ("hopper", "collins"):
        image = maker.photograph(person)
        assert image.dtype == np.uint8 and image.shape[1:] == (512, 3)
