"""A long item continues after its last whole segment, and the result is that of one go."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.home import home_with_models
from helpers.labelled import make_frame
from helpers.media import synthetic_voice, write_wav

from heygem import pipeline
from heygem.config.params import LabelSettings, Params
from heygem.core.errors import Cancelled, OutputError
from heygem.core.interrupts import StopEvent
from heygem.pipeline import segments
from heygem.provenance import keys as key_store
from heygem.provenance.binding import hash_content
from heygem.provenance.labeller import Labeller
from heygem.provenance.ledger import Ledger
from heygem.provenance.torch_label import TorchLabels
from heygem.provenance.verify import COMPLIANT, verify_file

SEGMENT_S = 0.7  # 18, 17 and 15 of 50 frames
QUICK = {"media": {"crf": 30, "preset": "ultrafast"}, "device": "cpu"}


@pytest.fixture(scope="module")
def models():
    return pipeline.Models(Params.from_dict(QUICK))


@pytest.fixture
def studio(talking, models, tmp_path, monkeypatch):
    """A person, a sound of 2 s and an installation; `make` makes a result."""
    home = home_with_models(tmp_path / "home")
    monkeypatch.setenv("HEYGEM_HOME", str(home))
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))
    keys = key_store.ensure()
    ledger = Ledger(keys=keys)
    sound = write_wav(tmp_path / "voice.wav", synthetic_voice(2.0))
    folder = tmp_path / "out"
    folder.mkdir()
    rendered: list[int] = []

    def make(name="a.mp4", *, segment_s=SEGMENT_S, stop_at=None, cancel_at=None, **more):
        rendered.clear()

        def progress(stage, done, total):
            if stage == "render" and done < total:
                rendered.append(done)
                if done == stop_at:
                    raise RuntimeError("power cut")
                if done == cancel_at:
                    more["cancel"].set()

        settings = Params.from_dict(QUICK | more.pop("settings", {}))
        return pipeline.generate(
            talking[0], sound, folder / name, settings, models=models, progress=progress,
            segment_s=segment_s, **more,
        )  # fmt: skip

    return SimpleNamespace(
        make=make, folder=folder, keys=keys, ledger=ledger, sound=sound, rendered=rendered,
        video=talking[0],
    )  # fmt: skip


def work_of(studio, name="a.mp4") -> Path:
    return segments.work_folder(studio.folder / name)


def records_in(work) -> list[str]:
    return sorted(path.name for path in work.glob("0*.json"))


@pytest.fixture
def same_run(monkeypatch):
    """Gives later runs the content number and watermark id of a result."""

    def set_to(manifest):
        label = manifest["label"]
        number = SimpleNamespace(hex=label["produce_id"])
        monkeypatch.setattr("heygem.provenance.labeller.uuid.uuid4", lambda: number)
        watermark_id = int(label["watermark_id"], 16)
        monkeypatch.setattr("heygem.provenance.labeller.new_id", lambda: watermark_id)

    return set_to


KILLED = """
import os, signal, sys
from heygem import pipeline
from heygem.config.params import Params
video, sound, out = sys.argv[1:]
def progress(stage, done, total):
    if stage == "render" and done == 40:
        os.kill(os.getpid(), signal.SIGKILL)
pipeline.generate(video, sound, out, Params.from_dict(%r), progress=progress, segment_s=%r)
"""


@pytest.mark.slow
def test_a_film_labelled_on_a_device_goes_on_and_verifies(studio, models, monkeypatch):
    """With PyTorch's CPU in place of a GPU, whose batches do not end where segments do."""
    labelled = []
    label = TorchLabels.label

    def watched(self, images, times_s):
        labelled.append(len(images))
        label(self, images, times_s)

    monkeypatch.setattr(models, "device", "cpu:0")
    monkeypatch.setattr(TorchLabels, "label", watched)
    with pytest.raises(RuntimeError, match="power cut"):
        studio.make(stop_at=20)
    assert labelled == [6, 6, 6]
    result = studio.make()
    assert labelled[3:] == [6, 6, 5, 6, 6, 3] and result.frames == 50
    assert "1 of 3 segments are of an interrupted run" in result.manifest["notes"]
    known_ids = studio.ledger.watermark_ids()
    layers = verify_file(result.path, keys=studio.keys, known_ids=known_ids, search=False).layers
    assert {layer.verdict for layer in layers.values()} == {COMPLIANT}


