"""Labels that were copied to a film which the installation never made.

The forger here is the strongest one: the invisible watermark is not estimated from a result but
written with the installation's secret, so that it certainly decodes.
"""

import numpy as np
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

from heygem.batch import notebooks
from heygem.config.params import LabelSettings
from heygem.core.files import hash_input
from heygem.provenance import VisibleLabel, binding, containers, trace
from heygem.provenance.aigc import parse_label
from heygem.provenance.labeller import Labeller
from heygem.provenance.watermark.embed import WatermarkEmbedder

pytestmark = [pytest.mark.fault, pytest.mark.slow]

STRANGER = 5  # seed of a film that was never made here


def forge(installation, path, *, frames, sound, watermark_id=None):
    """Paste watermark, visible label and metadata of the installation's result onto a film."""
    secret = installation.keys.watermark_secret
    watermark_id = watermark_id or installation.labeller.watermark_id
    embedder = WatermarkEmbedder(secret, watermark_id, WIDTH, HEIGHT)
    visible = VisibleLabel(LabelSettings(), WIDTH, HEIGHT)
    pasted = [visible.draw(embedder.embed(i, k / RATE)) for k, i in enumerate(frames)]
    film = write_clip(path.with_suffix(".film.mp4"), pasted, sound=sound)
    return remux(path, tags_of=installation.result, packets_of=[film])


@pytest.fixture(scope="module")
def stranger(installation):
    return [make_frame(k, STRANGER) for k in range(len(installation.frames))]


def test_every_label_copied_to_another_film_proves_nothing(
    installation, command, stranger, tmp_path
):
    forged = forge(installation, tmp_path / "a.mp4", frames=stranger, sound=make_audio(STRANGER))
    traced = trace_in(installation, forged)
    layers = traced.verification.layers
    assert (
        layers["watermark"].values["watermark_id"] == f"{installation.labeller.watermark_id:016x}"
    )
    assert layers["metadata"].values["signed_by_us"] is True
    assert layers["metadata"].values["bound"] is False
    assert traced.conclusion == trace.NOT_THIS_RUN and traced.origin is None
    assert [each.claims for each in traced.others] == [["metadata", "watermark"]]
    output = command("verify", forged)
    assert output.exit_code == 1 and trace.NOT_THIS_RUN in output.stdout


def test_a_result_of_the_earlier_version_cannot_be_copied_either(installation, stranger, tmp_path):
    """Its signature covers no content: it used to be enough."""
    film = write_clip(tmp_path / "film.mp4", stranger, sound=make_audio(STRANGER))
    tag = containers.read_tags(installation.result)[0]
    parsed, _ = parse_label(tag)
    unbound = tag.replace(parsed.ReservedCode1, installation.keys.sign(parsed.signed_bytes))
    tagged = write_clip(tmp_path / "tagged.mp4", stranger[:5], tags={"AIGC": unbound})
    forged = remux(tmp_path / "forged.mp4", tags_of=tagged, packets_of=[film])
    traced = trace_in(installation, forged)
    assert traced.verification.layers["metadata"].values["signed_by_us"] is True
    assert "without binding" in traced.verification.layers["metadata"].findings[0]
    assert traced.conclusion == trace.NOT_THIS_RUN and traced.verdict == "noncompliant"


def test_copied_metadata_on_a_silent_film_proves_nothing(installation, stranger, tmp_path):
    film = write_clip(tmp_path / "film.mp4", stranger)
    forged = remux(tmp_path / "a.mp4", tags_of=installation.result, packets_of=[film])
    traced = trace_in(installation, forged)
    assert traced.others[0].similarity.sound == "absent"
    assert traced.conclusion == trace.NOT_THIS_RUN and traced.verdict == "noncompliant"


def test_the_picture_of_a_run_with_other_sound_is_called_that(installation, tmp_path):
    forged = forge(
        installation, tmp_path / "a.mp4", frames=installation.frames, sound=make_audio(STRANGER)
    )
    traced = trace_in(installation, forged)
    assert traced.conclusion == trace.PARTLY and traced.verdict == "noncompliant"
    assert traced.origin.similarity.picture == "same"
    assert traced.origin.similarity.sound == "different"


def test_the_sound_of_a_run_on_another_picture_is_called_that(installation, stranger, tmp_path):
    forged = forge(installation, tmp_path / "a.mp4", frames=stranger, sound=installation.audio)
    traced = trace_in(installation, forged)
    assert traced.conclusion == trace.PARTLY
    assert traced.origin.similarity.picture == "different"
    assert traced.origin.similarity.sound == "same"


