"""Better ears: times, silence, and a lips model that remembers which ones it was trained with."""

import numpy as np
import pytest
from helpers.training import SMALL, talking

from heygem import lips
from heygem.audio.encoder import PLACE, Ears
from heygem.config.params import checked
from heygem.core.errors import AssetError, ParameterError
from heygem.lips import features
from heygem.training import dataset
from heygem.training.trainer import TrainSettings, save, train

transformers = pytest.importorskip("transformers", reason="the extra `ears` is not installed")

CONV = dict(conv_dim=(8,) * 7, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2)
SIZE = dict(hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)


def write(folder, kind):
    """A tiny encoder with random weights, as `transformers` writes one."""
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
        model, prepare = transformers.WhisperModel(config), transformers.WhisperFeatureExtractor()
    else:
        config, model = {
            "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
            "hubert": (transformers.HubertConfig, transformers.HubertModel),
        }[kind]
        model, prepare = model(config(**SIZE, **CONV)), transformers.Wav2Vec2FeatureExtractor()
    model.save_pretrained(folder)
    prepare.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "whisper"])
def test_each_instant_is_heard_at_its_own_time(tmp_path, kind):
    ears = Ears(write(tmp_path, kind), layer=0)
    sound = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    other = sound.copy()
    other[23840:24160] *= -1  # 1.49 to 1.51 s
    one, another = ears.hear(sound, rows=301), ears.hear(other, rows=301)
    assert one.shape == (301, 12)
    change = np.square(one - another).mean(1)
    assert abs(change.argmax() - 150) <= 2
    assert (change[140:161]).sum() > 0.9 * change.sum()


def test_long_sound_is_heard_in_pieces(tmp_path, monkeypatch):
    ears = Ears(write(tmp_path, "hubert"))
    noise = np.random.default_rng(0).normal(0, 0.1, 16000 * 5).astype(np.float32)
    whole = ears.hear(noise, rows=500)
    monkeypatch.setattr("heygem.audio.encoder.PIECE_S", 2.0)
    pieces = ears.hear(noise, rows=500)
    assert np.isfinite(pieces).all() and np.corrcoef(pieces.ravel(), whole.ravel())[0, 1] > 0.9
    assert ears.hear(np.zeros(0, np.float32), rows=0).shape == (0, 12)
    assert ears.hear(noise[:500], rows=4).shape == (4, 12)


def test_what_cannot_be_used_is_said_in_one_line(tmp_path):
    with pytest.raises(AssetError, match="neither a folder nor in the hub's cache"):
        Ears("nobody/has-this")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AssetError, match="cannot read the ears") as caught:
        Ears(tmp_path / "empty")
    assert "\n" not in str(caught.value)
    with pytest.raises(ParameterError, match="no such layer"):
        Ears(write(tmp_path / "good", "hubert"), layer=3)
    other = transformers.BertConfig(hidden_size=12, num_attention_heads=2, num_hidden_layers=1)
    other.save_pretrained(tmp_path / "bert")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "bert")
    with pytest.raises(ParameterError, match="bert"):
        Ears(tmp_path / "bert")


def test_a_model_remembers_its_ears(tmp_path, monkeypatch):
    place = write(tmp_path / "mine", "hubert")
    ears = Ears(place)
    clips = []
    for number in range(4):
        clip = talking(f"p{number}", number, seconds=4.0)
        noise = np.random.default_rng(number).normal(0, 0.1, len(clip.heard) * 160)
        more = ears.hear(noise.astype(np.float32), rows=len(clip.heard))
        clips.append(dataset.replace(clip, heard=np.concatenate([clip.heard, more], 1)))
    settings = SMALL.model_copy(
        update={"iterations": 4, "check_every": 4, "sync_iterations": 0, "ears": str(place)}
    )
    trained = train(dataset.Dataset(clips), settings, ears=ears)
    file = tmp_path / "model.safetensors"
    save(trained.model, file)

    sound = np.random.default_rng(9).normal(0, 0.1, 32000).astype(np.float32)
    said = lips.LipsModel.load(file).predict(sound)
    wanted = trained.model.predict(sound)
    np.testing.assert_allclose(said.coefficients, wanted.coefficients, atol=0.02)

    moved = place.rename(tmp_path / "moved")
    with pytest.raises(AssetError, match=f"trained with ears that are not here.*{PLACE}"):
        lips.LipsModel.load(file)
    monkeypatch.setenv(PLACE, str(moved))
    assert lips.LipsModel.load(file).ears.identity.sha256 == ears.identity.sha256
    monkeypatch.setenv(PLACE, str(write(tmp_path / "other", "wav2vec2")))
    with pytest.raises(AssetError, match="other ears"):
        lips.LipsModel.load(file)


def test_what_ears_hear_is_kept(tmp_path, monkeypatch):
    ears = Ears(write(tmp_path / "mine", "hubert"))
    video = tmp_path / "anna" / "one.mp4"
    video.parent.mkdir()
    video.write_bytes(b"any content")
    sound = np.random.default_rng(0).normal(0, 0.1, 16000 * 8).astype(np.float32)
    heard = []

    def load(path):
        heard.append(path)
        return type("Speech", (), {"samples": sound})

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
        got = dataset.load(
            dataset.find(tmp_path / "anna"), backend=lambda: None, cache=tmp_path / "c", ears=ears
        )
        widths.append(got.clips[0].heard.shape[1])
    assert widths == [features.FEATURE_DIM + 12] * 2 and len(heard) == 1


def test_ears_are_off_by_default():
    assert TrainSettings().ears is None
    assert checked(TrainSettings, {"ears": "a/b"}).ears == "a/b"
