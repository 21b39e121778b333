"""The attention mesh, on synthetic faces with a given lip gap."""

import cv2
import numpy as np
import pytest

from heygem.core import assets
from heygem.core.errors import AssetError
from heygem.face import topology as topo
from heygem.face.attention_mesh import AttentionMesh, AttentionWindow
from heygem.face.detector import Region, region_of
from heygem.face.topology import MIRROR

MODEL = "face_landmark_with_attention.tflite"


@pytest.fixture(scope="module")
def mesh():
    try:
        return AttentionMesh(assets.path(MODEL))
    except AssetError as error:
        pytest.skip(str(error))


def drawn_face(gap_px):
    """A face of 260 px on 400 x 400, with the lips `gap_px` apart; the same on both sides."""
    image = np.full((400, 400, 3), (90, 110, 130), np.uint8)

    def oval(centre, axes, colour, start=0, stop=360, width=-1):
        cv2.ellipse(image, centre, axes, 0, start, stop, colour, width, cv2.LINE_AA)

    oval((200, 200), (95, 130), (224, 172, 140))
    for x in (162, 238):
        oval((x, 170), (18, 9), (250, 250, 250))
        oval((x, 170), (8, 8), (60, 40, 30))
        oval((x, 150), (24, 8), (80, 50, 30), 180, 360, 5)
    oval((200, 220), (16, 7), (170, 115, 95), 0, 180, 3)
    oval((200, 262), (38, 12 + gap_px // 2), (190, 80, 85))
    if gap_px:
        oval((200, 262), (30, gap_px // 2), (40, 15, 15))
    else:
        cv2.line(image, (164, 262), (236, 262), (90, 30, 30), 2, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (3, 3), 0)


def fit(mesh, image):
    region = Region(np.float32([200, 215]), 325.0, 0.0)
    for _ in range(2):
        points, score = mesh(image, region)
        region = region_of(points)
    return points, score


def aperture_px(points):
    return float(np.hypot(*(points[topo.LIP_MIDDLE[0]] - points[topo.LIP_MIDDLE[1]])[:2]))


@pytest.mark.slow
@pytest.mark.parametrize("gap_px", [0, 12, 24, 40])
def test_lips_are_as_far_apart_as_drawn(mesh, gap_px):
    points, score = fit(mesh, drawn_face(gap_px))
    assert score > 0.9
    assert aperture_px(points) == pytest.approx(gap_px, abs=8 if gap_px else 4)
    assert points[:, 0].min() > 80 and points[:, 0].max() < 320  # on the drawn face
    corners = points[list(topo.MOUTH_CORNERS), :2]
    np.testing.assert_allclose(corners, [[162, 262], [238, 262]], atol=6)


def test_same_frame_same_points(mesh):
    image = drawn_face(12)
    np.testing.assert_array_equal(fit(mesh, image)[0], fit(mesh, image)[0])


def test_a_mirrored_picture_gives_the_mirrored_mesh(mesh):
    image = drawn_face(12)
    image[100:180, 100:190] //= 2  # a shadow, so that the halves differ
    points, _ = fit(mesh, image)
    mirrored, _ = fit(mesh, np.ascontiguousarray(image[:, ::-1]))
    mirrored = mirrored[MIRROR]
    mirrored[:, 0] = 399 - mirrored[:, 0]
    assert np.abs(points - mirrored)[:, :2].mean() < 2.0  # pixels


def test_turned_head_keeps_its_lips(mesh):
    points, _ = fit(mesh, drawn_face(24))
    turn = cv2.getRotationMatrix2D((200, 200), 25, 1.0)  # anticlockwise
    turned = cv2.warpAffine(drawn_face(24), turn, (400, 400), borderMode=cv2.BORDER_REPLICATE)
    region = Region(np.float32([206, 214]), 325.0, float(np.radians(-25)))
    rotated, score = mesh(turned, region)
    assert score > 0.9
    expected = points[topo.LIPS_OUTER, :2] @ turn[:, :2].T + turn[:, 2]
    assert np.abs(rotated[topo.LIPS_OUTER, :2] - expected).mean() < 4


def test_no_face_no_score(mesh):
    empty = np.full((400, 400, 3), 120, np.uint8)
    assert mesh(empty, Region(np.float32([200, 200]), 300.0, 0.0))[1] < 0.1


def test_mirror_swaps_sides_and_keeps_the_middle():
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(topo.POINTS))
    assert list(MIRROR[list(topo.EYE_OUTER)]) == list(topo.EYE_OUTER[::-1])
    assert list(MIRROR[list(topo.MOUTH_CORNERS)]) == list(topo.MOUTH_CORNERS[::-1])
    np.testing.assert_array_equal(MIRROR[list(topo.LIP_MIDDLE)], topo.LIP_MIDDLE)
    assert set(MIRROR[topo.LIPS_OUTER]) == set(topo.LIPS_OUTER)


def window(**changes):
    options = {
        "subset_idxs": [0, 1, 2, 3],
        "left_rotation_idx": 0,
        "right_rotation_idx": 1,
        "target_rotation_radians": 0.0,
        "scale_x": 1.0,
        "scale_y": 1.0,
        "output_width": 8,
        "output_height": 8,
    }
    return AttentionWindow(options | changes)


def test_window_over_its_own_size_is_the_feature_map_itself():
    feature = np.random.default_rng(0).normal(size=(12, 12, 3)).astype(np.float32)
    corners = np.float32([[2, 3], [10, 3], [10, 11], [2, 11]])
    part = window()
    linear, shift = part.locate(corners)
    np.testing.assert_allclose(part.sample(feature, linear, shift), feature[3:11, 2:10], atol=1e-5)


def test_window_turns_with_the_part_and_is_zero_outside():
    ramp = np.arange(16, dtype=np.float32)[None, :, None].repeat(16, 0)  # value = column
    upside_down = np.float32([[12, 8], [4, 8], [4, 4], [12, 12]])
    part = window()
    cut = part.sample(ramp, *part.locate(upside_down))
    np.testing.assert_allclose(cut[0, :, 0], np.arange(11, 3, -1), atol=1e-5)
    beyond = part.sample(ramp, *part.locate(upside_down + 100))
    assert not beyond.any()


def test_another_file_is_refused_with_a_remedy(tmp_path):
    wrong = tmp_path / MODEL
    wrong.write_bytes(b"not a model at all" * 10)
    with pytest.raises(AssetError, match="heygem models pull"):
        AttentionMesh(wrong)


def test_the_plain_mesh_file_is_refused():
    try:
        plain = assets.path("face_landmark.tflite")
    except AssetError as error:
        pytest.skip(str(error))
    with pytest.raises(AssetError, match="not the attention mesh"):
        AttentionMesh(plain)
