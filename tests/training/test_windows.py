"""Basis, amplitudes of speakers and training windows of generated clips."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.training import talking

from heygem.audio.embedding import EMBEDDING_DIM
from heygem.face.topology import LOWER
from heygem.lips.features import FEATURE_DIM
from heygem.training.windows import TrainingWindows, fit_basis, speaker_scales


@pytest.mark.slow
def test_basis_reconstructs_the_displacements(generated_speakers):
    clips = generated_speakers.clips[:4]
    basis = fit_basis(clips, 3)
    displacement = clips[0].displacement
    flat = displacement.reshape(len(displacement), -1)
    back = np.einsum("tk,knd->tnd", flat @ basis.project, basis.shapes)
    assert np.abs(back - displacement).max() < 0.05 * np.abs(displacement).max()
    assert basis.explained > 0.99
    assert basis.shapes.shape == (3, len(LOWER), 3)


@pytest.mark.slow
def test_coefficients_have_a_standard_deviation_of_one(generated_speakers):
    clips = generated_speakers.clips[:4]
    basis = fit_basis(clips, 3)
    rows = np.concatenate([c.displacement.reshape(len(c.valid), -1)[::2] for c in clips])
    np.testing.assert_allclose((rows @ basis.project).std(0), 1, rtol=1e-3)
    assert (np.diff(basis.spread) <= 0).all()


@pytest.mark.slow
def test_wide_and_narrow_mouths_have_the_same_target():
    clips = [talking("small", 3, gap=0.04), talking("big", 3, gap=0.12)]
    scales, median = speaker_scales(clips)
    assert scales["big"] / scales["small"] == pytest.approx(3, rel=0.05)
    assert median == pytest.approx(np.mean([c.aperture.std() for c in clips]), rel=0.05)
    basis = fit_basis(clips, 2)
    small, big = (t.target[:, 0] for t in TrainingWindows(clips, basis, scales, rows=64).tensors)
    np.testing.assert_allclose(small, big, atol=0.1)
    # Unscaled, the same motion differs by a factor of three: the comparison above can fail.
    small, big = (t.target[:, 0] for t in TrainingWindows(clips, basis, {}, rows=64).tensors)
    assert (small - big).abs().max() > 1


@pytest.mark.slow
def test_same_seed_same_batch(generated_speakers):
    clips = generated_speakers.clips[:4]
    windows = TrainingWindows(clips, fit_basis(clips, 3), {}, rows=64)
    first, again = windows.batch(40, 7, "cpu"), windows.batch(40, 7, "cpu")
    other = windows.batch(40, 8, "cpu")
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(first[0], other[0])
    assert np.isfinite(first[0].numpy()).all()


@pytest.mark.slow
def test_some_windows_are_silent_with_the_mouth_at_rest(generated_speakers):
    clips = generated_speakers.clips[:4]
    windows = TrainingWindows(clips, fit_basis(clips, 3), {}, rows=64)
    features, target, valid = windows.batch(400, 7, "cpu")
    silent = (target == 0).all(2).all(1)
    assert 4 < silent.sum() < 50  # of 400, at a probability of 5 %
    assert valid[silent].all()
    phones = features[silent][:, :, 80:]
    has_phones = phones.any(2).any(1)
    assert torch.equal(phones[has_phones][0, 0], windows._silent_phones)


@pytest.mark.slow
def test_speakers_with_much_footage_are_drawn_more_often_but_not_in_proportion():
    clips = [talking("much", 1, seconds=18.0), talking("little", 2, seconds=2.0)]
    windows = TrainingWindows(clips, fit_basis(clips, 2), {}, rows=32)
    assert windows._share == pytest.approx([0.75, 0.25])  # nine times the footage, three times


def with_embedding(clip):
    """The clip with a speech embedding of ones, and of twos where its sound is augmented."""
    embedding = np.ones((len(clip.features), EMBEDDING_DIM), np.float32)
    return replace(
        clip,
        features=np.concatenate([clip.features, embedding], 1),
        augmented_embeddings=2 * embedding[None].astype(np.float16),
    )


@pytest.mark.slow
def test_windows_take_the_embedding_of_the_sound_as_it_is_or_augmented_or_none():
    clips = [with_embedding(talking(f"p{i}", i)) for i in range(2)]
    windows = TrainingWindows(clips, fit_basis(clips, 3), {}, rows=64, embedding="default")
    features, target, _ = windows.batch(300, 3, "cpu")
    embedding = features[..., FEATURE_DIM:]
    silent = (target == 0).all(-1).all(-1)
    assert 0 < silent.sum() < 60
    assert (embedding[silent] != 1).all(), "a window of silence has the embedding of silence"
    values, counts = torch.unique(embedding[~silent], return_counts=True)
    assert values.tolist() == [0, 1, 2]
    share = counts / counts.sum()
    assert 0.02 < share[0] < 0.2 and abs(share[1] - share[2]) < 0.2
