"""The label that people see, and the one in the metadata."""

import json
import time

import numpy as np
import pytest
from PIL import Image

from heygem.config.params import LabelSettings
from heygem.core.errors import AssetError, ParameterError
from heygem.provenance import VisibleLabel, aigc_tags
from heygem.provenance.aigc import parse_label, validate_producer


def picture(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(60, 200, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (360, 288), (3840, 2160), (512, 512)])
def test_words_are_high_enough_and_nothing_else_is_touched(size):
    image = picture(*size)
    label = VisibleLabel(LabelSettings(), *size)
    out = label.draw(image)
    assert label.text_height_px >= 0.05 * min(size)
    x0, y0, x1, y1 = label.box
    changed = (out != image).any(2)
    assert changed[y0:y1, x0:x1].mean() > 0.5
    changed[y0:y1, x0:x1] = False
    assert not changed.any()


def test_the_letters_measured_in_the_drawn_picture_are_high_enough():
    image = np.full((720, 1280, 3), 90, np.uint8)
    settings = LabelSettings(text="AI生成", opacity=1.0)
    label = VisibleLabel(settings, 1280, 720)
    white = (label.draw(image) > 250).all(2)
    rows = np.flatnonzero(white.any(1))
    assert rows[-1] - rows[0] + 1 >= 0.05 * 720


def test_the_source_is_not_written_to():
    image = picture(640, 360)
    before = image.copy()
    VisibleLabel(LabelSettings(), 640, 360).draw(image)
    assert (image == before).all()


def test_label_keeps_clear_of_every_face_box():
    boxes = [(0, 0, 500, 500), (200, 0, 640, 500)]
    label = VisibleLabel(LabelSettings(corner="top-left"), 1280, 720, keep_clear=boxes)
    x0, y0, x1, y1 = label.box
    assert x0 >= 640 or y0 >= 500
    assert any("moved" in note for note in label.notes)


def test_a_face_that_fills_the_picture_is_said():
    label = VisibleLabel(LabelSettings(), 640, 360, keep_clear=[(0, 0, 640, 360)])
    assert label.box is not None
    assert any("covers part of the face" in note for note in label.notes)


def test_a_narrow_place_gets_two_lines():
    label = VisibleLabel(LabelSettings(), 640, 360, keep_clear=[(210, 0, 640, 360)])
    assert label.box[2] <= 210
    assert any("two lines" in note for note in label.notes)


def test_too_long_a_text_is_refused():
    with pytest.raises(ParameterError, match="does not fit"):
        VisibleLabel(LabelSettings(text="人工智能生成的视频内容仅供参考请注意"), 300, 400)


def test_missing_glyph_fails():
    with pytest.raises(ParameterError, match="no glyph.*龘"):
        VisibleLabel(LabelSettings(text="AI生成龘"), 640, 360)


def test_missing_font_fails():
    with pytest.raises(AssetError, match="font"):
        VisibleLabel(LabelSettings(font="no-such-font.ttf"), 640, 360)


def test_logo_stands_beside_the_text(tmp_path):
    Image.new("RGB", (40, 40), (255, 0, 0)).save(tmp_path / "logo.png")
    plain = VisibleLabel(LabelSettings(), 1280, 720)
    with_logo = VisibleLabel(LabelSettings(logo=str(tmp_path / "logo.png")), 1280, 720)
    assert with_logo.box[2] - with_logo.box[0] > plain.box[2] - plain.box[0]
    out = with_logo.draw(np.zeros((720, 1280, 3), np.uint8))
    assert (out[..., 0].astype(int) - out[..., 1] > 150).sum() > 500


def test_switched_off_only_by_somebody_who_is_named():
    with pytest.raises(ValueError):
        LabelSettings(visible=False)
    settings = LabelSettings(visible=False, requester="newsroom", reason="contract 12")
    label = VisibleLabel(settings, 640, 360)
    image = picture(640, 360)
    assert label.box is None and (label.draw(image) == image).all()
    assert "newsroom" in label.notes[0] and "contract 12" in label.notes[0]


def test_drawing_takes_under_a_millisecond_at_720p():
    label = VisibleLabel(LabelSettings(), 1280, 720)
    image = picture(1280, 720)
    spent = []
    for _ in range(15):
        start = time.perf_counter()
        label.draw(image)
        spent.append(time.perf_counter() - start)
    assert min(spent) < 1e-3


def test_metadata_has_the_seven_fields():
    tags = aigc_tags(LabelSettings(producer="studio-7"), "3f1c-20")
    data = json.loads(tags["AIGC"])
    assert list(data) == [
        "Label", "ContentProducer", "ProduceID", "ReservedCode1",
        "ContentPropagator", "PropagateID", "ReservedCode2",
    ]  # fmt: skip
    assert all(isinstance(v, str) for v in data.values())
    assert data["Label"] == "1"
    assert data["ContentPropagator"] == data["ContentProducer"] == "studio-7"
    assert data["PropagateID"] == data["ProduceID"] == "3f1c-20"
    label, problems = parse_label(tags["AIGC"])
    assert problems == [] and label.ProduceID == "3f1c-20"


def test_wrapped_form_is_read_too():
    flat = aigc_tags(LabelSettings(), "1")["AIGC"]
    label, problems = parse_label('{"AIGC":' + flat + "}")
    assert label is not None and problems == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"Label": 1}, "not text"),
        ({"Label": "7"}, "not 1, 2 or 3"),
        ({"ProduceID": ""}, "empty"),
        ({"Extra": "x"}, "unknown"),
    ],
)
def test_faulty_metadata_is_found(change, problem):
    data = json.loads(aigc_tags(LabelSettings(), "1")["AIGC"]) | change
    _, problems = parse_label(json.dumps(data))
    assert any(problem in p for p in problems)


def test_text_that_is_no_label():
    assert parse_label("{")[0] is None
    assert parse_label("[1]")[0] is None


@pytest.mark.parametrize("value", ["新闻社", "two words", 'a"b', "", "0011" + "9" * 18])
def test_bad_producers_are_refused(value):
    with pytest.raises(ParameterError):
        validate_producer(value)


def test_a_providers_code_is_checked_by_its_check_digit():
    good = "0011" + "91350100M000100Y43" + "10001"  # the example of GB 32100-2015
    assert validate_producer(good) == good
    with pytest.raises(ParameterError, match="not a valid"):
        validate_producer(good.replace("Y43", "Y44"))


def test_signature_covers_the_first_three_fields(tmp_path):
    from heygem.provenance import keys

    mine = keys.init(tmp_path / "keys")
    label, _ = parse_label(aigc_tags(LabelSettings(), "abc", keys=mine)["AIGC"])
    assert mine.verify(label.signed_bytes, label.ReservedCode1) is True
    forged, _ = parse_label(aigc_tags(LabelSettings(), "abd")["AIGC"])
    assert mine.verify(forged.signed_bytes, label.ReservedCode1) is False
    other = keys.init(tmp_path / "other")
    assert other.verify(label.signed_bytes, label.ReservedCode1) is None
