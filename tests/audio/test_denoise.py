"""Noise reduction on synthetic noise of known level."""

import numpy as np
import pytest
from helpers.media import RATE_HZ, synthetic_voice, write_wav

from heygem import audio
from heygem.audio.denoise import REDUCTION_DB, fit_denoiser
from heygem.media import AudioFile


@pytest.mark.parametrize("rate_hz, channels", [(16_000, 1), (44_100, 2)])
@pytest.mark.slow
def test_denoise_reduces_steady_noise_and_keeps_timing(tmp_path, rate_hz, channels):
    from scipy.signal import lfilter

    clean = synthetic_voice(6, rate_hz)
    clean[: 2 * rate_hz] = 0
    rumble = lfilter([1], [1, -0.97], np.random.default_rng(0).normal(size=len(clean)))
    rumble *= 0.01 / rumble.std()
    wave = np.repeat((clean + rumble)[:, None], channels, 1)
    path = write_wav(tmp_path / "n.wav", wave, rate_hz)
    original, denoised = audio.load(path), audio.load(path, denoise=True)
    assert any("noise" in note for note in denoised.notes)
    pause = slice(RATE_HZ // 2, RATE_HZ)
    assert np.std(denoised.samples[pause]) < 0.4 * np.std(original.samples[pause])
    expected = audio.load(write_wav(tmp_path / "c.wav", clean, rate_hz)).samples
    talk = slice(2 * RATE_HZ, 6 * RATE_HZ - 1600)
    error_before = np.std((original.samples - expected)[talk])
    assert (
        np.std((denoised.samples - expected)[talk]) < 0.8 * error_before
    )  # also fails when shifted
    assert len(denoised.samples) == len(original.samples)
    output = denoised.source.samples
    assert output.shape == original.source.samples.shape
    assert np.std(output[rate_hz // 2 : rate_hz]) < 0.4 * np.std(wave[rate_hz // 2 : rate_hz])


def test_denoise_leaves_a_clean_recording_unchanged(tmp_path, wav):
    clean = np.concatenate([np.zeros(RATE_HZ, np.float32), synthetic_voice(2)])
    path = write_wav(tmp_path / "c.wav", clean)
    assert (audio.load(path, denoise=True).samples == audio.load(path).samples).all()
    pauseless = audio.load(wav, denoise=True)  # a tone without any pause
    assert (pauseless.samples == audio.load(wav).samples).all()
    assert any("no pause" in note for note in pauseless.notes)


def test_the_noise_level_is_measured_and_reduced_by_nearly_the_full_amount(tmp_path):
    rate_hz, noise_db = 16_000, -46.0
    speech = synthetic_voice(6, rate_hz)
    speech[: 2 * rate_hz] = 0
    noise = np.random.default_rng(0).normal(0, 10 ** (noise_db / 20), len(speech))
    source = AudioFile(write_wav(tmp_path / "n.wav", speech + noise, rate_hz))
    denoiser, note = fit_denoiser(source)
    profile_db = 10 * np.log10(np.mean(denoiser.profile**2))
    assert profile_db == pytest.approx(noise_db, abs=1) and "dBFS" in note
    denoised = np.concatenate(list(denoiser(source.blocks())))
    pause = slice(rate_hz // 2, 3 * rate_hz // 2)
    ratio = np.std(denoised[pause]) / np.std(source.samples[pause])
    assert -20 * np.log10(ratio) == pytest.approx(REDUCTION_DB, abs=3)
