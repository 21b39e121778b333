"""Words are recognised on a mouth that forms them, and not on one that does not."""

import numpy as np
import pytest
from helpers.mouth import mouth

from heygem.core.errors import InputError
from heygem.evaluation import lipreading
from heygem.evaluation.lipreading import LipReader, Word

RATE_HZ = 25.0
SHAPES = {"bin": (0.3, 1.0, 0.2), "lay": (1.0, 0.2, 1.0), "set": (0.5, 0.5, 0.0)}


def sentence(count, seed, *, follows_audio=True):
    """A mouth that forms one word a second, and the transcript of the audio."""
    rng = np.random.default_rng(seed)
    times = np.arange(int(count * RATE_HZ)) / RATE_HZ
    gap, words = np.full(len(times), 0.02), []
    for i in range(count):
        text = str(rng.choice(list(SHAPES)))
        words.append(Word(i + 0.2, i + 0.8, text))
        formed = text if follows_audio else str(rng.choice(list(SHAPES)))
        moments = np.linspace(i + 0.1, i + 0.9, 5)
        gap += 0.1 * np.interp(times, moments, [0, *SHAPES[formed], 0], left=0, right=0)
    gap += rng.normal(0, 0.004, len(times))
    return mouth(np.abs(gap), times), tuple(words)


@pytest.mark.slow
def test_words_are_recognised_on_the_mouth_that_forms_them_only():
    real, words = sentence(90, seed=0)
    reader = LipReader(real, words, (0, 60))
    assert reader.vocabulary == set(SHAPES)
    later = real.part(real.times_s >= 61)
    assert reader.accuracy(later, words) > 0.9
    unrelated, _ = sentence(90, seed=0, follows_audio=False)
    chance = reader.chance(later, words)
    assert 0.3 < chance < 0.6
    assert reader.accuracy(unrelated.part(unrelated.times_s >= 61), words) < chance + 0.15


@pytest.mark.slow
def test_the_reader_is_not_trained_on_the_held_out_words():
    real, words = sentence(40, seed=1)
    mislabelled = tuple(w if w.end_s < 20 else Word(w.start_s, w.end_s, "lay") for w in words)
    first, second = LipReader(real, words, (0, 20)), LipReader(real, mislabelled, (0, 20))
    later = real.part(real.times_s >= 21)
    assert first.accuracy(later, words) == second.accuracy(later, words)


@pytest.mark.slow
def test_the_amplitude_of_the_mouth_does_not_matter():
    real, words = sentence(60, seed=2)
    reader = LipReader(real, words, (0, 40))
    later = real.part(real.times_s >= 41)
    small = mouth(0.01 + 0.5 * later.aperture, later.times_s)
    assert reader.accuracy(small, words) > reader.accuracy(later, words) - 0.1 > 0.6


@pytest.mark.slow
def test_too_few_words_are_refused():
    real, words = sentence(8, seed=0)
    with pytest.raises(InputError, match="too few words"):
        LipReader(real, words[:3], (0, 8))


def test_word_times_are_read_from_the_file_beside_a_clip(tmp_path):
    (tmp_path / "align").mkdir()
    lines = "0 12500 sil\n12500 25000 bin\n25000 37500 blue\n37500 75000 sil\n"
    (tmp_path / "align" / "one.align").write_text(lines)
    assert lipreading.words_beside(tmp_path / "one.mpg") == (
        Word(0.5, 1.0, "bin"),
        Word(1.0, 1.5, "blue"),
    )
    assert lipreading.words_beside(tmp_path / "two.mpg") == ()
    (tmp_path / "two.align").write_text("0 1 2 bin\n")
    with pytest.raises(InputError, match="line 1 of two.align"):
        lipreading.words_beside(tmp_path / "two.mpg")
