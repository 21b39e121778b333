"""The 68-point backend, with a network that reads the true points off the image."""

import socket
import sys
import types
import urllib.error

import numpy as np
import pytest

from heygem.config.params import FaceSettings
from heygem.core import assets
from heygem.core.errors import AssetError
from heygem.face import backends, fan68, tracking
from heygem.face import topology as topo
from heygem.face.detector import Region, region_of
from heygem.face.fan68 import (
    POINTS_68,
    AlignmentBackend,
    FanNetwork,
    find_peaks,
    fit_template,
    spline_matrix,
)
from heygem.face.template import TEMPLATE
from heygem.face.topology import MIRROR


def head(yaw_deg=0.0, roll_deg=0.0, gap=0.0, eye_px=70.0, centre=(128.0, 105.0)):
    """A true mesh: the template turned, its lower lip and chin dropped by `gap` IOD."""
    points = TEMPLATE.astype(np.float64).copy()
    lower = np.clip((points[:, 1] - 0.68) / 0.1, 0, 1) * np.clip(1 - abs(points[:, 0]) / 0.6, 0, 1)
    points[:, 1] += gap * lower
    yaw, roll = np.radians([yaw_deg, roll_deg])
    turn = [[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]]
    tilt = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    points = points @ (np.array(tilt) @ turn).T * eye_px
    points[:, :2] += centre
    return points


# Red is x and green is y, so a crop shows which part of the image it is.
# Blue is full, and missing beyond the edges.
RULER = np.stack(
    [*np.meshgrid(np.arange(256), np.arange(256)), np.full((256, 256), 255)], -1
).astype(np.uint8)


class Reader:
    """A perfect network: blobs of heat where the true points lie in the crops it is shown."""

    def __init__(self, truth, peak=0.9):
        self.truth = truth
        self.peak = peak

    def boxes(self, image):
        # S3FD's box goes from the brows to the chin.
        low, high = self.truth[POINTS_68, :2].min(0), self.truth[POINTS_68, :2].max(0)
        factor = image.shape[1] / 256
        return np.array([[*low, *high, 0]]) * factor + [0, 0, 0, 0, 0.97]

    def heatmaps(self, crops):
        out = []
        for crop in crops.astype(np.float64):
            cells = crop.reshape(64, 4, 64, 4, 3).mean((1, 3))
            mirrored = cells[32, -8, 0] < cells[32, 8, 0]
            points = self.truth[MIRROR[POINTS_68] if mirrored else POINTS_68, :2]
            cell_px = np.hypot(*(cells[32, 40] - cells[32, 24])[:2]) / 16
            d = ((cells[None, :, :, :2] - points[:, None, None]) ** 2).sum(-1)
            inside = cells[None, :, :, 2] > 254
            out.append(self.peak * inside * np.exp(-d / 2 / cell_px**2))
        return np.array(out, np.float32)


def settle(truth, **options):
    backend = AlignmentBackend(Reader(truth, **options))
    region = backend.detect(RULER)[0]
    for _ in range(2):
        points, score = backend.mesh(RULER, region)
        region = region_of(points)
    return points, score


@pytest.mark.parametrize(
    "pose", [{}, {"roll_deg": 20}, {"yaw_deg": 20}, {"yaw_deg": -15, "roll_deg": -10, "gap": 0.2}]
)
def test_mesh_lies_on_the_true_head(pose):
    truth = head(**pose)
    points, score = settle(truth)
    assert points.shape == (468, 3) and points.dtype == np.float32
    assert score > 0.8
    error = np.linalg.norm(points[:, :2] - truth[:, :2], axis=1) / 70  # IOD
    assert error.mean() < 0.02
    assert error[topo.LIPS_INNER].mean() < 0.02
    assert np.corrcoef(points[:, 2], truth[:, 2])[0, 1] > 0.98


@pytest.mark.slow
def test_lips_open_as_far_as_the_points_say():
    def aperture(gap):
        points, _ = settle(head(gap=gap))
        upper, lower = points[list(topo.LIP_MIDDLE)]
        return (lower - upper)[1] / 70

    assert aperture(0.3) - aperture(0.0) == pytest.approx(0.3, abs=0.03)


def test_weak_peaks_are_no_face():
    assert settle(head(), peak=0.2)[1] < tracking.MIN_SCORE


@pytest.mark.slow
def test_it_can_be_followed_through_a_video():
    follow = tracking.Tracker(AlignmentBackend(Reader(head())))
    results = [follow(RULER) for _ in range(4)]
    assert all(points is not None for points, _, _ in results)
    assert np.abs(results[-1][0] - results[-2][0]).max() < 1.0  # pixels: it has settled


def test_boxes_are_scaled_to_pixels_of_the_whole_image():
    class Two:
        def boxes(self, image):
            assert max(image.shape[:2]) == fan68.DETECTION_EDGE_PX
            return np.array([[10, 20, 110, 140, 0.6], [300, 100, 400, 220, 0.9]])

    regions = AlignmentBackend(Two()).detect(np.zeros((960, 1280, 3), np.uint8))
    assert [r.score for r in regions] == [0.9, 0.6]
    np.testing.assert_allclose(regions[0].centre, [700, 320])
    assert 200 < regions[0].face_px < 300  # the box of 200 x 240, from forehead to chin


