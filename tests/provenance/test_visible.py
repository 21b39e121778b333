"""The visible label."""

import numpy as np
import pytest
from PIL import Image

from heygem.config.params import BILINGUAL_LABEL, LabelSettings
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
    (note,) = label.notes
    assert "covers part of the face box, 1% at most" in note
    assert label.box[3] < 180  # not over the half with the mouth


@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (1920, 1080), (512, 512), (360, 640)])
def test_the_default_plate_is_small(size):
    """At the lawful height of the letters; the earlier text took 72 % of a square picture."""
    label = VisibleLabel(LabelSettings(), *size)
    x0, y0, x1, y1 = label.box
    assert label.text_height_px >= 0.05 * min(size)
    assert x1 - x0 <= 0.25 * min(size)
    assert (x1 - x0) * (y1 - y0) <= 0.025 * size[0] * size[1]


def test_where_faces_fill_the_corners_the_label_stands_at_an_edge():
    corners = [(0, 0, 250, 300), (390, 0, 640, 300), (0, 250, 250, 360), (390, 250, 640, 360)]
    label = VisibleLabel(LabelSettings(), 640, 360, keep_clear=corners)
    x0, _, x1, _ = label.box
    assert (
        x0 >= 250
        and x1 <= 390
        and label.notes == ["visible label moved to the top edge, clear of the face"]
    )


def test_a_face_that_crosses_the_frame_leaves_the_corners_it_never_reaches():
    path = [(100 * k, 60 * k, 100 * k + 160, 60 * k + 120) for k in range(5)]  # to bottom right
    label = VisibleLabel(LabelSettings(), 640, 360, keep_clear=path)
    x0, y0, x1, y1 = label.box
    assert not any(x0 < b[2] and b[0] < x1 and y0 < b[3] and b[1] < y1 for b in path)
    assert label.notes == ["visible label moved to top-right, clear of the face"]


def test_a_label_of_two_seconds_ends_and_says_which_law_that_does_not_meet():
    label = VisibleLabel(LabelSettings(seconds=2), 640, 360)
    image = random_frame(640, 360)
    assert (label.draw(image, 0.0) != image).any() and (label.draw(image, 2.0) != image).any()
    assert (label.draw(image, 2.04) == image).all()
    assert "AI Act, art. 50" in label.notes[0] and "Deep Synthesis" in label.notes[0]


def test_in_a_narrow_place_the_label_has_two_lines():
    settings = LabelSettings(text=BILINGUAL_LABEL)
    label = VisibleLabel(settings, 640, 360, keep_clear=[(210, 0, 640, 360)])
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
    settings = LabelSettings(
        visible=False, requester="newsroom", approver="counsel", reason="contract 12"
    )
    label = VisibleLabel(settings, 640, 360)
    image = random_frame(640, 360)
    assert label.box is None and (label.draw(image) == image).all()
    assert all(word in label.notes[0] for word in ("newsroom", "counsel", "contract 12"))
