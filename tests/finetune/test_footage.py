"""Footage that does not belong to the person leaves no trace in what is made."""

import cv2
import numpy as np
import pytest
from helpers.finetune import QUICK
from helpers.media import write_video
from safetensors.numpy import load_file

from heygem import audio, media
from heygem.batch.notebooks import root
from heygem.config.params import FaceSettings
from heygem.core.errors import ConsentError, ParameterError
from heygem.core.files import sha256
from heygem.finetune import bundle
from heygem.finetune.consent import Statement
from heygem.finetune.footage import check_identity, track
from heygem.finetune.run import finetune
from heygem.provenance import consent, keys
from heygem.provenance.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_home")]
SYNTHETIC = Statement("synthetic")
STRANGER = root() / "samples" / "collins.mp4"


def film(path, parts, sound):
    """A video of frames (file, first, last), with the sound of a file."""
    images = []
    for source, first, last in parts:
        with media.VideoReader(source) as reader:
            images += [f.image for f in reader if first <= f.index < last]
    height, width = images[0].shape[:2]
    samples = audio.load(sound).samples[: int(16000 * len(images) / 25)]
    return write_video(
        path,
        frames=len(images),
        width=width,
        height=height,
        audio=media.AudioTrack(samples[:, None], 16000),
        make=lambda k, width, height: cv2.resize(images[k], (width, height)),
        crf=16,
    )


def assert_same_avatar(one, other):
    """Two bundles were made of the same: pictures, adapter, coverage, sources."""
    person, again = bundle.person(one), bundle.person(other)
    assert len(person.library.crops) == len(again.library.crops)
    for crop, crop_again in zip(person.library.crops, again.library.crops, strict=True):
        np.testing.assert_array_equal(crop, crop_again)
    assert person.report["widest_aperture"] == again.report["widest_aperture"]
    for name in ("coverage.png", "pictures.jpg"):
        assert sha256(one / name) == sha256(other / name), name
    # Two fits of the same seconds differ in the last digits.
    weights, again_weights = (load_file(p / bundle.ADAPTER)["weights"] for p in (one, other))
    np.testing.assert_allclose(weights, again_weights, atol=1e-3 * np.abs(weights).max())
    for key in ("seconds", "held_out", "pictures"):
        assert person.bundle.facts[key] == again.bundle.facts[key], key


@pytest.mark.fault
def test_a_file_that_shows_somebody_else_leaves_nothing_behind(result, footage, tmp_path):
    out = finetune([*footage, STRANGER], tmp_path / "two.heygem", QUICK, consent=SYNTHETIC).path
    facts = bundle.read(out)
    assert_same_avatar(result.path, out)
    assert [source["name"] for source in facts["sources"]] == ["hopper.mp4"]
    assert facts["left_out"][0]["name"] == "collins.mp4"
    assert any("collins.mp4: shows somebody else than hopper.mp4" in n for n in facts["notes"])
    report = (out / "report.html").read_text()
    assert "Left out, nothing of it is used" in report and "collins.mp4" in report
    ledger = Ledger(keys=keys.ensure())
    assert ledger.entries(kind="likeness", subject=sha256(footage[0]))
    assert not ledger.entries(subject=sha256(STRANGER)), "no basis is stated for a stranger"


def test_a_file_with_another_sound_leaves_nothing_behind(result, footage, tmp_path):
    # Short clips of one container are judged together, so this one has its own.
    speech = root() / "samples" / "speech_zh.wav"
    dubbed = film(tmp_path / "b.mkv", [(footage[0], 0, 200)], speech)
    out = finetune([*footage, dubbed], tmp_path / "two.heygem", QUICK, consent=SYNTHETIC).path
    facts = bundle.read(out)
    assert [left["name"] for left in facts["left_out"]] == ["b.mkv"]
    assert [source["name"] for source in facts["sources"]] == ["hopper.mp4"]
    assert_same_avatar(result.path, out)


@pytest.mark.fault
def test_shots_of_somebody_else_are_left_out_of_a_file(footage, tmp_path):
    mixed = film(
        tmp_path / "mixed.mp4",
        [(footage[0], 0, 50), (STRANGER, 0, 40), (footage[0], 60, 85)],
        footage[0],
    )
    face = FaceSettings()
    material = track([mixed], [sha256(mixed)], face, lambda *_: None)
    assert material.avatars[0].usable[50:90].any(), "the stranger's face is followed"
    checked = check_identity(material, face, lambda *_: None)
    (person,) = checked.avatars
    assert not person.usable[50:90].any() and person.usable[:50].any()
    assert not set(person.library.frames.tolist()) & set(range(50, 90))
    assert checked.notes == ["mixed.mp4: somebody else at 2.0-3.6 s; left out"]


def test_a_second_copy_of_a_file_is_used_once(footage, tmp_path):
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(footage[0].read_bytes())
    paths = [footage[0], copy]
    material = track(paths, [sha256(p) for p in paths], FaceSettings(), lambda *_: None)
    assert material.paths == footage


def test_a_blocked_file_is_refused_before_it_is_read(footage, tmp_path, monkeypatch):
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    consent.block(Ledger(keys=keys.ensure()), sha256(STRANGER), reason="asked to")
    stages = []
    with pytest.raises(ConsentError, match="blocked"):
        finetune(
            [*footage, STRANGER],
            tmp_path / "a.heygem",
            consent=SYNTHETIC,
            progress=lambda stage, done, total: stages.append(stage),
        )
    assert set(stages) == {"check"}


def test_a_statement_about_a_file_that_is_not_given_is_refused(footage, tmp_path):
    with pytest.raises(ParameterError, match="not among the footage"):
        finetune(footage, tmp_path / "a.heygem", consent=SYNTHETIC, same_person=[STRANGER])
