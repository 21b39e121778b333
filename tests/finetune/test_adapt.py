"""Adaptation to generated speakers whose articulation is known."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from helpers.finetune import QUICK, speaker, unlike

from heygem import lips
from heygem.core.errors import Cancelled, InputError
from heygem.finetune.adapt import PENALTIES, adapt
from heygem.finetune.held_out import judged_parts
from heygem.finetune.ridge import Folds
from heygem.lips.features import silent_features
from heygem.lips.trajectory import Trajectory
from heygem.training.coefficients import projection

pytestmark = pytest.mark.slow


def test_an_unlike_speaker_is_adapted_to(base, utterances):
    reports = []
    adaptation = adapt(
        base,
        speaker(base, utterances, unlike(base), noise=0.1),
        QUICK,
        progress=lambda *report: reports.append(report),
        watch=lambda *report: reports.append(report),
    )
    assert not adaptation.kept_base
    assert adaptation.after.correlation > adaptation.before.correlation + 0.05
    assert 0.7 < adaptation.after.ratio < 1.3  # opens as far as the person does
    assert len(adaptation.history) == len(PENALTIES)
    assert {"encode", "learn", "held_out/correlation"} <= {report[0] for report in reports}
    # It holds for audio that was not in the footage, too.
    features, coefficients = utterances[0].features, utterances[0].coefficients
    rest = [c for c in speaker(base, utterances, unlike(base), noise=0.1)][1:]
    rest = adapt(base, rest, QUICK).model.predict_features(features).aperture()
    expected = coefficients @ unlike(base) @ lips.aperture_direction(base.basis)
    plain = coefficients @ lips.aperture_direction(base.basis)
    assert np.corrcoef(rest, expected)[0, 1] > np.corrcoef(plain, expected)[0, 1] + 0.02
    # The model predicts what was reported for held-out seconds.
    for clip, curve in zip(
        speaker(base, utterances, unlike(base), noise=0.1), adaptation.curves, strict=True
    ):
        predicted = adaptation.model.predict_features(clip.features).aperture()
        assert np.corrcoef(predicted, curve["after"])[0, 1] > 0.97
    # In digital silence the mouth is still at rest.
    quiet = np.tile(silent_features(embedding=base.embedding), (200, 1)).astype(np.float32)
    assert np.abs(adaptation.model.predict_features(quiet).aperture()).max() < 0.04


def test_the_amplitude_is_limited_from_below(base, utterances):
    adaptation = adapt(base, speaker(base, utterances, 0.2 * unlike(base), noise=0.02), QUICK)
    assert not adaptation.kept_base
    typical = base.opening_std
    assert adaptation.adapter.opening_std == pytest.approx(0.7 * typical)
    spread = np.concatenate([c["after"] for c in adaptation.curves]).std()
    assert 0.5 * typical < spread < typical


def test_the_base_is_kept_where_the_fit_is_no_better(base, utterances):
    adaptation = adapt(base, speaker(base, utterances, noise=1.0), QUICK)
    assert adaptation.kept_base and adaptation.model is base


def test_a_dubbed_face_is_refused(base, utterances):
    dubbed = [
        replace(clip, displacement=np.roll(clip.displacement[::-1], 77, axis=0))
        for clip in speaker(base, utterances, noise=0.3)
    ]
    with pytest.raises(InputError, match="do not belong together"):
        adapt(base, dubbed, QUICK)


def test_a_late_picture_is_corrected(base, utterances):
    late = []
    for clip in speaker(base, utterances, unlike(base), noise=0.1):
        late.append(replace(clip, displacement=np.roll(clip.displacement, 5, axis=0)))
    adaptation = adapt(base, late, QUICK)
    assert all(abs(s.lag_s - 0.1) < 0.03 for s in adaptation.sync)
    assert adaptation.after.correlation > 0.7 and abs(adaptation.after.lag_ms) <= 20


def test_too_little_speech_is_refused(base, utterances):
    clips = speaker(base, utterances)[:1]
    short = replace(clips[0], valid=np.arange(len(clips[0].valid)) < 200)
    with pytest.raises(InputError, match="too little speech"):
        adapt(base, [short], QUICK)


def test_cancel_stops_and_a_checkpoint_is_continued(base, utterances, tmp_path):
    clips = speaker(base, utterances, unlike(base))
    cancel = threading.Event()

    def stop(stage, done, total):
        if stage == "learn":
            cancel.set()

    checkpoint = tmp_path / "adapt.npz"
    with pytest.raises(Cancelled):
        adapt(base, clips, QUICK, progress=stop, cancel=cancel, checkpoint=checkpoint)
    assert not checkpoint.exists()
    first = adapt(base, clips, QUICK, checkpoint=checkpoint)
    stages = []
    again = adapt(
        base, clips, QUICK, checkpoint=checkpoint, progress=lambda stage, *_: stages.append(stage)
    )
    assert "learn" not in stages
    assert again.after == first.after
    # Other footage is fitted anew.
    adapt(
        base,
        clips[:2],
        QUICK,
        checkpoint=checkpoint,
        progress=lambda stage, *_: stages.append(stage),
    )
    assert "learn" in stages


def test_a_lag_that_only_the_judged_seconds_have_is_not_corrected_for_them(base, utterances):
    clips = speaker(base, utterances, unlike(base), noise=0.05)
    clip = max(clips, key=lambda c: len(c.valid))
    half = len(clip.valid) // 2
    late = clip.shifted(-0.16)  # its picture is 160 ms later
    mixed = replace(
        clip, displacement=np.concatenate([late.displacement[:half], clip.displacement[half:]])
    )
    curve = {"before": clip.aperture, "after": clip.aperture}
    folds = Folds([np.repeat([0, 1], [half, len(clip.valid) - half])], gap=25, count=2)
    flat = clip.displacement.reshape(len(clip.valid), -1)
    predicted = Trajectory(flat @ projection(base.basis), 50.0, base.basis)
    (first,), (second,) = (
        judged_parts([mixed], [predicted], [curve], folds, fold) for fold in (0, 1)
    )
    # The second half is in sync, so the first is judged as it is; the first is late, so the second
    # is judged with a lag that it does not have.
    np.testing.assert_array_equal(first.real, mixed.aperture)
    np.testing.assert_allclose(
        second.real[:-20], mixed.aperture[8:][: len(second.real) - 20], atol=2e-3
    )
    assert set(np.flatnonzero(first.valid)) <= set(range(half))
