"""Perceptual fingerprints of video and audio."""

import numpy as np
import pytest
from helpers.labelled import make_audio, make_frame

from heygem.provenance.fingerprint import (
    MAX_AUDIO_ERROR,
    Fingerprint,
    FrameHasher,
    bit_error_rate,
    hash_audio,
)


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_bit_error_rate_is_that_of_the_best_alignment(dtype):
    bits = np.iinfo(dtype).bits
    a = np.random.default_rng(1).integers(0, 2**bits, 40, dtype)
    assert bit_error_rate(a, a) == 0
    assert bit_error_rate(a[7:20], a) == bit_error_rate(a, a[7:20]) == 0
    assert bit_error_rate(a[:6], ~a[:6]) == 1
    flipped = a ^ dtype(1)  # one bit of each
    assert bit_error_rate(a, flipped) == pytest.approx(1 / bits)
    assert bit_error_rate(a[:3], a) == 1  # too few to compare


@pytest.mark.slow
def test_frames_are_hashed_twice_a_second_by_their_content():
    hasher, inverted = FrameHasher(), FrameHasher()
    for k in range(50):
        hasher.add(make_frame(k), k / 25)
        inverted.add(255 - make_frame(k), k / 25)
    assert len(hasher.hashes) == 4 and hasher.hashes.dtype == np.uint64
    assert bit_error_rate(hasher.hashes, inverted.hashes) > 0.9  # opposite signs


def test_audio_hashes_survive_resampling_and_differ_between_recordings():
    samples = make_audio()[:, 0]
    hashes = hash_audio(samples, 16_000)
    resampled = np.interp(np.arange(0, len(samples), 16 / 44.1), np.arange(len(samples)), samples)
    assert bit_error_rate(hashes, hash_audio(resampled, 44_100)) < MAX_AUDIO_ERROR / 2
    assert bit_error_rate(hashes, hash_audio(make_audio(seed=5)[:, 0], 16_000)) > MAX_AUDIO_ERROR
    assert len(hash_audio(samples[:1000], 16_000)) == len(hash_audio(samples[:0], 16_000)) == 0


def test_a_fingerprint_is_stored_and_loaded():
    fingerprint = Fingerprint(
        np.array([1, 2**64 - 1], np.uint64), np.array([0, 2**32 - 1], np.uint32)
    )
    loaded = Fingerprint.from_dict(fingerprint.to_dict())
    assert (loaded.video == fingerprint.video).all() and (loaded.audio == fingerprint.audio).all()
