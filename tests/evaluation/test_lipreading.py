"""Reading lips: words are found again on a mouth that says them, and not on one that does not."""

import numpy as np
import pytest
from helpers.mouth import mouth

from heygem.core.errors import InputError
from heygem.evaluation import lipreading
from heygem.evaluation.lipreading import Reader, Word

RATE_HZ = 25.0
SHAPES = {"bin": (0.3, 1.0, 0.2), "lay": (1.0, 0.2, 1.0), "set": (0.5, 0.5, 0.0)}


def sentence(count, seed, *, listens=True):
    """A mouth that forms one of three movements a second, and the words it says."""
    rng = np.random.default_rng(seed)
    times = np.arange(int(count * RATE_HZ)) / RATE_HZ
    gap, said = np.full(len(times), 0.02), []
    for i in range(count):
        text = str(rng.choice(list(SHAPES)))
        said.append(Word(i + 0.2, i + 0.8, text))
        formed = text if listens else str(rng.choice(list(SHAPES)))
        moments = np.linspace(i + 0.1, i + 0.9, 5)
        gap += 0.1 * np.interp(times, moments, [0, *SHAPES[formed], 0], left=0, right=0)
    gap += rng.normal(0, 0.004, len(times))
    return mouth(np.abs(gap), times), tuple(said)


def test_words_are_read_off_the_mouth_that_says_them_only():
    real, said = sentence(90, seed=0)
    reader = Reader(real, said, (0, 60))
    assert reader.known == set(SHAPES)
    later = real.part(real.times_s >= 61)
    assert reader.accuracy(later, said) > 0.9
    deaf, _ = sentence(90, seed=0, listens=False)
    chance = reader.chance(later, said)
    assert 0.3 < chance < 0.6
    assert reader.accuracy(deaf.part(deaf.times_s >= 61), said) < chance + 0.15


def test_the_reader_learns_nothing_from_what_it_is_judged_on():
    real, said = sentence(40, seed=1)
    lies = tuple(w if w.end_s < 20 else Word(w.start_s, w.end_s, "lay") for w in said)
    first, other = Reader(real, said, (0, 20)), Reader(real, lies, (0, 20))
    later = real.part(real.times_s >= 21)
    assert first.accuracy(later, said) == other.accuracy(later, said)


def test_how_wide_a_mouth_opens_is_not_what_is_read():
    real, said = sentence(60, seed=2)
    reader = Reader(real, said, (0, 40))
    later = real.part(real.times_s >= 41)
    meek = mouth(0.01 + 0.5 * later.aperture, later.times_s)
    assert reader.accuracy(meek, said) > reader.accuracy(later, said) - 0.1 > 0.6


def test_too_few_words_are_refused():
    real, said = sentence(8, seed=0)
    with pytest.raises(InputError, match="too few words"):
        Reader(real, said[:3], (0, 8))


def test_times_of_words_are_found_beside_a_clip(tmp_path):
    (tmp_path / "align").mkdir()
    lines = "0 12500 sil\n12500 25000 bin\n25000 37500 blue\n37500 75000 sil\n"
    (tmp_path / "align" / "one.align").write_text(lines)
    assert lipreading.beside(tmp_path / "one.mpg") == (
        Word(0.5, 1.0, "bin"),
        Word(1.0, 1.5, "blue"),
    )
    assert lipreading.beside(tmp_path / "two.mpg") == ()
    (tmp_path / "two.align").write_text("0 1 2 bin\n")
    with pytest.raises(InputError, match="line 1 of two.align"):
        lipreading.beside(tmp_path / "two.mpg")