def test_an_image_without_a_face():
    class Nobody:
        def boxes(self, image):
            return np.zeros((0, 5))

    assert AlignmentBackend(Nobody()).detect(RULER) == []


def test_peaks_are_finer_than_cells():
    at = np.array([[10.3, 20.8], [40.0, 5.45], [0.5, 63.5]])
    y, x = np.mgrid[:64, :64] + 0.5
    heat = np.exp(-((x - at[:, :1, None]) ** 2 + (y - at[:, 1:, None]) ** 2) / 2)
    peaks, height = find_peaks(heat.astype(np.float32))
    np.testing.assert_allclose(peaks[:2], at[:2], atol=0.1)
    assert np.abs(peaks[2] - at[2]).max() < 1  # half of the blob lies outside the map
    assert (height > 0.8).all()


def test_template_is_symmetric_and_in_its_frame():
    np.testing.assert_allclose(TEMPLATE[MIRROR] * (-1, 1, 1), TEMPLATE, atol=1e-6)
    eyes = TEMPLATE[list(topo.EYE_OUTER)]
    assert np.linalg.norm(eyes[1] - eyes[0]) == pytest.approx(1, abs=0.01)
    assert TEMPLATE[4, 2] < TEMPLATE[234, 2] - 0.5  # the nose is nearer than the ears
    assert TEMPLATE[152, 1] > TEMPLATE[13, 1] > TEMPLATE[4, 1] > TEMPLATE[10, 1]
    mirrored = MIRROR[POINTS_68]
    assert set(mirrored) == set(POINTS_68)


def test_points_that_are_the_template_give_the_template():
    mesh = fit_template(TEMPLATE[POINTS_68, :2] * 100.0 + 300, spline_matrix())
    np.testing.assert_allclose(mesh[:, :2], TEMPLATE[:, :2] * 100 + 300, atol=0.01)
    np.testing.assert_allclose(mesh[:, 2], TEMPLATE[:, 2] * 100, atol=0.01)


@pytest.fixture
def package(monkeypatch):
    """The package, as far as it is used, without its weights."""
    import torch

    class FaceAlignment:
        def __init__(self, kind, device, compile):
            assert kind == "2.5D" and compile is False
            fake.devices.append(device)
            assert 0 < socket.getdefaulttimeout() <= 60
            self.face_detector = types.SimpleNamespace(
                detect_from_image=lambda image: [np.array([1.0, 2.0, 30.0, 40.0, 0.8])]
            )
            self.face_alignment_net = lambda x: [torch.zeros(1), x.mean(1)[:, None, ::4, ::4]]

    fake = types.ModuleType("face_alignment")
    fake.FaceAlignment, fake.devices = FaceAlignment, []
    fake.LandmarksType = types.SimpleNamespace(TWO_HALF_D="2.5D")
    monkeypatch.setitem(sys.modules, "face_alignment", fake)
    return fake


def test_the_package_is_called_with_its_own_options(package):
    before = socket.getdefaulttimeout()
    network = FanNetwork("cpu")
    assert socket.getdefaulttimeout() == before
    np.testing.assert_allclose(network.boxes(RULER), [[1, 2, 30, 40, 0.8]])
    crops = np.full((2, 256, 256, 3), 255, np.uint8)
    heat = network.heatmaps(crops)
    assert heat.shape == (2, 1, 64, 64) and heat.dtype == np.float32
    np.testing.assert_allclose(heat, 1.0)


def test_the_error_of_unreachable_weights_names_their_folder(package, monkeypatch):
    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(package, "FaceAlignment", unreachable)
    before = socket.getdefaulttimeout()
    with pytest.raises(AssetError, match="checkpoints") as caught:
        FanNetwork("cpu")
    assert "Name or service not known" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert socket.getdefaulttimeout() == before


def test_without_weights_mediapipe_stands_in_and_it_is_recorded(package, monkeypatch):
    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    class Mesh:
        name = "mediapipe"

        def __init__(self, models):
            self.models, self.notes = models, []

    monkeypatch.setattr(package, "FaceAlignment", unreachable)
    monkeypatch.setattr(backends, "MediaPipeBackend", Mesh)
    with pytest.warns(UserWarning, match="mediapipe is used"):
        backend = backends.make_backend(FaceSettings(backend="face-alignment"))
    assert backend.name == "mediapipe" and backend.models is assets.path
    assert len(backend.notes) == 1 and "face-alignment" in backend.notes[0]


def test_with_weights_face_alignment_is_used_on_the_device_of_the_recipe(package, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    backend = backends.make_backend(FaceSettings(backend="face-alignment"), device="cpu")
    assert backend.name == "face-alignment" and backend.notes == []
    assert package.devices == ["cpu"]


def test_regions_of_detector_and_mesh_agree():
    """Else the first frame after a detection would be fitted at another size than the next."""
    truth = head()
    detected = AlignmentBackend(Reader(truth)).detect(RULER)[0]
    own = region_of(truth.astype(np.float32))
    assert isinstance(detected, Region)
    assert detected.face_px == pytest.approx(own.face_px, rel=0.15)
