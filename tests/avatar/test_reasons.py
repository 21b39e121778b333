"""Reasons for which a frame stays unchanged, and avatars that stored them in words."""

from types import SimpleNamespace

import numpy as np
import pytest

from heygem.avatar import cache
from heygem.avatar.reasons import SENTENCES, UNUSABLE, Reason, describe, from_stored
from heygem.face.pose import Pose


def test_every_reason_has_a_sentence_in_both_languages():
    assert set(SENTENCES) == set(Reason)
    for reason in Reason:
        assert describe(reason) != describe(reason, "zh")
    assert describe("words of an older record") == "words of an older record"


@pytest.mark.parametrize(
    "stored, reason",
    [
        ("no face", Reason.NO_FACE),
        ("turned away", Reason.TURNED),
        ("too small", Reason.SMALL),
        ("blurred or faded", Reason.BLURRED),
        ("with something before the mouth", Reason.OCCLUDED),
        ("OCCLUDED", Reason.OCCLUDED),
    ],
)
def test_stored_words_and_codes_are_read(stored, reason):
    assert from_stored(stored) is reason


def test_an_unknown_stored_reason_is_refused():
    with pytest.raises(ValueError):
        from_stored("on holiday")


def yaw_pose(yaws_deg):
    a = np.radians(yaws_deg)
    rotation = np.zeros((len(a), 3, 3), np.float32)
    rotation[:, 0, 0], rotation[:, 0, 2] = np.cos(a), -np.sin(a)
    rotation[:, 1, 1] = 1
    rotation[:, 2, 0], rotation[:, 2, 2] = np.sin(a), np.cos(a)
    return Pose(rotation, np.ones(len(a), np.float32), np.zeros((len(a), 3), np.float32))


def test_reasons_follow_from_their_counts():
    rng = np.random.default_rng(0)
    count = 200
    detected = rng.random(count) > 0.1
    yaw, clarity = rng.uniform(-45, 45, count), rng.uniform(0, 1, count)
    face_px, occluded = rng.uniform(40, 200, count), (rng.random(count) > 0.9) & detected
    causes = {
        Reason.NO_FACE: ~detected,
        Reason.TURNED: np.abs(yaw) > 30,
        Reason.SMALL: face_px < 60,
        Reason.BLURRED: clarity < 0.2,
        Reason.OCCLUDED: occluded,
    }
    expected = np.select(list(causes.values()), [str(reason) for reason in causes], default="")
    counts = {reason: int((expected == reason).sum()) for reason in UNUSABLE}
    assert min(counts.values()) > 2

    class Track(SimpleNamespace):
        def __len__(self):
            return count

    track = Track(detected=detected, face_px=face_px, clarity=clarity, occluded=occluded)
    np.testing.assert_array_equal(cache.reasons_from_counts(counts, track, yaw_pose(yaw)), expected)


def test_a_file_with_counts_in_words_is_read(hopper_avatar, tmp_path):
    """Avatar bundles of earlier versions hold words for causes, and no cause of each frame."""
    import json

    stored = tmp_path / "person.npz"
    cache.write(stored, hopper_avatar)
    with np.load(stored) as arrays:
        old = {name: arrays[name] for name in arrays if name != "reasons"}
    facts = json.loads(str(old["words"]))
    assert facts["unusable"]["NO_FACE"] == 0
    facts["unusable"] = {"no face": 0, "turned away": 0, "too small": 0}
    old["words"] = np.array(json.dumps(facts))
    assert {"found", "covered"} <= set(old)
    np.savez(stored, **old)
    again = cache.read(stored, stored, "", hopper_avatar.info)
    assert again is not None
    np.testing.assert_array_equal(again.reasons, hopper_avatar.reasons)
    np.testing.assert_array_equal(again.track.detected, hopper_avatar.track.detected)
    assert not any(again.unusable_frames.values())
    assert again.skip_reason(0) is Reason.NEAR_UNUSABLE  # for a frame that is usable itself
