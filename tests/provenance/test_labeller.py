"""All label layers of one result."""

import os
import signal

import numpy as np
import pytest
from av.video.reformatter import Colorspace
from helpers.killing import run_killed
from helpers.labelled import HEIGHT, RATE, WIDTH, write_clip

from heygem.config.params import LabelSettings
from heygem.core.errors import OutputError
from heygem.core.files import hash_input
from heygem.media.yuv import YuvImage
from heygem.provenance import containers, credentials
from heygem.provenance.aigc import parse_label
from heygem.provenance.labeller import Labeller
from heygem.provenance.ledger import Ledger
from heygem.provenance.ledger.rows import is_running


@pytest.mark.slow
def test_the_ledger_holds_the_finished_file(installation):
    (entry,) = installation.ledger.entries(subject=hash_input(installation.result))
    assert entry.kind == "made"
    assert entry.body["layers"] == {
        "visible": "written", "metadata": "written", "watermark": "written", "c2pa": "written",
    }  # fmt: skip
    assert installation.ledger.verify() == []


@pytest.mark.slow
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


def test_a_frame_is_shown_to_nobody_before_it_is_labelled(installation):
    shown = []
    labeller = Labeller(
        LabelSettings(),
        WIDTH,
        HEIGHT,
        keys=installation.keys,
        show_frame=lambda image, _time_s: shown.append(image),
    )
    for image in (
        installation.frames[0],
        YuvImage.from_rgb(installation.frames[0], Colorspace.ITU709),
    ):
        labelled = labeller.label_frame(image, len(shown) / RATE)
        assert shown[-1] is labelled
        x, y, width, height = labeller.visible.box
        part = np.s_[y : y + height, x : x + width]
        assert np.abs(shown[-1][part].astype(int) - image[part]).max() > 60, "the visible label"


def test_a_file_without_its_tag_is_not_finalized(installation, tmp_path):
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=installation.keys)
    path = write_clip(tmp_path / "bare.mp4", installation.frames[:10])
    rows = len(installation.ledger.entries())
    with pytest.raises(OutputError, match="metadata label"):
        labeller.finalize(path, ledger=installation.ledger, parent=installation.source)
    assert len(installation.ledger.entries()) == rows


@pytest.mark.slow
def test_a_result_has_a_row_from_before_its_first_frame(installation, tmp_path):
    ledger = installation.ledger
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=installation.keys)
    with labeller.recorded_run(ledger, title="a.mp4", facts={"sources": {"video": "f" * 64}}):
        (begun,) = ledger.unfinished()
        assert begun.subject == labeller.produce_id and begun.body["title"] == "a.mp4"
        assert begun.watermark_id == f"{labeller.watermark_id:016x}"
        assert begun.body["sources"] == {"video": "f" * 64}
        images = [labeller.label_frame(i, k / RATE) for k, i in enumerate(installation.frames[:5])]
        path = write_clip(tmp_path / "a.mp4", images, tags=labeller.tags)
        manifest = labeller.finalize(path, ledger=ledger, parent=installation.source)
    (made,) = ledger.entries(subject=hash_input(path))
    assert made.body["begun"] == begun.number and made.number == manifest["ledger_row"]
    assert ledger.unfinished() == []


@pytest.mark.fault
def test_a_run_that_fails_is_recorded_as_abandoned(installation):
    ledger = installation.ledger
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=installation.keys)
    with pytest.raises(KeyboardInterrupt), labeller.recorded_run(ledger, title="a.mp4"):
        raise KeyboardInterrupt
    begun, abandoned = ledger.entries(subject=labeller.produce_id)
    assert abandoned.kind == "abandoned" and abandoned.body["begun"] == begun.number
    assert abandoned.body["reason"] == "KeyboardInterrupt" and ledger.unfinished() == []


@pytest.mark.fault
@pytest.mark.slow
def test_the_whole_file_of_a_killed_run_belongs_to_the_row_of_that_run(installation, tmp_path):
    ledger, path = Ledger(installation.ledger.path, keys=installation.keys), tmp_path / "a.mp4"

    def run():
        labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=installation.keys)
        with labeller.recorded_run(ledger, title="a.mp4"):
            write_clip(path, installation.labelled[:3], tags=labeller.tags)
            os.kill(os.getpid(), signal.SIGKILL)

    assert run_killed(run, at_operation=10**6)
    label, _ = parse_label(containers.read_tags(path)[0])
    (begun,) = [row for row in ledger.unfinished() if row.body["title"] == "a.mp4"]
    assert begun.body["produce_id"] == label.ProduceID and begun.watermark_id
    assert not is_running(begun) and ledger.verify() == []
    ledger.abandon(begun, "killed")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.mov", "a.mkv"])
def test_other_containers_hold_the_tag(installation, tmp_path, name):
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=installation.keys)
    images = [labeller.label_frame(i, k / RATE) for k, i in enumerate(installation.frames[:10])]
    path = write_clip(tmp_path / name, images, tags=labeller.tags)
    manifest = labeller.finalize(path, ledger=installation.ledger, parent=installation.source)
    assert containers.read_tags(path) == [labeller.tags["AIGC"]]
    state = "written" if name.endswith("mov") else "not possible in .mkv"
    assert manifest["layers"]["c2pa"] == state


def test_labels_in_planes_are_those_in_rgb(installation):
    """A frame in the codec's planes gets the watermark and the label that its RGB would get."""
    images = installation.frames[:8]
    height, width = images[0].shape[:2]
    run = ("0" * 32, 123456789)

    def labeller():
        settings = LabelSettings()
        return Labeller(settings, width, height, keys=installation.keys, continues=run)

    rgb, planes = labeller(), labeller()
    for k, image in enumerate(images):
        given = YuvImage.from_rgb(image, Colorspace.ITU709)
        before = given.y.copy()
        marked = planes.label_frame(given, k / RATE)
        assert (given.y == before).all()  # the frame itself stays
        expected = YuvImage.from_rgb(rgb.label_frame(image, k / RATE), Colorspace.ITU709)
        for name in "yuv":
            a, b = (getattr(picture, name).astype(int) for picture in (marked, expected))
            assert np.abs(a - b).mean() < 0.5
        x0, y0, x1, y1 = planes.visible.box
        inside = np.abs(marked.y[y0:y1, x0:x1].astype(int) - expected.y[y0:y1, x0:x1])
        assert inside.max() <= 4
        step = (marked.y.astype(int) - before)[: y0 if y0 > height / 2 else None]
        step = np.delete(step, np.s_[x0:x1], axis=1)
        wanted = np.delete(expected.y.astype(int) - before, np.s_[x0:x1], axis=1)[: len(step)]
        assert np.corrcoef(step.ravel(), wanted.ravel())[0, 1] > 0.8
    assert planes.state().keys() == rgb.state().keys()
    given.is_for_encoder = True  # then nobody needs it as it was: it saves a copy
    assert planes.label_frame(given, 1.0) is given and (given.y != before).any()
