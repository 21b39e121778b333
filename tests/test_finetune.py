"""What a person's own footage teaches, and where it is kept."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heygem import lips
from heygem.errors import Cancelled, InputError
from heygem.finetune import adapt as adapting
from heygem.finetune.adapt import FinetuneSettings, adapt
from heygem.notebooks import root
from heygem.training.dataset import Clip, Source

QUICK = FinetuneSettings(blocks=4)


@pytest.fixture(scope="module")
def base():
    return lips.LipsModel.load()


@pytest.fixture(scope="module")
def heard(base):
    """Features of the samples' speech, some 24 s in three voices, and what the base says."""
    from heygem import audio

    parts = []
    for name in ("speech_en.wav", "speech_zh.wav", "hopper.mp4"):
        samples = audio.load(root() / "samples" / name).samples
        rows = len(samples) // 320
        features = lips.features(samples, rows=rows)
        parts.append((features, base.predict_features(features).coefficients))
    return parts


def speaker(base, heard, change=None, *, noise=0.0):
    """Clips of somebody whose mouth does `change` of what the base would say (or only noise)."""
    rng = np.random.default_rng(3)
    clips = []
    for i, (features, said) in enumerate(heard):
        done = said if change is None else said @ change
        done = done + noise * rng.normal(size=said.shape).astype(np.float32)
        moved = np.einsum("tk,knd->tnd", done, base.basis).astype(np.float32)
        clips.append(
            Clip(
                Source(Path(f"clip{i}.mp4"), "somebody"),
                f"{i}" * 64,
                features,
                np.ones(len(features), np.float32),
                moved,
                np.ones(len(moved), bool),
            )
        )
    return clips


def unlike(base):
    """Somebody who rounds where others open: a map of the coefficients, far from the identity."""
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(len(base.basis),) * 2))
    return (0.3 * np.eye(len(base.basis)) + 0.7 * turn).astype(np.float32)


def test_an_unlike_speaker_is_learnt(base, heard):
    told = []
    got = adapt(
        base,
        speaker(base, heard, unlike(base), noise=0.1),
        QUICK,
        progress=lambda *what: told.append(what),
        watch=lambda *what: told.append(what),
    )
    assert not got.kept_base
    assert got.after.correlation > got.before.correlation + 0.05
    assert 0.7 < got.after.ratio < 1.3  # opens as far as the person does
    assert len(got.history) == len(adapting.STRENGTHS)
    assert {"hear", "learn", "held_out/correlation"} <= {what[0] for what in told}
    # What it learnt holds for sound it was not shown, too.
    features, said = heard[0]
    rest = [c for c in speaker(base, heard, unlike(base), noise=0.1)][1:]
    rest = adapt(base, rest, QUICK).model.predict_features(features).aperture()
    wanted = said @ unlike(base) @ lips.aperture_direction(base.basis)
    plain = said @ lips.aperture_direction(base.basis)
    assert np.corrcoef(rest, wanted)[0, 1] > np.corrcoef(plain, wanted)[0, 1] + 0.02
    # What was promised for held-out seconds is what the model does.
    for clip, curve in zip(speaker(base, heard, unlike(base), noise=0.1), got.curves, strict=True):
        does = got.model.predict_features(clip.heard).aperture()
        assert np.corrcoef(does, curve["after"])[0, 1] > 0.97
    # And digital silence is still a mouth at rest.
    quiet = np.tile(lips.silence(), (200, 1)).astype(np.float32)
    assert np.abs(got.model.predict_features(quiet).aperture()).max() < 0.02


def test_where_nothing_is_to_be_learnt_the_base_stays(base, heard):
    got = adapt(base, speaker(base, heard, noise=1.0), QUICK)
    assert got.kept_base and got.model is base


def test_a_dubbed_face_is_refused(base, heard):
    dubbed = [
        replace(clip, moved=np.roll(clip.moved[::-1], 77, axis=0))
        for clip in speaker(base, heard, noise=0.3)
    ]
    with pytest.raises(InputError, match="do not belong together"):
        adapt(base, dubbed, QUICK)


def test_a_late_picture_is_put_right(base, heard):
    late = []
    for clip in speaker(base, heard, unlike(base), noise=0.1):
        late.append(replace(clip, moved=np.roll(clip.moved, 5, axis=0)))
    got = adapt(base, late, QUICK)
    assert all(abs(s.lag_s - 0.1) < 0.03 for s in got.sync)
    assert got.after.correlation > 0.7 and abs(got.after.lag_ms) <= 20


def test_too_little_speech_is_refused(base, heard):
    clips = speaker(base, heard)[:1]
    short = replace(clips[0], valid=np.arange(len(clips[0].valid)) < 200)
    with pytest.raises(InputError, match="too little speech"):
        adapt(base, [short], QUICK)


def test_cancel_stops_and_a_checkpoint_goes_on(base, heard, tmp_path):
    clips = speaker(base, heard, unlike(base))
    cancel = threading.Event()

    def stop(stage, done, total):
        if stage == "learn":
            cancel.set()

    kept = tmp_path / "adapt.npz"
    with pytest.raises(Cancelled):
        adapt(base, clips, QUICK, progress=stop, cancel=cancel, checkpoint=kept)
    assert not kept.exists()
    first = adapt(base, clips, QUICK, checkpoint=kept)
    stages = []
    again = adapt(
        base, clips, QUICK, checkpoint=kept, progress=lambda stage, *_: stages.append(stage)
    )
    assert "learn" not in stages
    assert again.after == first.after
    # Other footage is learnt from anew.
    adapt(base, clips[:2], QUICK, checkpoint=kept, progress=lambda stage, *_: stages.append(stage))
    assert "learn" in stages
