"""All label layers of one result."""

import pytest
from helpers.labelled import HEIGHT, RATE, WIDTH, write_clip

from heygem.config.params import LabelSettings
from heygem.core.errors import OutputError
from heygem.core.files import hash_input
from heygem.provenance import containers, credentials
from heygem.provenance.labeller import Labeller


def test_the_ledger_holds_the_finished_file(installation):
    (entry,) = installation.ledger.entries(subject=hash_input(installation.result))
    assert entry.kind == "made"
    assert entry.body["layers"] == {
        "visible": "written", "metadata": "written", "watermark": "written", "c2pa": "written",
    }  # fmt: skip
    assert installation.ledger.verify() == []


def test_credentials_and_label_of_the_input_are_kept(installation, tmp_path):
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=installation.keys)
    images = [labeller.label_frame(i, k / RATE) for k, i in enumerate(installation.frames[:10])]
    path = write_clip(tmp_path / "again.mp4", images, tags=labeller.tags)
    manifest = labeller.finalize(path, ledger=installation.ledger, parent=installation.result)
    assert credentials.read(path, installation.keys).parents == [True]
    assert credentials.read(installation.result, installation.keys).parents == [False]
    row = installation.ledger.entries(kind="made")[-1]
    assert row.body["input_label"]["content"] == installation.labeller.produce_id
    assert containers.read_tags(path) == [labeller.tags["AIGC"]]  # one label, the new one
    assert any("shorter than the 2 s" in note for note in manifest["notes"])


def test_a_file_without_its_tag_is_not_finalized(installation, tmp_path):
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=installation.keys)
    path = write_clip(tmp_path / "bare.mp4", installation.frames[:10])
    rows = len(installation.ledger.entries())
    with pytest.raises(OutputError, match="metadata label"):
        labeller.finalize(path, ledger=installation.ledger, parent=installation.source)
    assert len(installation.ledger.entries()) == rows


@pytest.mark.parametrize("name", ["a.mov", "a.mkv"])
def test_other_containers_hold_the_tag(installation, tmp_path, name):
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=installation.keys)
    images = [labeller.label_frame(i, k / RATE) for k, i in enumerate(installation.frames[:10])]
    path = write_clip(tmp_path / name, images, tags=labeller.tags)
    manifest = labeller.finalize(path, ledger=installation.ledger, parent=installation.source)
    assert containers.read_tags(path) == [labeller.tags["AIGC"]]
    state = "written" if name.endswith("mov") else "not possible in .mkv"
    assert manifest["layers"]["c2pa"] == state