def test_runs_that_contradict_each_other_are_all_listed(installation, tmp_path):
    """The metadata is of one run, the watermark of a second, the content of a third."""
    results = []
    for seed in (7, 8):
        frames = [make_frame(k, seed) for k in range(len(installation.frames))]
        labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=installation.keys)
        images = [labeller.label_frame(i, k / RATE) for k, i in enumerate(frames)]
        sound = make_audio(seed)
        path = write_clip(tmp_path / f"{seed}.mp4", images, tags=labeller.tags, sound=sound)
        manifest = labeller.finalize(
            path, ledger=installation.ledger, parent=installation.source,
            sound=(sound[:, 0], 16000),
        )  # fmt: skip
        results.append((manifest["ledger_row"], labeller, frames, sound))
    (second, marked, _, _), (third, _, frames, sound) = results
    forged = forge(
        installation,
        tmp_path / "a.mp4",
        frames=frames,
        sound=sound,
        watermark_id=marked.watermark_id,
    )
    (first,) = [
        row.number for row in installation.ledger.entries(subject=hash_input(installation.result))
    ]
    traced = trace_in(installation, forged)
    assert traced.conclusion == trace.NOT_THIS_RUN and traced.verdict == "noncompliant"
    assert traced.origin.entry.number == third
    assert len(traced.conflicts) == 2
    assert f"metadata names the run of row {first}" in " ".join(traced.conflicts)
    assert f"watermark names the run of row {second}" in " ".join(traced.conflicts)


def test_a_label_signed_here_without_a_row_is_a_fault(installation, command, tmp_path, stranger):
    labeller = Labeller(LabelSettings(), WIDTH, HEIGHT, keys=installation.keys)
    images = [labeller.label_frame(i, k / RATE) for k, i in enumerate(stranger)]
    path = write_clip(tmp_path / "a.mp4", images, tags=labeller.tags, sound=make_audio(STRANGER))
    binding.bind(path, labeller.tags["AIGC"], installation.keys)  # and no row
    traced = trace_in(installation, path)
    assert traced.conclusion == trace.UNRECORDED
    assert command("verify", path).exit_code == 1


def test_a_copy_with_its_labels_cut_away_is_known_to_the_ledger(installation, tmp_path):
    """Encoded anew from the pictures without any label, cropped by 5 % on each side."""
    cropped = [np.ascontiguousarray(i[14:258, 24:456]) for i in installation.frames]
    copy = write_clip(tmp_path / "copy.mp4", cropped, sound=installation.audio, crf=28)
    traced = trace_in(installation, copy)
    assert traced.conclusion == trace.CHANGED_COPY and traced.certainty == trace.PROBABLE
    assert traced.verdict == "noncompliant"
    assert any("visible label was not recognised" in reason for reason in traced.reasons)


def test_a_film_that_contains_a_result_is_not_a_copy_of_it(installation, stranger, tmp_path):
    """The result, and then three times as much of something else."""
    frames = [*installation.labelled, *stranger, *stranger, *stranger]
    sound = np.concatenate([installation.audio, *[make_audio(STRANGER + k) for k in range(3)]])
    film = write_clip(tmp_path / "film.mp4", frames, sound=sound)
    forged = remux(tmp_path / "a.mp4", tags_of=installation.result, packets_of=[film])
    traced = trace_in(installation, forged, search=False)
    assert traced.conclusion == trace.PARTLY and traced.verdict == "noncompliant"
    assert "it lasts 12 s, of which that result is 3 s" in " ".join(traced.reasons)


def test_a_watermark_estimated_from_one_published_file_proves_nothing(monkeypatch):
    """As `benchmarks/forgery.py` does it, without any secret, on the samples."""
    folder = notebooks.root()
    monkeypatch.syspath_prepend(folder / "benchmarks")
    import forgery

    monkeypatch.setattr(forgery, "STRENGTHS_DB", (46,))
    monkeypatch.setattr(forgery, "WAYS", ("slot by slot",))
    monkeypatch.setattr(forgery, "SECONDS", 3.0)
    (forged,) = forgery.run(folder / "samples/hopper.mp4", [folder / "samples/collins.mp4"])
    assert forged.conclusion == trace.NOT_THIS_RUN and forged.verdict == "noncompliant"
