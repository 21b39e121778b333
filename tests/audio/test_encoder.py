"""Speech encoders: frame times, chunks, errors, and the identity stored in a lips model."""

import json

import numpy as np
import pytest
from helpers.training import SMALL, talking

from heygem import lips
from heygem.audio.encoder import FOLDER_VARIABLE, SpeechEncoder, encoder_metadata
from heygem.config.params import checked
from heygem.core.errors import AssetError, ParameterError
from heygem.lips import features
from heygem.training import dataset
from heygem.training.trainer import TrainSettings, save, train

transformers = pytest.importorskip("transformers", reason="needs the extra `speech-encoder`")

CONV = dict(conv_dim=(8,) * 7, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
SIZE = dict(hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)


def write_encoder(folder, kind):
    """Save a tiny encoder with random weights, as `transformers` does."""
    import torch

    torch.manual_seed(0)
    if kind == "whisper":
        config = transformers.WhisperConfig(
            d_model=12,
            encoder_layers=2,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            vocab_size=20,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        )
        model, extractor = transformers.WhisperModel(config), transformers.WhisperFeatureExtractor()
    else:
        config, model = {
            "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
            "hubert": (transformers.HubertConfig, transformers.HubertModel),
        }[kind]
        model, extractor = model(config(**SIZE, **CONV)), transformers.Wav2Vec2FeatureExtractor()
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return folder


@pytest.fixture
def hubert(tmp_path):
    return write_encoder(tmp_path / "hubert", "hubert")


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "whisper"])
def test_a_change_at_a_time_changes_the_features_at_that_time(tmp_path, kind):
    encoder = SpeechEncoder(write_encoder(tmp_path, kind), layer=0)
    samples = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    changed = samples.copy()
    changed[23840:24160] *= -1  # 1.49 to 1.51 s
    features_before, features_after = (encoder.encode(s, rows=301) for s in (samples, changed))
    assert features_before.shape == (301, 12)
    change = np.square(features_before - features_after).mean(1)
    assert abs(change.argmax() - 150) <= 2
    assert (change[140:161]).sum() > 0.9 * change.sum()


def test_long_audio_is_encoded_in_chunks(hubert, monkeypatch):
    encoder = SpeechEncoder(hubert)
    noise = np.random.default_rng(0).normal(0, 0.1, 16000 * 5).astype(np.float32)
    whole = encoder.encode(noise, rows=500)
    monkeypatch.setattr("heygem.audio.encoder.CHUNK_S", 2.0)
    chunked = encoder.encode(noise, rows=500)
    assert np.isfinite(chunked).all() and np.corrcoef(chunked.ravel(), whole.ravel())[0, 1] > 0.9
    assert encoder.encode(np.zeros(0, np.float32), rows=0).shape == (0, 12)
    assert encoder.encode(noise[:500], rows=4).shape == (4, 12)


def test_every_refusal_is_one_line(tmp_path, hubert):
    with pytest.raises(AssetError, match="neither a folder nor in the Hugging Face cache"):
        SpeechEncoder("nobody/has-this")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AssetError, match="cannot read the speech encoder") as error:
        SpeechEncoder(tmp_path / "empty")
    assert "\n" not in str(error.value)
    with pytest.raises(ParameterError, match="no such layer"):
        SpeechEncoder(hubert, layer=3)
    other = transformers.BertConfig(hidden_size=12, num_attention_heads=2, num_hidden_layers=1)
    other.save_pretrained(tmp_path / "bert")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "bert")
    with pytest.raises(ParameterError, match="bert"):
        SpeechEncoder(tmp_path / "bert")


@pytest.fixture
def trained_file(tmp_path, hubert):
    """A lips model trained with the encoder: (model, its file)."""
    encoder = SpeechEncoder(hubert)
    clips = []
    for number in range(4):
        clip = talking(f"p{number}", number, seconds=4.0)
        noise = np.random.default_rng(number).normal(0, 0.1, len(clip.features) * 160)
        more = encoder.encode(noise.astype(np.float32), rows=len(clip.features))
        clips.append(dataset.replace(clip, features=np.concatenate([clip.features, more], 1)))
    settings = SMALL.model_copy(
        update={
            "iterations": 4,
            "eval_every": 4,
            "sync_iterations": 0,
            "speech_encoder": str(hubert),
        }
    )
    trained = train(dataset.Dataset(clips), settings, encoder=encoder)
    file = tmp_path / "model.safetensors"
    save(trained.model, file)
    return trained.model, file


def test_a_model_loads_with_the_encoder_of_its_training_only(
    tmp_path, hubert, trained_file, monkeypatch
):
    model, file = trained_file
    samples = np.random.default_rng(9).normal(0, 0.1, 32000).astype(np.float32)
    loaded = lips.LipsModel.load(file)
    np.testing.assert_allclose(
        loaded.predict(samples).coefficients, model.predict(samples).coefficients, atol=0.02
    )

    moved = hubert.rename(tmp_path / "moved")
    with pytest.raises(AssetError, match=f"speech encoder that is not here.*{FOLDER_VARIABLE}"):
        lips.LipsModel.load(file)
    for variable in (FOLDER_VARIABLE, "HEYGEM_EARS"):  # the second is its former name
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(moved))
            assert lips.LipsModel.load(file).encoder.identity.sha256 == (
                model.encoder.identity.sha256
            )
    monkeypatch.setenv(FOLDER_VARIABLE, str(write_encoder(tmp_path / "other", "wav2vec2")))
    with pytest.raises(AssetError, match="another speech encoder"):
        lips.LipsModel.load(file)


def test_a_model_file_with_the_former_keys_loads(tmp_path, trained_file):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    model, file = trained_file
    with safe_open(file, framework="pt") as stream:
        metadata = stream.metadata()
    stored = json.loads(metadata.pop("speech_encoder"))
    assert stored == encoder_metadata(model.encoder)
    stored["place"] = stored.pop("name_or_path")
    old = tmp_path / "old.safetensors"
    save_file(load_file(file), old, metadata=metadata | {"ears": json.dumps(stored)})
    assert lips.LipsModel.load(old).encoder.identity == model.encoder.identity


def test_encoder_features_are_cached_with_the_clips(tmp_path, hubert, monkeypatch):
    encoder = SpeechEncoder(hubert)
    video = tmp_path / "anna" / "one.mp4"
    video.parent.mkdir()
    video.write_bytes(b"any content")
    samples = np.random.default_rng(0).normal(0, 0.1, 16000 * 8).astype(np.float32)
    loaded_paths = []

    def load(path):
        loaded_paths.append(path)
        return type("Speech", (), {"samples": samples})

    monkeypatch.setattr(dataset.audio, "load", load)
    monkeypatch.setattr(
        dataset,
        "read",
        lambda source, backend, *, sha256: dataset.replace(
            talking("anna", 1), source=source, sha256=sha256
        ),
    )
    widths = []
    for _ in range(2):
        loaded = dataset.load(
            dataset.find(tmp_path / "anna"),
            backend=lambda: None,
            cache=tmp_path / "c",
            encoder=encoder,
        )
        widths.append(loaded.clips[0].features.shape[1])
    assert widths == [features.FEATURE_DIM + 12] * 2 and len(loaded_paths) == 1


def test_no_encoder_is_used_by_default():
    assert TrainSettings().speech_encoder is None
    assert checked(TrainSettings, {"speech_encoder": "a/b"}).speech_encoder == "a/b"
