"""The speech embedding: aligned with the sound, and little changed by what surrounds it."""

import math
import struct

import numpy as np
import pytest
from helpers.speechlike import babble

from heygem.audio import embedding
from heygem.audio.embedding import (
    BLOCK_ROWS,
    CHUNK_ROWS,
    EMBEDDING_DIM,
    SILENCE_ROWS,
    embed,
    silent_embedding,
)
from heygem.audio.features import HOP, RATE_HZ, WINDOW
from heygem.audio.whisper_weights import read_encoder


def closeness(one, other):
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


def test_chunks_give_what_one_pass_over_all_would_give(monkeypatch):
    samples = babble(12.0)
    in_chunks = embed(samples, rows=1200)
    assert in_chunks.shape == (1200, EMBEDDING_DIM) and CHUNK_ROWS < 600
    monkeypatch.setattr(embedding, "CHUNK_ROWS", 700)
    assert closeness(in_chunks, embed(samples, rows=1200)) > 0.97


def test_the_embedding_depends_little_on_where_in_a_file_the_sound_lies():
    samples = babble(6.0)
    alone = embed(samples, rows=600)
    later = embed(np.pad(samples, (147 * 160, 33 * 160)), rows=780)[147:747]
    assert closeness(alone[50:-50], later[50:-50]) > 0.75


def test_a_row_describes_the_sound_around_its_own_moment():
    samples = babble(6.0)
    changed = samples.copy()
    changed[3 * 16000 : 4 * 16000] = babble(7.0)[-16000:] * 0.9
    change = np.square(embed(samples, rows=600) - embed(changed, rows=600)).sum(1)
    assert change[300:400].sum() > 0.8 * change.sum()
    assert (np.arange(600) * change).sum() / change.sum() == pytest.approx(350, abs=10)


def test_rows_of_the_causal_encoder_know_nothing_of_sound_after_their_block(monkeypatch):
    monkeypatch.setattr(embedding, "voiced_rms", lambda samples: 0.05)  # is of the whole sound
    samples = babble(3.0)
    changed = samples.copy()
    changed[2 * RATE_HZ :] = 0
    change = np.abs(
        embedding.encoder_states(samples, rows=150, causal=True)
        - embedding.encoder_states(changed, rows=150, causal=True)
    ).max(1)
    reach_s = (2 * HOP + WINDOW / 2) / RATE_HZ  # of the convolutions and the spectrum's window
    first_known = math.floor((2.0 - reach_s) * 50 / BLOCK_ROWS) * BLOCK_ROWS
    assert change[:first_known].max() < 1e-4 < 0.1 < change[first_known:].max()


def test_speech_has_embeddings_of_spread_1_and_its_level_does_not_matter():
    samples = babble(3.0)
    rows = embed(samples, rows=300)
    assert 0.4 < rows.std() < 2
    np.testing.assert_allclose(embed(samples * 0.1, rows=300), rows, atol=0.05)


def test_the_encoder_is_forgotten_and_read_again():
    samples = babble(1.0)
    before = embed(samples, rows=100)
    embedding.release_encoder()
    assert not embedding._weights.cache_info().currsize
    assert (embed(samples, rows=100) == before).all()


def test_sound_that_is_too_short_is_followed_by_silence():
    rows = embed(np.zeros(0, np.float32), rows=3)
    assert rows.shape == (3, EMBEDDING_DIM) and np.isfinite(rows).all()
    assert embed(np.zeros(1600, np.float32), rows=0).shape == (0, EMBEDDING_DIM)


@pytest.mark.parametrize("projection", embedding.PROJECTIONS)
def test_the_stored_embedding_of_silence_is_the_computed_one(projection):
    sound = np.zeros(SILENCE_ROWS * 160, np.float32)
    silence = embed(sound, rows=SILENCE_ROWS, projection=projection)
    stored = silent_embedding(projection)
    np.testing.assert_allclose(stored, silence[SILENCE_ROWS // 2], atol=1e-4)


def test_the_numpy_encoder_computes_what_pytorch_s_layers_do():
    """As Whisper: GELU after the convolutions, normalisation before each half of a layer."""
    import torch
    from torch.nn import functional

    stored = embedding._weights()
    weights = {name: torch.from_numpy(values) for name, values in stored.items()}
    mel = np.random.default_rng(0).normal(size=(80, embedding.BANDS)).astype(np.float32)
    x = torch.from_numpy(mel).T[None]
    for layer, stride in (("conv1", 1), ("conv2", 2)):
        kernel, bias = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
        x = functional.gelu(functional.conv1d(x, kernel, bias, padding=1, stride=stride))
    x = x[0].T + torch.from_numpy(embedding._positions(40))
    for i in range(embedding.LAYERS):
        layer = torch.nn.TransformerEncoderLayer(
            512, 8, 2048, dropout=0, activation="gelu", batch_first=True, norm_first=True
        )
        theirs = {
            "norm1": "attention_norm",
            "norm2": "linear_norm",
            "self_attn.in_proj": "attention_input",
            "self_attn.out_proj": "attention_output",
            "linear1": "linear_input",
            "linear2": "linear_output",
        }
        layer.load_state_dict(
            {
                f"{name}{'_' if name.endswith('proj') and 'in' in name else '.'}{part}": weights[
                    f"layers.{i}.{ours}.{part}"
                ]
                for name, ours in theirs.items()
                for part in ("weight", "bias")
            }
        )
        with torch.inference_mode():
            x = layer.eval()(x[None])[0]
    np.testing.assert_allclose(embedding._encode(mel, stored), x, atol=5e-3)


def test_variables_of_ctranslate2_are_read_under_their_own_names(tmp_path):
    numbers = np.arange(6, dtype="<f2").reshape(2, 3)
    content = b""
    for name in ("encoder/conv1/bias", "encoder/layer_2/self_attention/layer_norm/gamma"):
        content += struct.pack("<H", len(name) + 1) + name.encode() + b"\0"
        content += struct.pack("<BIIBI", 2, 2, 3, 4, numbers.nbytes) + numbers.tobytes()
    (tmp_path / "encoder.bin").write_bytes(content)
    weights = read_encoder(tmp_path / "encoder.bin")
    assert list(weights) == ["conv1.bias", "layers.2.attention_norm.weight"]
    for values in weights.values():
        assert values.dtype == np.float32 and np.array_equal(values, numbers)
