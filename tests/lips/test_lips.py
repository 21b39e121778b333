"""Speech to mouth movement: the model's file, its answers, and every knob."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from heygem import audio, lips
from heygem.config.params import LipsSettings
from heygem.core.errors import AssetError
from heygem.face.topology import LOWER
from heygem.lips import trajectory as lips_trajectory
from heygem.lips.features import extract_features
from heygem.lips.network import LipsNetwork
from heygem.lips.speech_gate import speech_gate
from heygem.training.trainer import save

PLAIN = LipsSettings(silence_gate=False)


@pytest.fixture
def basis():
    rng = np.random.default_rng(0)
    return rng.normal(0, 0.01, (6, len(LOWER), 3)).astype(np.float32)


@pytest.fixture
def trajectory(basis):
    """Three seconds of smooth, arbitrary movement."""
    t = np.arange(150) / 50
    coefficients = np.stack([np.sin(2 * np.pi * (k + 1) * t / 1.7 + k) for k in range(6)], 1)
    return lips.Trajectory(coefficients.astype(np.float32), 50.0, basis)


@pytest.fixture
def model(basis):
    torch.manual_seed(0)
    networks = [LipsNetwork(outputs=6, width=16, dilations=(1, 2, 4)) for _ in range(2)]
    return lips.LipsModel(networks, basis, np.full(6, 1.5), {"opening_std": 0.04})


def babble(seconds, seed=0):
    """Noise with the rhythm of syllables."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * 16000)) / 16000
    return (0.1 * rng.normal(size=len(t)) * (1 + np.sin(2 * np.pi * 4 * t))).astype(np.float32)


