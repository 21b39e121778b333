"""Tracing a copy to the run that made it."""

import shutil
from dataclasses import replace

import cv2
import pytest
from helpers.labelled import (
    HEIGHT,
    RATE,
    WIDTH,
    make_audio,
    make_frame,
    remux,
    trace_in,
    write_clip,
)

from heygem.config.params import LabelSettings
from heygem.provenance import binding, keys, trace
from heygem.provenance.labeller import Labeller
from heygem.provenance.ledger import Ledger


@pytest.mark.slow
def test_a_scaled_copy_without_metadata_is_traced_by_its_watermark(installation, tmp_path):
    # Keys and ids differ from run to run; on so small a picture a harder copy loses some of them.
    small = [cv2.resize(i, (408, 232), interpolation=cv2.INTER_AREA) for i in installation.labelled]
    copy = write_clip(tmp_path / "copy.mp4", small, sound=installation.audio, crf=20)
    traced = trace_in(installation, copy)
    assert traced.verification.layers["metadata"].verdict == "not found"
    assert traced.verification.layers["c2pa"].verdict == "not found"
    assert traced.origin.entry.body["run"] == "r-17"
    assert traced.origin.evidence == ["watermark", "fingerprint"]
    assert (traced.conclusion, traced.certainty) == (trace.CHANGED_COPY, trace.STRONG)
    assert traced.verdict == "noncompliant"  # its metadata is gone


@pytest.mark.slow
def test_a_copy_without_watermark_is_traced_by_its_fingerprint_as_probable(installation, tmp_path):
    copy = write_clip(tmp_path / "copy.mp4", installation.frames, sound=installation.audio, crf=30)
    traced = trace_in(installation, copy)
    assert traced.origin.evidence == ["fingerprint"]
    assert (traced.conclusion, traced.certainty) == (trace.CHANGED_COPY, trace.PROBABLE)


@pytest.mark.slow
def test_the_same_footage_with_other_audio_has_no_origin(installation, tmp_path):
    other = write_clip(tmp_path / "other.mp4", installation.frames, sound=make_audio(seed=5))
    traced = trace_in(installation, other)
    assert traced.origin is None and traced.conclusion == trace.UNLABELLED
    assert any("resembles the run of row" in reason for reason in traced.reasons)


@pytest.mark.slow
def test_a_result_in_another_container_is_still_the_one_that_was_made(installation, tmp_path):
    copy = remux(tmp_path / "a.mkv", tags_of=installation.result, packets_of=[installation.result])
    traced = trace_in(installation, copy, search=False)
    assert traced.conclusion == trace.UNCHANGED and traced.certainty == trace.PROVEN
    assert traced.origin.evidence[0] == "binding"


@pytest.mark.slow
def test_the_recording_of_a_run_is_named_as_such(installation):
    traced = trace_in(installation, installation.source, search=False)
    assert traced.conclusion == trace.UNLABELLED and traced.verdict == "not found"
    assert "it is the video that the run of row" in " ".join(traced.reasons)


@pytest.mark.slow
def test_a_result_made_from_a_result_may_hold_the_marks_of_both(installation, tmp_path):
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=installation.keys)
    labeller.watermark_id, labeller._watermark = None, None  # only the input's watermark is left
    images = [labeller.label_frame(i, k / RATE) for k, i in enumerate(installation.labelled)]
    sound = make_audio(seed=9)
    path = write_clip(tmp_path / "again.mp4", images, tags=labeller.tags, sound=sound)
    labeller.finalize(
        path, ledger=installation.ledger, parent=installation.result, sound=(sound[:, 0], 16000)
    )
    traced = trace_in(installation, path)
    assert traced.conclusion == trace.UNCHANGED and traced.conflicts == []
    assert any(each.claims == ["watermark"] for each in traced.others)


@pytest.mark.fault
@pytest.mark.slow
def test_the_finished_file_of_a_killed_run_is_traced_to_its_own_run(installation, tmp_path):
    """Killed after the file was bound and before the row of the finished file was written."""
    shutil.copytree(installation.root, tmp_path / "records")
    own_keys = keys.load(tmp_path / "records" / "keys")
    ledger = Ledger(tmp_path / "records" / "ledger.db", keys=own_keys)
    killed = replace(installation, keys=own_keys, ledger=ledger)
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=own_keys)
    begun = ledger.begin(labeller.produce_id, {}, watermark_id=labeller.watermark_id)
    frames = [make_frame(k, 11) for k in range(len(installation.frames))]
    images = [labeller.label_frame(i, k / RATE) for k, i in enumerate(frames)]
    sound = make_audio(11)
    path = write_clip(tmp_path / "a.mp4", images, tags=labeller.tags, sound=sound)
    # Nothing is signed yet: the labels alone name the run, and there is nothing to compare with.
    traced = trace_in(killed, path, search=False)
    assert traced.conclusion == trace.INCONCLUSIVE
    assert [each.entry.number for each in traced.others] == [begun.number]
    binding.bind(path, labeller.tags["AIGC"], own_keys)
    traced = trace_in(killed, path, search=False)
    assert (traced.conclusion, traced.certainty) == (trace.UNCHANGED, trace.PROVEN)
    assert traced.origin.entry.number == begun.number
    assert any("no row records its end" in reason for reason in traced.reasons)
