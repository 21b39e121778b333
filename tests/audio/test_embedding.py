"""The speech embedding: aligned with the sound, and the same whatever surrounds it."""

import numpy as np
import pytest
from helpers.speechlike import babble

from heygem.audio.embedding import CHUNK_FRAMES, EMBEDDING_DIM, embed, silent_embedding


def test_the_embedding_does_not_depend_on_where_in_a_file_the_sound_lies():
    samples = babble(6.0)
    alone = embed(samples, rows=600)
    assert alone.shape == (600, EMBEDDING_DIM) and CHUNK_FRAMES < 600
    # Neither a multiple of the network's stride nor of a chunk.
    later = embed(np.pad(samples, (147 * 160, 33 * 160)), rows=780)
    np.testing.assert_allclose(later[147:747], alone, atol=0.01)


def test_a_row_describes_the_sound_around_its_own_moment():
    samples = babble(6.0)
    changed = samples.copy()
    changed[3 * 16000 : 4 * 16000] = babble(7.0)[-16000:] * 0.9
    rows = np.flatnonzero(np.abs(embed(samples, rows=600) - embed(changed, rows=600)).max(1) > 0.2)
    # From 0.39 s before the change to 0.39 s after it.
    assert 300 - 40 <= rows[0] <= 300 and 400 <= rows[-1] <= 400 + 40
    assert (rows[0] + rows[-1]) / 2 == pytest.approx(350, abs=12)


def test_each_row_has_mean_0_and_spread_1():
    rows = embed(babble(2.0), rows=200)
    np.testing.assert_allclose(rows.mean(1), 0, atol=1e-4)
    np.testing.assert_allclose(rows.std(1), 1, atol=0.01)


def test_silence_has_one_embedding_and_the_level_of_a_voice_does_not_matter():
    quiet = embed(np.zeros(8000, np.float32), rows=90)
    np.testing.assert_allclose(quiet, np.tile(silent_embedding(), (90, 1)), atol=1e-5)
    samples = babble(3.0)
    np.testing.assert_allclose(embed(samples * 0.1, rows=300), embed(samples, rows=300), atol=0.05)
