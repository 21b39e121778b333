"""Whether two files look and sound alike."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from helpers.labelled import RATE, SECONDS, make_audio, make_frame

from heygem.provenance import similarity
from heygem.provenance.fingerprint import FrameHasher, hash_audio
from heygem.provenance.similarity import ExaminedContent, align, compare


def content_of(images, samples, rate_hz=16_000):
    hasher = FrameHasher()
    for k, image in enumerate(images):
        hasher.add(np.ascontiguousarray(image), k / RATE)
    return ExaminedContent.of(hasher, samples, rate_hz)


@pytest.fixture(scope="module")
def frames():
    return [make_frame(k) for k in range(int(SECONDS * RATE))]


@pytest.fixture(scope="module")
def original(frames):
    return content_of(frames, make_audio()[:, 0]).fingerprint


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_the_error_is_that_of_the_best_alignment(dtype):
    bits = np.iinfo(dtype).bits
    a = np.random.default_rng(1).integers(1, 2**bits - 1, 40, dtype)
    assert align(a, a, min_hashes=4).error == 0
    assert align(a[7:20], a, min_hashes=4).error == 0
    assert align(a, a[7:20], min_hashes=4).error == 0
    assert align(a[:6], ~a[:6], min_hashes=4).error == 1
    flipped = a ^ dtype(1)  # one bit of each
    assert align(a, flipped, min_hashes=4).error == pytest.approx(1 / bits)


def test_too_little_silence_and_black_cannot_be_compared():
    a = np.random.default_rng(1).integers(1, 2**32, 40, np.uint32)
    assert align(a[:3], a, min_hashes=4) is None
    assert align(np.zeros(40, np.uint32), a, min_hashes=4) is None


def test_a_long_sequence_with_a_gap_is_still_the_same():
    a = np.random.default_rng(1).integers(1, 2**32, 1000, np.uint32)
    cut = np.concatenate([a[:400], a[430:]])  # an alignment of the whole would miss half of it
    assert align(cut, a, min_hashes=4).error < 0.05


TRANSFORMS = {
    "smaller": lambda i: cv2.resize(i, (240, 136), interpolation=cv2.INTER_AREA),
    "mirrored": lambda i: i[:, ::-1],
    "cropped": lambda i: i[14:258, 24:456],
    "cropped by 30 %": lambda i: i[40:232, 72:408],
    "between bars": lambda i: np.pad(i, ((280, 280), (0, 0), (0, 0))),
    "turned": lambda i: np.rot90(i),
    "brighter": lambda i: cv2.LUT(i, (255 * (np.arange(256) / 255) ** 0.8).astype(np.uint8)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_changed_picture_is_never_called_another(frames, original, name):
    changed = content_of([TRANSFORMS[name](i) for i in frames], make_audio()[:, 0])
    result = compare(changed, original)
    assert result.picture == similarity.SAME and result.sound == similarity.SAME


@pytest.mark.slow
def test_another_film_is_different_in_both(original):
    other = content_of([make_frame(k, 5) for k in range(75)], make_audio(seed=5)[:, 0])
    result = compare(other, original, is_as_made=True)
    assert (result.picture, result.sound) == (similarity.DIFFERENT, similarity.DIFFERENT)


@pytest.mark.slow
def test_a_still_of_the_result_is_too_little_to_compare(frames, original):
    still = content_of(frames[:1], np.zeros(0, np.float32), 1)
    result = compare(still, original, search=False)
    assert (result.picture, result.sound) == (similarity.UNKNOWN, similarity.ABSENT)


def long_audio(seed):
    return np.concatenate([make_audio(seed + k)[:, 0] for k in range(3)])


@pytest.mark.slow
@pytest.mark.parametrize("speed", [0.85, 0.97, 1.1])
def test_sound_at_another_speed_is_the_same(speed):
    samples = long_audio(0)
    recorded = content_of([], samples).fingerprint
    faster = content_of([], samples, round(16_000 * speed))
    assert compare(faster, recorded, search=False).sound != similarity.SAME
    assert compare(faster, recorded).sound == similarity.SAME
    other = content_of([], long_audio(50), round(16_000 * speed))
    assert compare(other, recorded).sound == similarity.DIFFERENT


def test_sound_survives_a_shift_by_half_a_step_and_resampling():
    samples = long_audio(0)
    recorded = content_of([], samples).fingerprint
    shifted = samples[round(0.0464 * 16_000) :]
    ratio = Fraction(44_100, 16_000)
    positions = np.arange(0, len(shifted), float(1 / ratio))
    resampled = np.interp(positions, np.arange(len(shifted)), shifted)
    result = compare(content_of([], resampled, 44_100), recorded, search=False)
    assert result.sound == similarity.SAME and result.sound_error < 0.2
    assert align(hash_audio(shifted, 16_000), recorded.audio, min_hashes=16).error > 0.2


@pytest.mark.slow
def test_a_replaced_part_of_the_sound_is_noticed():
    samples = long_audio(0)
    recorded = content_of([], samples).fingerprint
    assert compare(content_of([], samples), recorded).sound_misfit == 0
    edited = samples.copy()
    edited[48_000:96_000] = long_audio(50)[48_000:96_000]  # three of nine seconds
    result = compare(content_of([], edited), recorded)
    assert 0.2 < result.sound_misfit < 0.6


def test_a_muted_copy_has_no_sound():
    recorded = content_of([], long_audio(0)).fingerprint
    assert compare(content_of([], np.zeros(96_000)), recorded).sound == similarity.ABSENT
    assert compare(content_of([], long_audio(0)[:16_000]), recorded).sound == similarity.UNKNOWN


@pytest.mark.slow
def test_a_film_that_begins_like_a_result_is_not_the_same_picture(frames, original):
    """The inset is the result's for one second, and something else for the rest."""

    def framed(image):
        return np.pad(image, ((280, 280), (0, 0), (0, 0)))

    strange = [make_frame(k, 5) for k in range(75)]
    film = [framed(i) for i in (*frames[:25], *strange[:25], *strange[25:], *strange[:25])]
    assert compare(content_of(film, make_audio()[:, 0]), original).picture != similarity.SAME
