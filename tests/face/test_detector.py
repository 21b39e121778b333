"""Detection, and the regions in which meshes are fitted."""

import cv2
import numpy as np
import pytest

from heygem.face.detector import Region, crop_region, crop_to_image, region_of


def test_one_face_is_detected_where_it_is(hopper, faces):
    (region,) = faces.detect(hopper)
    assert np.hypot(*(region.centre - (268, 228))) < 15  # the middle of her face
    assert 150 < region.face_px < 260


def test_noise_has_no_faces(faces):
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    assert faces.detect(noise) == []


def test_region_follows_the_mesh(mesh):
    region = region_of(mesh)
    assert isinstance(region, Region)
    assert abs(region.angle) < 0.3
    assert region.size_px == pytest.approx(1.5 * np.ptp(mesh[:, :2], axis=0).max())


@pytest.mark.parametrize("size_px, angle_deg", [(100.0, 0.0), (60.0, 30.0), (400.0, -20.0)])
def test_a_region_is_cut_out_upright_and_its_points_map_back(size_px, angle_deg):
    image = np.full((500, 500, 3), 40, np.uint8)
    centre, angle = np.array([240.0, 260.0]), float(np.radians(angle_deg))
    # A white dot a quarter of the region to the right of the centre, along the rotated axis.
    dot = np.round(centre + size_px / 4 * np.array([np.cos(angle), np.sin(angle)]))
    cv2.circle(image, dot.astype(int).tolist(), max(2, int(size_px / 25)), (255,) * 3, -1)
    crop, to_image = crop_region(image, Region(centre.astype(np.float32), size_px, angle), 128)
    assert crop.shape == (128, 128, 3)
    y, x = np.argwhere(crop[..., 0] > 150).mean(0)
    assert (x, y) == pytest.approx((63.5 + 32, 63.5), abs=2)
    # Points count from the crop's edge, so the pixel centre x is at x + 0.5.
    back = crop_to_image(np.array([[x + 0.5, y + 0.5, 10.0]]), to_image)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back[0, :2], dot, atol=0.01 * size_px)
    assert back[0, 2] == pytest.approx(10 * size_px / 128, rel=1e-4)
