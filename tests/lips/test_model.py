"""The lips model: its file, its features and its predictions."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.speechlike import babble
from scipy.special import expit

from heygem import audio, lips
from heygem.audio import embedding
from heygem.config.params import LipsSettings
from heygem.core.errors import AssetError
from heygem.lips import predictor
from heygem.lips.features import (
    FEATURE_DIM,
    extract_features,
    feature_dim,
    normalize_spectra,
    silent_features,
)
from heygem.lips.model import CLEAN_FILE
from heygem.lips.network import LipsNetwork
from heygem.training.trainer import save

ONE = torch.tensor([1])


@pytest.fixture
def model(basis):
    torch.manual_seed(0)
    networks = [LipsNetwork(outputs=6, width=16, dilations=(1, 2, 4)) for _ in range(2)]
    frozen = [network.for_inference() for network in networks]
    return lips.LipsModel(frozen, basis, np.full(6, 1.5), {"opening_std": 0.04})


@pytest.mark.slow
def test_one_row_per_20_ms(model):
    for n in (0, 1, 319, 320, 321, 16000, 16001):
        assert len(model.predict(np.zeros(n, np.float32))) == -(-n // 320)


@pytest.mark.slow
def test_chunks_give_the_same_as_the_whole(model, monkeypatch):
    samples = babble(7.3)
    whole = model.predict(samples).coefficients
    monkeypatch.setattr("heygem.lips.model.CHUNK_S", 2.0)
    np.testing.assert_allclose(model.predict(samples).coefficients, whole, atol=1e-4)


@pytest.mark.slow
def test_a_saved_model_predicts_the_same(model, tmp_path):
    path = tmp_path / "m.safetensors"
    save(model, path)
    again = lips.LipsModel.load(path)
    assert again.opening_std == 0.04
    samples = babble(1.0)
    np.testing.assert_allclose(
        again.predict(samples).coefficients, model.predict(samples).coefficients, atol=5e-3
    )


@pytest.fixture
def model_with_embedding(basis):
    torch.manual_seed(1)
    networks = [
        LipsNetwork(outputs=6, width=16, dilations=(1,), inputs=feature_dim(True)) for _ in range(2)
    ]
    frozen = [network.for_inference() for network in networks]
    return lips.LipsModel(frozen, basis, np.full(6, 1.5), {}, embedding="default")


@pytest.mark.slow
def test_a_model_with_the_speech_embedding_is_saved_and_loaded(model_with_embedding, tmp_path):
    path = tmp_path / "m.safetensors"
    save(model_with_embedding, path)
    again = lips.LipsModel.load(path)
    assert again.embedding and not lips.LipsModel.load(lips.WITHOUT_EMBEDDING).embedding
    samples = babble(1.0)
    predicted = again.predict(samples)
    assert len(predicted) == 50
    np.testing.assert_allclose(
        predicted.coefficients, model_with_embedding.predict(samples).coefficients, atol=5e-3
    )


@pytest.mark.fault
@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"speech_embedding": "0" * 64}, "another speech embedding"),
        ({"speech_encoder": "{}"}, "speech encoder of your own"),
        ({}, "does not have the layers"),
    ],
)
def test_a_model_with_other_features_than_this_version_computes_is_refused(
    model_with_embedding, tmp_path, metadata, message
):
    from safetensors.torch import safe_open, save_file

    path = tmp_path / "m.safetensors"
    save(model_with_embedding, path)
    with safe_open(path, framework="pt") as file:
        stored = dict(file.metadata())
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    del stored["speech_embedding"]
    save_file(tensors, path, metadata=stored | metadata)
    with pytest.raises(AssetError, match=message):
        lips.LipsModel.load(path)


@pytest.mark.slow
def test_a_file_with_module_names_of_earlier_versions_loads(model, tmp_path):
    from safetensors.torch import safe_open, save_file

    path = tmp_path / "m.safetensors"
    save(model, path)
    with safe_open(path, framework="pt") as file:
        meta, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
    assert any(".stem." in key for key in tensors) and any(".head." in key for key in tensors)
    names = {".stem.": ".read.", ".head.": ".say.", ".dilated.": ".spread.", ".pointwise.": ".mix."}
    for now, before in names.items():
        tensors = {key.replace(now, before): value for key, value in tensors.items()}
    shape = json.loads(meta["network"])
    shape["level"] = shape.pop("normalize")
    save_file(tensors, path, metadata=meta | {"network": json.dumps(shape)})
    samples = babble(1.0)
    again = lips.LipsModel.load(path)
    assert again.networks[0].normalize
    np.testing.assert_allclose(
        again.predict(samples).coefficients, model.predict(samples).coefficients, atol=5e-3
    )


@pytest.mark.slow
def test_microphones_and_voices_do_not_move_the_mouth(model):
    """A gain over frequency is a constant in the logarithm, and what is constant is taken out."""
    features = extract_features(babble(4.0), rows=200)
    filtered = features.copy()
    filtered[:, : audio.BANDS] = features[:, : audio.BANDS] * 1.02 + np.linspace(-0.3, 0.3, 80)
    predicted, again = model.predict_features(features), model.predict_features(filtered)
    inner = slice(20, -20)  # digital silence before and after has no spectrum of its own
    assert (
        np.abs(again.coefficients - predicted.coefficients)[inner].max()
        < 0.05 * np.abs(predicted.coefficients).max()
    )


@pytest.mark.slow
def test_networks_of_format_2_take_spectra_as_they_are(model, tmp_path, monkeypatch):
    model.networks = [replace(network, normalize=False) for network in model.networks]
    monkeypatch.setattr("heygem.training.trainer.FORMAT", "heygem-lips-2")
    path = tmp_path / "m.safetensors"
    save(model, path)
    again = lips.LipsModel.load(path)
    assert not again.networks[0].normalize
    np.testing.assert_allclose(
        again.predict(babble(1.0)).coefficients, model.predict(babble(1.0)).coefficients, atol=5e-3
    )


def test_a_file_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(AssetError, match="lips model"):
        lips.LipsModel.load(tmp_path / "nothing.safetensors")
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"not a model at all, but long enough to be read as one")
    with pytest.raises(AssetError, match="heygem train lips"):
        lips.LipsModel.load(wrong)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("name", "damage", "match"),
    [
        ("gain", lambda t: t.fill_(float("nan")), r"gain holds values .*6 of 6 are NaN"),
        ("basis", lambda t: t.index_fill(0, ONE, float("-inf")), "NaN or infinite"),
        ("network1.head.bias", lambda t: t.fill_(float("nan")), r"network1\.head\.bias"),
        ("gain", lambda t: t[:2], "does not have the layers"),
        ("network0.head.bias", lambda t: t[:2], "does not have the layers"),
        ("network0.head.bias", lambda t: t.int(), "floating-point"),
        ("network0.head.bias", lambda t: None, "does not have the layers"),
    ],
)
def test_weights_that_are_not_finite_or_not_there_are_refused(name, damage, match, model, tmp_path):
    from safetensors.torch import safe_open, save_file

    path = tmp_path / "m.safetensors"
    save(model, path)
    with safe_open(path, framework="pt") as file:
        meta, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}
    changed = damage(tensors[name])
    tensors = {k: v for k, v in tensors.items() if k != name}
    if changed is not None:
        tensors[name] = changed
    save_file(tensors, path, metadata=meta)
    with pytest.raises(AssetError, match=match):
        lips.LipsModel.load(path)


@pytest.mark.slow
def test_shipped_model_keeps_still_in_digital_silence():
    model = lips.LipsModel.load()
    predicted = model.predict(np.zeros(32000, np.float32))
    voice = audio.voice_activity(np.zeros(32000, np.float32))
    assert np.abs(lips.apply_controls(predicted, LipsSettings(), voice).aperture()).max() == 0
    # Even without the gate the network itself hardly moves.
    assert predicted.aperture().std() < 0.1 * model.opening_std


def test_silent_features_are_those_of_digital_silence():
    features = extract_features(np.zeros(16000, np.float32), rows=50)
    silence = np.tile(silent_features(), (100, 1))
    bands, phones = slice(audio.BANDS), slice(audio.BANDS, None)
    np.testing.assert_allclose(features[:, bands], silence[:, bands], atol=1e-4)
    np.testing.assert_array_equal(features[:, phones].argmax(1), silence[:, phones].argmax(1))


def test_features_of_short_audio_end_in_silence():
    features = extract_features(babble(0.2), rows=50)
    assert features.shape == (100, FEATURE_DIM)
    np.testing.assert_array_equal(features[-1], silent_features())


def test_normalized_bands_have_no_mean_and_no_gain():
    features = np.random.default_rng(0).normal(size=(200, FEATURE_DIM)).astype(np.float32)
    normal = normalize_spectra(features)
    loudness = features[:, : audio.BANDS].mean(1)
    weight = expit(8 * (loudness - loudness.mean()))
    mean = (normal[:, : audio.BANDS] * weight[:, None]).sum(0) / weight.sum()
    assert np.abs(mean).max() < 1e-5
    np.testing.assert_array_equal(normal[:, audio.BANDS :], features[:, audio.BANDS :])
    # Statistics of the whole applied to a part give that part of the whole.
    part = normalize_spectra(features[50:80], like=features)
    np.testing.assert_allclose(part, normal[50:80], atol=1e-6)


@pytest.mark.parametrize(("normalize", "lookahead"), [(False, None), (True, None), (False, 3)])
def test_inference_gives_what_the_trained_network_gives(normalize, lookahead):
    """Both are the same function: one is trained by PyTorch, one computes without it."""
    torch.manual_seed(2)
    inputs = feature_dim(lookahead is not None)
    network = LipsNetwork(
        outputs=5,
        width=24,
        dilations=(1, 2, 4),
        inputs=inputs,
        lookahead=lookahead,
        normalize=normalize,
    ).eval()
    for parameter in network.parameters():  # a new layer norm has weights of 1 and biases of 0
        torch.nn.init.normal_(parameter, std=0.3)
    features = np.random.default_rng(0).normal(size=(122, inputs)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(features)[None])[0].numpy()
    frozen = network.for_inference()
    predicted = frozen(normalize_spectra(features) if normalize else features)
    assert frozen.shape == network.shape and predicted.shape == (61, 5)
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_network_reaches_as_far_as_its_dilations_say():
    torch.manual_seed(0)
    network = LipsNetwork(outputs=3, width=8, dilations=(1, 2), normalize=False).eval()
    features = torch.zeros(1, 400, FEATURE_DIM)
    changed = features.clone()
    changed[0, 200] = 1
    moved = (network(changed) - network(features)).abs().sum((0, 2)).detach().numpy()
    rows = np.flatnonzero(moved > 0)
    reach_rows = (0.04 * (1 + 2) + 0.06) * 50
    assert network(features).shape == (1, 200, 3)
    assert rows.min() == 100 - reach_rows and rows.max() == pytest.approx(100 + reach_rows, abs=1)


def test_a_causal_network_takes_the_embedding_alone_and_nothing_beyond_its_lookahead():
    torch.manual_seed(0)
    shape = {"outputs": 3, "width": 8, "dilations": (1, 2), "inputs": feature_dim(True)}
    network = LipsNetwork(**shape, lookahead=4, normalize=False).eval()
    features = torch.zeros(1, 400, feature_dim(True))
    changed = features.clone()
    changed[0, 200, -1] = 1
    moved = (network(changed) - network(features)).abs().sum((0, 2)).detach().numpy()
    assert np.flatnonzero(moved > 0).min() == 100 - 4
    changed = features.clone()
    changed[..., :FEATURE_DIM] = 1
    torch.testing.assert_close(network(changed), network(features), rtol=0, atol=0)


def test_the_causal_model_moves_by_sound_of_no_more_than_a_quarter_of_a_second_ahead(monkeypatch):
    monkeypatch.setattr(embedding, "voiced_rms", lambda samples: 0.05)  # is of the whole sound
    model = predictor.load_installed("causal")
    samples = babble(4.0)
    before = model.predict(samples).coefficients
    for changed_s in (2.0, 2.06, 2.12):  # at different places in a block of the encoder
        changed = samples.copy()
        changed[round(changed_s * audio.RATE_HZ) :] = 0
        difference = np.abs(model.predict(changed).coefficients - before).max(1)
        first = int((changed_s - 0.24) * 50)
        assert difference[: first + 1].max() < 1e-4 < 0.01 < difference[first + 12 :].max()


def test_the_model_of_footage_under_stated_licences_is_offered_by_name():
    model = predictor.load_installed("clean")
    assert model.embedding == "clean" and lips.LipsModel.load().embedding == "default"
    card = CLEAN_FILE.with_suffix(".md").read_text(encoding="utf-8")
    data = card.partition("## Training data")[2].partition("\n## ")[0]
    classes = [line.split("|")[2].strip() for line in data.splitlines() if line.startswith("|")]
    assert set(classes[2:]) == {"cc-by"}
    samples = babble(1.0)
    moved = model.predict(samples).aperture()
    assert moved.std() > 0.2 * lips.LipsModel.load().predict(samples).aperture().std()
