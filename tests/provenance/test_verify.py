"""Verification of the labels of a file, layer by layer."""

import numpy as np
import pytest
from helpers.labelled import HEIGHT, RATE, WIDTH, trace_in, verify_in, write_clip

from heygem.config.params import BILINGUAL_LABEL, DEFAULT_LABEL, LabelSettings
from heygem.provenance import VisibleLabel, keys, trace, verify


@pytest.mark.slow
def test_every_layer_of_a_result_is_compliant_and_leads_to_its_run(installation):
    traced = trace_in(installation, installation.result)
    verification = traced.verification
    assert {name: layer.verdict for name, layer in verification.layers.items()} == {
        "visible": "compliant",
        "metadata": "compliant",
        "c2pa": "compliant",
        "watermark": "compliant",
    }  # fmt: skip
    assert verification.verdict == "compliant"
    assert verification.layers["metadata"].values["signed_by_us"] is True
    assert verification.layers["metadata"].values["bound"] is True
    assert traced.origin.entry.body["run"] == "r-17"
    assert traced.origin.evidence == [
        "hash", "binding", "metadata", "credentials", "watermark", "fingerprint",
    ]  # fmt: skip
    assert (traced.conclusion, traced.certainty) == (trace.UNCHANGED, trace.PROVEN)


@pytest.mark.slow
def test_the_source_has_no_label(installation):
    verification = verify_in(installation, installation.source)
    assert verification.verdict == "not found"
    assert verification.layers["metadata"].verdict == "not found"
    assert verification.layers["watermark"].verdict == "not found"
    assert verification.layers["visible"].verdict == "inconclusive"


@pytest.mark.slow
def test_another_installation_reads_the_public_layers_only(installation, tmp_path):
    other = keys.init(tmp_path / "keys")
    verification = verify.verify_file(installation.result, keys=other, search=False)
    assert verification.layers["watermark"].verdict == "not found"
    assert verification.layers["metadata"].values["signed_by_us"] is None
    assert verification.layers["c2pa"].verdict == "compliant"
    assert verify.verify_file(installation.result).layers["watermark"].verdict == "inconclusive"


@pytest.mark.slow
def test_a_forged_content_number_is_noncompliant(installation, tmp_path):
    tag = installation.labeller.tags["AIGC"].replace(installation.labeller.produce_id, "f" * 32)
    path = write_clip(tmp_path / "forged.mp4", installation.frames[:10], tags={"AIGC": tag})
    layer = verify_in(installation, path, search=False).layers["metadata"]
    assert layer.verdict == "noncompliant" and "forged" in layer.findings[0]


@pytest.mark.slow
@pytest.mark.parametrize("text", [DEFAULT_LABEL, BILINGUAL_LABEL])
@pytest.mark.parametrize("seconds", [None, 2.0])
def test_default_texts_of_this_and_the_earlier_version_are_read(
    installation, tmp_path, text, seconds
):
    label = VisibleLabel(LabelSettings(text=text, seconds=seconds), WIDTH, HEIGHT)
    images = [label.draw(image, k / RATE) for k, image in enumerate(installation.frames)]
    path = write_clip(tmp_path / "labelled.mp4", images)
    layer = verify_in(installation, path, search=False).layers["visible"]
    assert (layer.verdict, layer.values["text"]) == ("compliant", text)


@pytest.mark.slow
def test_a_visible_label_of_half_a_second_is_noncompliant(installation, tmp_path):
    label = VisibleLabel(LabelSettings(), WIDTH, HEIGHT)
    images = [label.draw(i) if k < 12 else i for k, i in enumerate(installation.frames)]
    path = write_clip(tmp_path / "short.mp4", images)
    assert verify_in(installation, path, search=False).layers["visible"].verdict == "noncompliant"


@pytest.mark.slow
@pytest.mark.parametrize("text", [DEFAULT_LABEL, BILINGUAL_LABEL])
def test_on_a_plain_picture_the_short_text_is_not_read_as_the_longer_one(text):
    plain = np.full((480, 853, 3), 90, np.uint8)
    label = VisibleLabel(LabelSettings(text=text), 853, 480)
    layer = verify._verify_visible([label.draw(plain)] * 3, ())
    assert (layer.verdict, layer.values["text"]) == ("compliant", text)
