"""The visible label."""

import numpy as np
import pytest
from PIL import Image

from heygem.config.params import LabelSettings
from heygem.core.errors import AssetError, ParameterError
from heygem.provenance import VisibleLabel


def random_frame(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(60, 200, (height, width, 3)).astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (360, 288), (3840, 2160), (512, 512)])
def test_words_are_high_enough_and_other_pixels_unchanged(size):
    image = random_frame(*size)
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


def test_the_input_frame_is_not_modified():
    image = random_frame(640, 360)
    before = image.copy()
    VisibleLabel(LabelSettings(), 640, 360).draw(image)
    assert (image == before).all()


def test_the_label_avoids_every_face_box():
    boxes = [(0, 0, 500, 500), (200, 0, 640, 500)]
    label = VisibleLabel(LabelSettings(corner="top-left"), 1280, 720, keep_clear=boxes)
    x0, y0, x1, y1 = label.box
    assert x0 >= 640 or y0 >= 500
    assert any("moved" in note for note in label.notes)


def test_a_face_that_fills_the_frame_is_noted():
    label = VisibleLabel(LabelSettings(), 640, 360, keep_clear=[(0, 0, 640, 360)])
    assert label.box is not None
    assert any("covers part of the face" in note for note in label.notes)


def test_in_a_narrow_place_the_label_has_two_lines():
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


def test_the_logo_is_drawn_beside_the_text(tmp_path):
    Image.new("RGB", (40, 40), (255, 0, 0)).save(tmp_path / "logo.png")
    plain = VisibleLabel(LabelSettings(), 1280, 720)
    with_logo = VisibleLabel(LabelSettings(logo=str(tmp_path / "logo.png")), 1280, 720)
    assert with_logo.box[2] - with_logo.box[0] > plain.box[2] - plain.box[0]
    out = with_logo.draw(np.zeros((720, 1280, 3), np.uint8))
    assert (out[..., 0].astype(int) - out[..., 1] > 150).sum() > 500


def test_only_a_named_requester_can_switch_it_off():
    with pytest.raises(ValueError):
        LabelSettings(visible=False)
    settings = LabelSettings(visible=False, requester="newsroom", reason="contract 12")
    label = VisibleLabel(settings, 640, 360)
    image = random_frame(640, 360)
    assert label.box is None and (label.draw(image) == image).all()
    assert "newsroom" in label.notes[0] and "contract 12" in label.notes[0]
