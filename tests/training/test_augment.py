"""Augmentations do to a spectrum what they are named after."""

import numpy as np
import pytest
import torch

from heygem import audio
from heygem.training import augment


def augmentation(seed=0):
    return augment.Augment(torch.Generator().manual_seed(seed))


def tone(band, windows=64, steps=40):
    """Power in one band, and a little of it in the neighbours."""
    distance = torch.arange(audio.BANDS) - band
    return torch.exp(-0.5 * distance.float() ** 2).expand(windows, steps, -1).clone() + 1e-6


def test_power_and_logarithm_are_inverse():
    log_mel = torch.randn(2, 9, 80) * 0.3
    np.testing.assert_allclose(augment.to_log(augment.to_power(log_mel)), log_mel, atol=1e-4)


def test_logarithm_is_that_of_the_features():
    silence = audio.log_mel(np.zeros(16000, np.float32))
    np.testing.assert_allclose(augment.to_log(torch.zeros(1)), silence[50, :1], atol=1e-5)


def test_vtlp_moves_a_tone_by_the_stretch_of_frequencies():
    changed = augmentation().vtlp(tone(40), max_stretch=0.16)
    peaks = changed[:, 20].argmax(-1).numpy()
    mel_low = 1127 * np.log1p(audio.features.LOWEST_HZ / 700)
    mel_high = 1127 * np.log1p(audio.features.HIGHEST_HZ / 700)
    mel = np.linspace(mel_low, mel_high, audio.BANDS + 2)[1:-1]
    hz = 700 * np.expm1(mel / 1127)
    stretch = np.log(hz[40] / hz[peaks])
    one_band = np.log(hz[41] / hz[40])
    assert len(set(peaks)) > 8  # every window its own
    assert np.abs(stretch).max() < 0.16 + one_band
    assert stretch.min() < -0.1 and stretch.max() > 0.1


def test_vtlp_without_a_stretch_changes_nothing():
    power = tone(33)
    np.testing.assert_allclose(
        augmentation().vtlp(power, max_stretch=0.0), power, rtol=0.01, atol=2e-7
    )


def test_eq_is_a_smooth_gain_that_stays_the_same_over_time():
    power = torch.rand(256, 30, audio.BANDS) + 0.1
    gain_nepers = torch.log(augmentation().eq(power) / power)
    np.testing.assert_allclose(gain_nepers, gain_nepers[:, :1].expand(-1, 30, -1), atol=1e-4)
    curve = gain_nepers[:, 0]
    assert curve.diff(dim=1).abs().max() < 0.5  # of neighbouring bands
    assert 0.3 < curve.std() < 1.0
    assert curve.mean().abs() < 0.1  # over windows: neither louder nor quieter


@pytest.mark.slow
def test_eq_without_a_spread_changes_nothing():
    power = torch.rand(4, 10, audio.BANDS)
    torch.testing.assert_close(augmentation().eq(power, spread=0.0), power)


@pytest.mark.slow
def test_reverb_adds_a_decaying_tail_and_never_sounds_before_its_cause():
    power = torch.zeros(200, 100, audio.BANDS)
    power[:, 30] = 1.0
    late = augmentation().reverb(power, probability=1.0) - power
    assert (late[:, :31] == 0).all()
    tail = late[:, 31:]
    assert (tail.diff(dim=1)[:, :50] <= 1e-7).all()
    energy = late.sum(1)[:, 0]
    assert (energy <= 0.8 + 1e-5).all() and energy.max() > 0.6
    torch.testing.assert_close(augmentation().reverb(power, probability=0.0), power)


@pytest.mark.slow
def test_degradations_can_be_had_one_at_a_time():
    power, babble = tone(70), tone(20)
    nothing = dict(babble_probability=0.0, noise_probability=0.0, lowpass_probability=0.0)
    torch.testing.assert_close(augmentation().degrade(power, babble, **nothing), power)
    mixed = augmentation().degrade(power, babble, **nothing | {"babble_probability": 1.0})
    level_db = 10 * torch.log10((mixed - power)[:, 0, 20])
    assert -29.2 < level_db.min() and level_db.max() < -5.1
    dull = augmentation().degrade(power, babble, **nothing | {"lowpass_probability": 1.0})
    gain = dull / power
    assert (gain[..., :51] == 1).all()
    assert torch.isclose(gain, torch.tensor(1e-3)).logical_or(gain == 1).all()
    assert (gain.diff(dim=-1) <= 0).all()  # everything above some band
    assert 0.5 < (gain[:, 0, 79] < 1).float().mean() < 0.9


def test_noise_lies_below_the_level_of_speech():
    noise = augmentation().noise(torch.zeros(400, 50, audio.BANDS))
    level_db = 10 * torch.log10(noise.mean((1, 2)))
    assert (noise > 0).all()
    assert level_db.median() == pytest.approx(-35, abs=6)


def test_same_seed_same_changes():
    power, babble = torch.rand(8, 40, audio.BANDS), torch.rand(8, 40, audio.BANDS)
    first, again, other = (augmentation(seed)(power, babble) for seed in (3, 3, 4))
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, other)
