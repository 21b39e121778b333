"""A drawn mouth looks like one: dark where lips part, teeth above, tongue below, in any light."""

import numpy as np
import pytest

from heygem.core.errors import ParameterError
from heygem.rendering.warp import synthetic_interior

SKIN, LIP = (205, 165, 145), (180, 110, 105)


def _draw(width=200, height=104, **changes):
    colours = {"skin_rgb": SKIN, "lip_rgb": LIP} | changes
    return synthetic_interior.draw(width, height, **colours)


def _grey(image):
    return image.astype(float).mean(-1)


@pytest.mark.parametrize("size", [(10, 5), (24, 12), (80, 40), (400, 200), (700, 360)])
@pytest.mark.slow
def test_right_size_and_kind_at_every_opening(size):
    image = _draw(*size)
    assert image.shape == (size[1], size[0], 3) and image.dtype == np.uint8
    assert _grey(image).max() > _grey(image).min() + 30


def test_slightly_open_lips_show_a_dark_line():
    grey = _grey(_draw())
    assert grey[:3].max() < 60, "white right under the lip"
    assert grey[12:20, 80:120].mean() > 3 * grey[:3].mean(), "no teeth below the shadow"


def test_darkness_is_warm_and_lighter_than_nothing():
    image = _draw().reshape(-1, 3).astype(int)
    dark = image[image.sum(1) < 90]
    assert len(dark) and (dark[:, 0] >= dark[:, 2]).all()


def test_teeth_fall_into_shadow_towards_the_corners():
    row = _grey(_draw())[14]
    assert row[85:115].mean() > 1.4 * row[35:45].mean() > 1.4 * row[:6].mean()


def test_same_picture_on_both_sides():
    image = _draw().astype(int)
    assert np.abs(image - image[:, ::-1]).max() <= 2


def test_light_of_the_scene():
    """A dim picture gets dim teeth, a reddish one reddish teeth."""
    teeth = (slice(14, 19), slice(85, 115))
    bright, dim = _draw()[teeth], _draw(skin_rgb=(80, 64, 56), lip_rgb=(70, 40, 38))[teeth]
    assert _grey(dim).mean() < 0.65 * _grey(bright).mean()
    red = _draw(skin_rgb=(230, 120, 90))[teeth].astype(float).mean((0, 1))
    plain = bright.astype(float).mean((0, 1))
    assert red[0] / red[2] > 1.2 * plain[0] / plain[2]


def test_dark_skin_does_not_mean_grey_teeth():
    skin = np.array([105, 72, 56])
    teeth = _draw(skin_rgb=skin, lip_rgb=(110, 65, 60), lip_shadow=False)[12:18, 85:115]
    assert teeth.reshape(-1, 3).mean(0).mean() > 1.4 * skin.mean()


def test_teeth_and_tongue_can_be_left_out():
    assert _grey(_draw(teeth=0))[10:30].max() < 60
    assert _grey(_draw(tongue=0))[70:88, 90:110].mean() < 0.6 * _grey(_draw())[70:88, 90:110].mean()


def test_blur_softens():
    sharp, soft = (np.abs(np.diff(_grey(_draw(blur_px=b)), axis=1)).mean() for b in (0, 3))
    assert soft < 0.7 * sharp


def test_same_drawing_at_every_size():
    large, small = _draw(400, 208), _draw(50, 26)
    shrunk = large.reshape(26, 8, 50, 8, 3).astype(float).mean((1, 3))
    assert np.abs(shrunk - small).mean() < 3


def test_closing_lips_cover_the_teeth_instead_of_squeezing_them():
    """Half shut, the same tooth still has its height: the row just ends at the lower lip."""
    texture = _draw(200, 104, lip_shadow=False)
    y = np.arange(60)[:, None] / 104
    x = np.full((1, 1), 0.47)
    wide = synthetic_interior.fill(texture, x, y, 1.0 - y, below_upper=y, lip_rgb=LIP)
    half = synthetic_interior.fill(
        texture, x, y[:20], 20 / 104 - y[:20], below_upper=y[:20], lip_rgb=LIP
    )
    assert half.shape == (20, 1, 3)
    assert np.allclose(wide[:12], half[:12], atol=1)
    assert wide[0].mean() < 0.35 * wide[18].mean(), "no shadow under the lip"


def test_a_large_drawing_does_not_flicker_when_shown_small():
    """A mouth 40 pixels wide that moves by eighths of a pixel: no pixel of its teeth may jump."""
    texture = _draw(512, 266, lip_shadow=False)
    y = np.full((1, 1), 0.17)
    rows = []
    for shift_px in np.linspace(0, 1, 9):
        x = (np.arange(40)[None] + 0.5 + shift_px) / 40
        texels = synthetic_interior.fill(texture, x, y, 1 - y, below_upper=y, lip_rgb=LIP)
        rows.append(texels[0, 8:-8].mean(-1))
    assert np.abs(np.diff(rows, axis=0)).max() < 15


@pytest.mark.parametrize(
    "bad", [{"width": 0}, {"height": 1}, {"teeth": 1.5}, {"tongue": -1}, {"blur_px": -1}]
)
def test_impossible_wishes_are_named(bad):
    with pytest.raises(ParameterError, match="interior") as caught:
        _draw(**bad)
    assert caught.value.remedy
