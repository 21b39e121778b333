"""Each metric of pictures sees the fault it is for, and not the others."""

import cv2
import numpy as np
import pytest

from heygem.evaluation import image_metrics
from heygem.face import topology as topo


@pytest.fixture
def skin():
    """A noisy, shaded patch like a lower face: uint8 [120, 160, 3]."""
    rng = np.random.default_rng(0)
    base = np.linspace(120, 190, 160)[None, :, None] + np.array([30, 0, -20])
    return np.clip(base + rng.normal(0, 6, (120, 160, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def mask():
    hard = np.zeros((120, 160), np.float32)
    hard[30:90, 40:120] = 1
    soft = cv2.GaussianBlur(hard, (0, 0), 4)
    soft[soft < 1e-3] = 0
    return soft


def test_sharpness_ratio_sees_a_blur(skin):
    assert image_metrics.sharpness_ratio(skin, skin) == pytest.approx(1)
    assert image_metrics.sharpness_ratio(cv2.GaussianBlur(skin, (0, 0), 1.0), skin) < 0.5


def test_seam_sees_an_edge_and_a_wrong_colour(skin, mask):
    clean = image_metrics.seam(skin, skin, mask)
    assert clean.gradient == pytest.approx(1) and clean.delta_e == 0
    pasted = skin.copy()
    pasted[mask > 0.3] = np.clip(skin[mask > 0.3].astype(int) + 40, 0, 255)
    bad = image_metrics.seam(pasted, skin, mask)
    assert bad.gradient > 1.2 and bad.delta_e > 3


def test_the_edge_band_is_around_the_edge_of_the_mask_and_not_of_the_picture(skin):
    hard = np.zeros((120, 160), np.float32)
    hard[30:, 40:120] = 1  # runs into the border of the picture, which is no edge of the mask
    band = image_metrics.edge_band(hard)
    assert band[60, 40] and band[60, 38] and not band[60, 80] and not band[119, 80]


def test_flicker_sees_a_texture_that_jumps_but_not_one_that_moves(skin):
    box = image_metrics.Box(20, 20, 100, 100)

    def flicker(rendered, source):
        meter = image_metrics.Flicker(box)
        for a, b in zip(rendered, source, strict=True):
            meter.add(a, b)
        return meter.ratio

    rng = np.random.default_rng(1)
    source = [
        np.clip(skin + rng.normal(0, 1, skin.shape), 0, 255).astype(np.uint8) for _ in "12345678"
    ]
    jumping = [
        np.clip(f.astype(int) + 6 * (i % 2), 0, 255).astype(np.uint8) for i, f in enumerate(source)
    ]
    brighter = [
        np.clip(f.astype(int) + 2 * i, 0, 255).astype(np.uint8) for i, f in enumerate(source)
    ]
    assert flicker(source, source) == pytest.approx(1)
    assert flicker(jumping, source) > 3
    assert flicker(brighter, source) == pytest.approx(1, abs=0.1)


def test_one_changed_pixel_outside_the_mask_is_counted(skin, mask):
    rendered = skin.copy()
    rendered[40:80, 50:100] = 0  # inside: allowed
    assert image_metrics.changed_outside(rendered, skin, mask) == 0
    rendered[2, 3, 1] ^= 1
    assert image_metrics.changed_outside(rendered, skin, mask) == 1


def test_psnr_and_ssim_of_equal_and_noisy_pictures(skin):
    assert image_metrics.psnr_db(skin, skin) == float("inf")
    assert image_metrics.ssim(skin, skin) == pytest.approx(1)
    off = np.clip(skin.astype(int) + 10, 0, 255).astype(np.uint8)
    assert image_metrics.psnr_db(off, skin) == pytest.approx(28.1, abs=0.1)


def test_mouth_box_holds_the_lips_and_stays_in_the_picture():
    points = np.zeros((468, 3), np.float32)
    points[:, 0], points[:, 1] = 50, 90
    points[topo.LIPS_OUTER[0], 0], points[topo.LIPS_OUTER[10], 0] = 20, 80
    box = image_metrics.mouth_box(points, 85, 100)
    assert (box.x0, box.x1) == (0, 85) and box.y1 == 100 and box.y0 < 90


def test_the_crop_of_a_box_is_its_pixels():
    image = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3)
    assert np.array_equal(image_metrics.Box(2, 3, 5, 9).crop(image), image[3:9, 2:5])


def test_gradient_of_a_ramp_is_constant_and_of_a_plane_zero():
    ramp = np.repeat(np.arange(0, 80, 2, dtype=np.uint8)[None, :, None], 30, 0).repeat(3, 2)
    # Sobel's kernel weighs a step of 2 per pixel by 8.
    assert np.allclose(image_metrics.gradient(ramp)[5:-5, 5:-5], 16)
    assert not image_metrics.gradient(np.full((30, 40, 3), 9, np.uint8)).any()


def test_sharpness_of_a_checkerboard():
    board = (np.indices((20, 20)).sum(0) % 2 * 10).astype(np.uint8)[..., None].repeat(3, 2)
    # Four neighbours differ by 10 each; the border is reflected.
    assert image_metrics.sharpness(board) == pytest.approx(40)


def test_the_lip_ring_surrounds_the_lips_at_the_known_distance():
    points = np.zeros((468, 3), np.float32)
    angle = np.linspace(0, 2 * np.pi, len(topo.LIPS_OUTER), endpoint=False)
    points[topo.LIPS_OUTER, 0] = 150 + 40 * np.cos(angle)
    points[topo.LIPS_OUTER, 1] = 130 + 40 * np.sin(angle)
    ring = image_metrics.lip_ring(points, 100, (160, 200), (50, 40))  # 3 to 20 px from the lips
    y, x = np.nonzero(ring)
    distance = np.hypot(x + 50 - 150, y + 40 - 130) - 40
    assert ring[90, 100 + 50] and not ring[90, 100]
    assert 1 < distance.min() < 4 and 18 < distance.max() < 22
    assert not image_metrics.lip_ring(points, 100, (50, 50), (300, 300)).any()