@pytest.mark.fault
@pytest.mark.slow
def test_a_killed_run_goes_on_after_its_last_whole_segment(studio, same_run):
    out = studio.folder / "a.mp4"
    command = [sys.executable, "-c", KILLED % (QUICK, SEGMENT_S)]
    done = subprocess.run([*command, studio.video, studio.sound, out], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL and not out.exists()
    work = work_of(studio)
    assert records_in(work) == ["00000.json", "00001.json"]
    assert work.stat().st_mode & 0o777 == 0o700
    (killed,) = studio.ledger.unfinished()

    result = studio.make()
    assert studio.rendered == list(range(35, 50))
    assert "2 of 3 segments are of an interrupted run" in result.manifest["notes"]
    assert result.frames == 50 and not work.exists()
    assert sorted(path.name for path in studio.folder.iterdir()) == ["a.mp4"]
    check_succession(studio, killed, result)

    same_run(result.manifest)
    studio.make("uninterrupted.mp4")
    assert studio.rendered == list(range(50))
    # Picture and sound are equal packet by packet, so the decoded frames are, and the labels.
    assert hash_content(out) == hash_content(studio.folder / "uninterrupted.mp4")
    first, second = (row.body["fingerprint"] for row in studio.ledger.entries(kind="made"))
    assert first == second
    layers = verify_file(out, keys=studio.keys, known_ids=studio.ledger.watermark_ids()).layers
    verdicts = {name: layer.verdict for name, layer in layers.items()}
    assert {verdicts[name] for name in ("visible", "metadata", "c2pa")} == {"compliant"}


def check_succession(studio, killed, result):
    """The run that continues has the number of the killed one, names its row, and ends it."""
    label = result.manifest["label"]
    assert label["produce_id"] == killed.subject and label["watermark_id"] == killed.watermark_id
    assert studio.ledger.unfinished() == [] and studio.ledger.verify() == []
    first, second = studio.ledger.entries(kind="begun")
    assert first.number == killed.number and second.body["goes_on_with"] == killed.number
    (ended,) = studio.ledger.entries(kind="abandoned")
    assert ended.body["begun"] == killed.number
    assert f"row {second.number} continues it" in ended.body["reason"]
    (made,) = studio.ledger.entries(kind="made")
    assert made.body["begun"] == second.number


@pytest.mark.fault
@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["00000.mp4", "00000.npz"])
def test_a_damaged_segment_is_made_again_and_the_others_are_used(studio, same_run, damaged):
    with pytest.raises(RuntimeError, match="power cut"):
        studio.make(stop_at=40)
    path = work_of(studio) / damaged
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    result = studio.make()
    assert studio.rendered == [*range(18), *range(35, 50)]
    same_run(result.manifest)
    studio.make("uninterrupted.mp4")
    assert hash_content(studio.folder / "a.mp4") == hash_content(
        studio.folder / "uninterrupted.mp4"
    )


@pytest.mark.slow
def test_segments_of_other_settings_are_not_used(studio):
    with pytest.raises(RuntimeError, match="power cut"):
        studio.make(stop_at=40)
    (begun,) = studio.ledger.entries(kind="begun")
    result = studio.make(settings={"lips": {"openness_gain": 1.3}})
    assert studio.rendered == list(range(50))
    assert result.manifest["label"]["produce_id"] != begun.subject


@pytest.mark.slow
def test_a_short_item_and_one_in_segments_have_the_same_frames_and_labels(studio, same_run):
    result = studio.make()
    same_run(result.manifest)
    studio.make("short.mp4", segment_s=60.0)
    first, second = (row.body["fingerprint"] for row in studio.ledger.entries(kind="made"))
    assert first == second  # of the labelled frames before encoding


@pytest.mark.slow
@pytest.mark.parametrize("is_kept", [False, True])
def test_work_that_is_given_up_is_removed_and_work_that_goes_on_later_is_kept(studio, is_kept):
    cancel = StopEvent() if is_kept else threading.Event()
    cancel.keeps_work = is_kept
    with pytest.raises(Cancelled):
        studio.make(cancel=cancel, cancel_at=40)
    assert work_of(studio).exists() == is_kept
    assert studio.ledger.unfinished() == []


def test_the_same_result_is_not_made_twice_at_once(tmp_path):
    with (
        segments.segment_store(tmp_path / "a.mp4", "x"),
        pytest.raises(OutputError, match=r"a\.mp4 is being made by another process"),
        segments.segment_store(tmp_path / "a.mp4", "x"),
    ):
        pass


def test_a_short_item_has_no_segments_and_its_identity_is_not_computed(tmp_path):
    def identity():
        raise AssertionError("hashes of inputs and versions of libraries are not needed")

    spans = [segments.Span(0, 0, 50)]
    with segments.item_segments(tmp_path / "a.mp4", identity, spans) as store:
        assert store is None


def test_stale_segments_are_removed_and_those_in_use_are_not(tmp_path):
    later_s = time.time() + segments.RETENTION_S + 60
    with segments.segment_store(tmp_path / "a.mp4", "x") as store:
        store.begin(segments.Run("0" * 32, 5))
        assert segments.remove_stale_segments(tmp_path, now_s=later_s) == []
    assert segments.remove_stale_segments(tmp_path) == []
    assert segments.remove_stale_segments(tmp_path, now_s=later_s) == [store.folder]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [25, 30000 / 1001])
def test_a_film_is_cut_at_whole_frames(rate):
    times_s = np.arange(1000) / rate
    spans = segments.plan_segments(times_s, segment_s=7.0, whole_s=14.0)
    assert [span.index for span in spans] == list(range(len(spans)))
    assert spans[0].first == 0 and spans[-1].stop == 1000
    assert all(a.stop == b.first for a, b in zip(spans, spans[1:], strict=False))
    assert all(span.stop > span.first for span in spans)
    assert len(segments.plan_segments(times_s[:300], segment_s=7.0, whole_s=14.0)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 13, 20, 47])  # also inside a period of the watermark
def test_labels_go_on_where_they_were(tmp_path, cut, monkeypatch):
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path))
    keys = key_store.ensure()
    run = ("0" * 32, 123456789)
    images = [make_frame(k) for k in range(60)]

    def labeller():
        height, width = images[0].shape[:2]
        return Labeller(LabelSettings(), width, height, keys=keys, continues=run)

    whole, first, second = labeller(), labeller(), labeller()
    expected = [whole.label_frame(image, k / 25) for k, image in enumerate(images)]
    got = [first.label_frame(images[k], k / 25) for k in range(cut)]
    second.restore(first.state())
    got += [second.label_frame(images[k], k / 25) for k in range(cut, 60)]
    assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))
    assert segments.state_hash(whole.state()) == segments.state_hash(second.state())