def test_one_row_per_20_ms(model):
    for n in (0, 1, 319, 320, 321, 16000, 16001):
        assert len(model.predict(np.zeros(n, np.float32))) == -(-n // 320)


def test_long_audio_in_pieces_is_what_the_whole_gives(model, monkeypatch):
    samples = babble(7.3)
    whole = model.predict(samples).coefficients
    monkeypatch.setattr("heygem.lips.model.CHUNK_S", 2.0)
    np.testing.assert_allclose(model.predict(samples).coefficients, whole, atol=1e-4)


def test_file_gives_back_the_model(model, tmp_path):
    path = tmp_path / "m.safetensors"
    save(model, path)
    again = lips.LipsModel.load(path)
    assert again.opening_std == 0.04
    samples = babble(1.0)
    np.testing.assert_allclose(
        again.predict(samples).coefficients, model.predict(samples).coefficients, atol=5e-3
    )


def test_microphones_and_voices_do_not_move_the_mouth(model):
    """A gain over frequency is a constant in the logarithm, and what is constant is taken out."""
    heard = extract_features(babble(4.0), rows=200)
    coloured = heard.copy()
    coloured[:, : audio.BANDS] = heard[:, : audio.BANDS] * 1.02 + np.linspace(-0.3, 0.3, 80)
    said, again = model.predict_features(heard), model.predict_features(coloured)
    inner = slice(20, -20)  # digital silence before and after has no colour
    assert (
        np.abs(again.coefficients - said.coefficients)[inner].max()
        < 0.05 * np.abs(said.coefficients).max()
    )


def test_networks_of_before_hear_spectra_as_they_are(model, tmp_path, monkeypatch):
    for network in model.networks:
        network.level = False
    monkeypatch.setattr("heygem.training.trainer.FORMAT", "heygem-lips-2")
    path = tmp_path / "m.safetensors"
    save(model, path)
    again = lips.LipsModel.load(path)
    assert not again.networks[0].level
    np.testing.assert_allclose(
        again.predict(babble(1.0)).coefficients, model.predict(babble(1.0)).coefficients, atol=5e-3
    )


def test_what_is_no_model_is_said_so(tmp_path):
    with pytest.raises(AssetError, match="lips model"):
        lips.LipsModel.load(tmp_path / "nothing.safetensors")
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(b"not a model at all, but long enough to be read as one")
    with pytest.raises(AssetError, match="heygem train lips"):
        lips.LipsModel.load(wrong)


def test_openness_and_width_are_exact_and_leave_each_other_alone(trajectory):
    wide = lips.apply_controls(trajectory, PLAIN.model_copy(update={"width_gain": 1.5}))
    np.testing.assert_allclose(wide.width(), 1.5 * trajectory.width(), atol=1e-5)
    np.testing.assert_allclose(wide.aperture(), trajectory.aperture(), atol=1e-5)
    open_ = lips.apply_controls(trajectory, PLAIN.model_copy(update={"openness_gain": 0.5}))
    np.testing.assert_allclose(open_.aperture(), 0.5 * trajectory.aperture(), atol=1e-5)
    np.testing.assert_allclose(open_.width(), trajectory.width(), atol=1e-5)


def test_personal_scale_moves_everything(trajectory):
    bigger = lips.apply_controls(trajectory, PLAIN, opening_scale=1.3)
    np.testing.assert_allclose(bigger.coefficients, 1.3 * trajectory.coefficients, rtol=1e-5)


@pytest.mark.parametrize("offset_ms", [40.0, -60.0])
def test_positive_offset_is_a_later_mouth(trajectory, offset_ms):
    moved = lips.apply_controls(trajectory, PLAIN.model_copy(update={"offset_ms": offset_ms}))
    rows = round(offset_ms / 20)
    inner = slice(10, -10)
    np.testing.assert_allclose(
        moved.coefficients[inner], np.roll(trajectory.coefficients, rows, 0)[inner], atol=1e-5
    )


def test_smoothing_calms_without_delay(trajectory):
    calm = lips.apply_controls(trajectory, PLAIN.model_copy(update={"smoothing_ms": 120.0}))
    assert (
        np.square(np.diff(calm.coefficients, 2, axis=0)).sum()
        < 0.7 * np.square(np.diff(trajectory.coefficients, 2, axis=0)).sum()
    )
    a, b = calm.coefficients[10:-10, 5], trajectory.coefficients[:, 5]
    lags = [np.corrcoef(a, b[10 + k : len(b) - 10 + k])[0, 1] for k in (-2, -1, 0, 1, 2)]
    assert np.argmax(lags) == 2


def test_closure_shuts_the_narrowest_tenth_of_speech_and_no_open_mouth(trajectory):
    gap = trajectory.aperture()
    lifted = replace(
        trajectory,
        coefficients=trajectory.coefficients
        + np.outer(
            0.03 - gap.min() + 0 * gap,
            np.linalg.pinv(lips.aperture_direction(trajectory.basis)[None])[:, 0],
        ).astype(np.float32),
    )
    gap = lifted.aperture()  # lips that never meet
    assert gap.min() > 0.02
    firm = lips.apply_controls(lifted, PLAIN.model_copy(update={"closure": 1.0})).aperture()
    assert 0.04 < (firm < 0.003).mean() < 0.3 and firm.min() > -1e-4
    wide = gap > np.quantile(gap, 0.9)
    np.testing.assert_allclose(firm[wide], gap[wide], rtol=0.1)
    assert np.corrcoef(firm, gap)[0, 1] > 0.97
    loose = lips.apply_controls(lifted, PLAIN.model_copy(update={"closure": 0.0})).aperture()
    np.testing.assert_allclose(loose, gap, atol=1e-5)


def test_silence_rests_the_mouth_and_breaths_do_not(trajectory):
    voice = np.zeros(300, np.float32)
    voice[60:120] = 1  # words
    voice[120:138] = 0  # a breath of 180 ms
    voice[138:200] = 1
    voice[270] = 1  # a click
    still = lips.apply_controls(trajectory, LipsSettings(), voice).coefficients
    assert not still[:18].any() and not still[120:].any()
    np.testing.assert_allclose(still[30:100], trajectory.coefficients[30:100], atol=1e-6)


def test_gate_takes_its_time():
    voice = np.zeros(400, np.float32)
    voice[150:250] = 1
    gate = speech_gate(voice, rows=200, rate_hz=50.0, fade_ms=120.0)
    rising = gate[:100]
    frames = ((rising > 0.02) & (rising < 0.98)).sum()
    assert 3 <= frames <= 7  # rows of 20 ms: 60 to 140 ms
    assert (np.diff(rising) >= -1e-6).all()
    assert gate[75:125].min() > 0.999


def test_gate_does_not_flutter_round_its_threshold():
    voice = 0.5 + 0.08 * np.sin(np.arange(600))
    voice[:100] = 0
    gate = speech_gate(voice.astype(np.float32), rows=300, rate_hz=50.0)
    assert (np.abs(np.diff((gate > 0.5).astype(int))).sum()) <= 1


def test_times_between_rows_and_beyond_the_ends(trajectory):
    at = trajectory.at([0.01, -1.0, 99.0])
    rows = np.einsum("tk,knd->tnd", trajectory.coefficients, trajectory.basis)
    np.testing.assert_allclose(at[0], (rows[0] + rows[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(at[1], rows[0], atol=1e-6)
    np.testing.assert_allclose(at[2], rows[-1], atol=1e-6)


def test_lips_never_pass_through_each_other(trajectory):
    rng = np.random.default_rng(1)
    rest = rng.normal(0, 0.2, (len(LOWER), 3)).astype(np.float32)
    upper, lower = lips_trajectory._INNER_UPPER, lips_trajectory._INNER_LOWER
    rest[lower, 1] = rest[upper, 1] + 0.01  # nearly shut
    free = rest + trajectory.at(trajectory.times_s)
    met = rest + trajectory.at(trajectory.times_s, rest)
    inside = slice(1, -1)
    assert (free[:, lower, 1] - free[:, upper, 1])[:, inside].min() < -0.01
    gap = (met[:, lower, 1] - met[:, upper, 1])[:, inside]
    assert gap.min() > -1e-6
    was_open = (free[:, lower, 1] - free[:, upper, 1])[:, inside] > 0
    np.testing.assert_allclose(
        met[:, lower[inside]][was_open], free[:, lower[inside]][was_open], atol=1e-6
    )


def test_shipped_model_keeps_still_in_digital_silence():
    model = lips.LipsModel.load()
    said = model.predict(np.zeros(32000, np.float32))
    voice = audio.voice_activity(np.zeros(32000, np.float32))
    assert np.abs(lips.apply_controls(said, LipsSettings(), voice).aperture()).max() == 0
    # Even without the gate the network itself hardly moves.
    assert said.aperture().std() < 0.1 * model.opening_std
