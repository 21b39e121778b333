"""The speech embedding's projection: the directions of a state from which mouths are predicted."""

from dataclasses import replace

import numpy as np
from helpers.training import talking
from safetensors.numpy import load_file

from heygem.audio.embedding import EMBEDDING_DIM
from heygem.core import assets
from heygem.training import projection


def test_the_projection_finds_the_directions_that_move_the_mouth():
    """Of 200 numbers, three move the mouth, half a moment later; the largest ones do not."""
    rng = np.random.default_rng(0)
    spreads = np.r_[0.2 * np.ones(3), 5 * np.ones(197)]
    mouth = rng.normal(size=(3, 30)).astype(np.float32)
    states, clips = [], []
    for number in range(6):
        clip = talking(f"p{number}", number)
        rows = len(clip.valid)
        state = np.cumsum(rng.normal(size=(rows, 200)), 0)
        state = (state - state.mean(0)) / state.std(0) * spreads + 7
        moved = np.roll(state[:, :3] - 7, 4, axis=0) @ mouth
        displacement = np.zeros_like(clip.displacement).reshape(rows, -1)
        displacement[:, :30] = moved
        states.append(state)
        clips.append(replace(clip, displacement=displacement.reshape(clip.displacement.shape)))
    basis = np.zeros((clips[0].displacement[0].size, 8))
    basis[:8] = np.eye(8)
    weight, bias = projection.fit_projection(states, clips, basis)
    assert weight.shape == (EMBEDDING_DIM, 200)
    valid = [state[clip.valid] for state, clip in zip(states, clips, strict=True)]
    embedded = np.concatenate(valid) @ weight.T + bias
    np.testing.assert_allclose(embedded.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(embedded.std(0), 1, atol=1e-3)
    causes = np.concatenate(valid)[:, :3]
    fitted, *_ = np.linalg.lstsq(np.c_[embedded[:, :3], np.ones(len(embedded))], causes, rcond=None)
    left = causes - np.c_[embedded[:, :3], np.ones(len(embedded))] @ fitted
    assert (left.std(0) < 0.5 * causes.std(0)).all(), "the first directions are the three"


def test_silence_is_written_under_every_shipped_projection(tmp_path):
    projection.write_silence(tmp_path / "s.safetensors")
    written, shipped = (
        load_file(path)
        for path in (tmp_path / "s.safetensors", assets.path(assets.SPEECH_SILENCE.name))
    )
    assert written.keys() == shipped.keys()
    for name, values in shipped.items():
        np.testing.assert_allclose(written[name], values, atol=1e-4)
