"""Tracing a copy to the run that made it."""

import cv2
import pytest
from helpers.labelled import make_audio, verify_in, write_clip

from heygem.provenance import trace


@pytest.mark.slow
def test_a_scaled_copy_without_metadata_is_traced_by_its_watermark(installation, tmp_path):
    # Keys and ids differ from run to run; on so small a picture a harder copy loses some of them.
    small = [cv2.resize(i, (408, 232), interpolation=cv2.INTER_AREA) for i in installation.labelled]
    copy = write_clip(tmp_path / "copy.mp4", small, sound=installation.audio, crf=20)
    verification = verify_in(installation, copy)
    assert verification.layers["metadata"].verdict == "not found"
    assert verification.layers["c2pa"].verdict == "not found"
    origin = trace.find_origin(verification, installation.ledger)
    assert origin.entry.body["run"] == "r-17"
    assert "watermark" in origin.evidence and origin.is_proven


@pytest.mark.slow
def test_a_copy_without_watermark_is_traced_by_its_fingerprint_as_probable(installation, tmp_path):
    copy = write_clip(tmp_path / "copy.mp4", installation.frames, sound=installation.audio, crf=30)
    origin = trace.find_origin(verify_in(installation, copy, search=False), installation.ledger)
    assert origin.evidence == ["fingerprint"] and not origin.is_proven


@pytest.mark.slow
def test_the_same_footage_with_other_audio_has_no_origin(installation, tmp_path):
    other = write_clip(tmp_path / "other.mp4", installation.frames, sound=make_audio(seed=5))
    verification = verify_in(installation, other, search=False)
    assert trace.find_origin(verification, installation.ledger) is None
