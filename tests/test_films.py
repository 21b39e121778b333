"""No unlabelled film by any way: one writer, which takes a label and has no default for it."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

import heygem
from heygem.config.params import LabelSettings
from heygem.core.errors import ParameterError
from heygem.media import FrameLabel, RecordedFrames, VideoReader, VideoWriter
from heygem.provenance import containers, keys
from heygem.provenance.labeller import Labeller

PACKAGE = Path(heygem.__file__).parent
#: Who may state that frames are recorded, not AI-made: they copy a recording.
COPIERS = {"studio/preview_films.py", "evaluation/split.py", "evaluation/clips.py"}


def calls():
    """(module, name of the called function, its call) of the whole package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield module, ast.unparse(node.func), node


@pytest.mark.slow
def test_one_module_writes_films():
    writers, adders = set(), set()
    for module, name, node in calls():
        opens_for_writing = name == "av.open" and any(
            isinstance(a, ast.Constant) and str(a.value)[:1] in ("w", "a")
            for a in (*node.args[1:2], *(k.value for k in node.keywords if k.arg == "mode"))
        )
        if opens_for_writing or name.endswith(("cv2.VideoWriter", ".mimsave")):
            writers.add(module)
        if name.endswith(".add_stream"):
            adders.add(module)
    assert writers == {"media/writer.py"}
    assert adders == {"media/writer.py", "media/aac.py"}  # the sound, for a film of the writer


def test_a_film_cannot_be_written_without_a_label(tmp_path):
    parameters = inspect.signature(VideoWriter).parameters
    assert parameters["label"].default is inspect.Parameter.empty
    with pytest.raises(TypeError, match="label"):
        VideoWriter(tmp_path / "o.mp4", width=64, height=48, rate=25)
    with pytest.raises(ParameterError, match="has no label"):
        VideoWriter(tmp_path / "o.mp4", label=None, width=64, height=48, rate=25)
    assert list(tmp_path.iterdir()) == []


def test_the_labeller_is_a_label(tmp_path):
    labeller = Labeller(LabelSettings(), 64, 48, keys=keys.init(tmp_path / "keys"))
    assert isinstance(labeller, FrameLabel) and labeller.tags["AIGC"]


@pytest.mark.slow
def test_only_copies_of_recordings_state_that_nothing_is_ai_made():
    stated = {module for module, name, _ in calls() if name.endswith("RecordedFrames")}
    assert stated == {"provenance/containers.py"}
    copied = {module for module, name, _ in calls() if name.endswith("containers.recorded")}
    assert copied == COPIERS


def test_the_writer_labels_every_frame_itself(tmp_path):
    class Inverted:
        tags = {"AIGC": "{}"}

        def label_frame(self, image, time_s):
            return 255 - image

    black = np.zeros((48, 64, 3), np.uint8)
    with VideoWriter(tmp_path / "o.mp4", label=Inverted(), width=64, height=48, rate=25) as writer:
        for k in range(5):
            writer.write(black, k / 25)
    with VideoReader(tmp_path / "o.mp4") as reader:
        assert all(frame.image.min() > 250 for frame in reader)
    assert containers.read_tags(tmp_path / "o.mp4") == ["{}"]


def test_a_copy_of_a_labelled_recording_keeps_its_label(tmp_path):
    label = RecordedFrames({"AIGC": '{"Label":"1"}'})
    with VideoWriter(tmp_path / "o.mp4", label=label, width=64, height=48, rate=25) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8), 0.0)
    (tmp_path / "no.txt").write_text("no media")
    copied = containers.recorded(tmp_path / "no.txt", tmp_path / "missing", tmp_path / "o.mp4")
    assert copied.tags == label.tags
    assert containers.recorded(tmp_path / "no.txt").tags == {}
