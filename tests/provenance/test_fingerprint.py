"""Perceptual fingerprints of picture and sound."""

import json

import numpy as np
import pytest
from helpers.labelled import HEIGHT, WIDTH, make_audio, make_frame

from heygem.media.colour import BT709
from heygem.media.yuv import YuvImage
from heygem.provenance.fingerprint import (
    CELLS,
    MAX_LAYOUTS,
    Fingerprint,
    FrameHasher,
    hash_audio,
)


@pytest.mark.slow
def test_frames_are_hashed_twice_a_second_by_their_content():
    hasher, inverted = FrameHasher(), FrameHasher()
    for k in range(50):
        hasher.add(make_frame(k), k / 25)
        inverted.add(255 - make_frame(k), k / 25)
    assert len(hasher.hashes) == 4 and hasher.hashes.dtype == np.uint64
    differing = np.bitwise_count(hasher.hashes ^ inverted.hashes).mean() / 64
    assert differing > 0.9  # opposite signs


def test_mirrored_hashes_are_those_of_the_mirrored_picture():
    hasher, mirrored = FrameHasher(), FrameHasher()
    hasher.add(make_frame(3), 0.0)
    mirrored.add(np.ascontiguousarray(make_frame(3)[:, ::-1]), 0.0)
    differing = np.bitwise_count(hasher.mirrored_hashes ^ mirrored.hashes).mean() / 64
    assert differing < 0.05 < np.bitwise_count(hasher.hashes ^ mirrored.hashes).mean() / 64


def test_planes_have_the_hash_of_the_picture_without_its_conversion(monkeypatch):
    image = make_frame(3)
    planes, picture = FrameHasher(), FrameHasher()
    picture.add(YuvImage.from_rgb(image, BT709.matrix).rgb(), 0.0)
    monkeypatch.setattr(YuvImage, "rgb", None)
    planes.add(YuvImage.from_rgb(image, BT709.matrix), 0.0)
    assert np.bitwise_count(planes.hashes ^ picture.hashes).max() <= 2
    difference = planes.thumbnails[0].astype(int) - picture.thumbnails[0]
    assert np.abs(difference).mean() < 0.5


@pytest.mark.slow
def test_an_hour_has_no_more_layouts_than_the_limit():
    hasher = FrameHasher()
    image = np.zeros((36, 64, 3), np.uint8)
    for k in range(2 * 3600):
        hasher.add(image, k / 2)
    assert MAX_LAYOUTS / 2 <= len(hasher.thumbnails) <= MAX_LAYOUTS
    size = len(json.dumps(hasher.fingerprint(np.zeros(0, np.uint32)).to_dict()["layouts"]))
    assert size < 13_000


def test_audio_hashes_start_where_they_are_told_and_follow_the_tempo():
    samples = make_audio()[:, 0]
    hashes = hash_audio(samples, 16_000)
    late = hash_audio(samples, 16_000, start_s=0.0928)
    assert np.bitwise_count(hashes[1:] ^ late[: len(hashes) - 1]).mean() < 2
    fast = hash_audio(samples, 16_000, tempo=1.25)
    assert len(fast) == pytest.approx(1.25 * len(hashes), abs=2)
    assert len(hash_audio(samples[:1000], 16_000)) == len(hash_audio(samples[:0], 16_000)) == 0


@pytest.mark.slow
def test_a_fingerprint_is_stored_and_loaded():
    hasher = FrameHasher()
    for k in range(30):
        hasher.add(make_frame(k), k / 10)
    fingerprint = hasher.fingerprint(np.array([0, 2**32 - 1], np.uint32))
    loaded = Fingerprint.from_dict(json.loads(json.dumps(fingerprint.to_dict())))
    assert (loaded.video == fingerprint.video).all() and (loaded.audio == fingerprint.audio).all()
    assert loaded.layouts.shape == (3, CELLS, CELLS) and loaded.layouts.std() > 1
    assert (loaded.layouts == fingerprint.layouts).all()
    assert (loaded.width, loaded.height) == (WIDTH, HEIGHT)


def test_a_fingerprint_of_the_earlier_version_is_loaded():
    loaded = Fingerprint.from_dict({"picture": ["00000000000000ff"], "sound": "000000ff"})
    assert loaded.video[0] == loaded.audio[0] == 255
    assert len(loaded.layouts) == 0 and loaded.width == 0
