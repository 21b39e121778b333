"""Embeddings of real faces: what changes them little, and what changes them much."""

import cv2
import numpy as np
import pytest

from heygem.core import assets
from heygem.core.errors import AssetError
from heygem.face import identity
from heygem.finetune.identity_check import OTHER, SAME


@pytest.fixture(scope="module")
def embedder():
    try:
        return identity.FaceEmbedder(assets.path(identity.MODEL))
    except AssetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def astronaut():
    """Eileen Collins's portrait (public domain, inside scikit-image) : uint8 [512, 512, 3]."""
    from skimage.data import astronaut

    return astronaut()


@pytest.fixture(scope="module")
def points_of(faces):
    def find(image):
        return faces.mesh(image, faces.detect(image)[0])[0]

    return find


@pytest.fixture(scope="module")
def portrait(embedder, hopper, points_of):
    return embedder.embed(hopper, points_of(hopper))


def test_the_face_lies_where_the_network_expects_it(hopper, points_of):
    """A similarity and nothing else: eyes level, and their distance that of the template."""
    points = points_of(hopper)
    turned = cv2.rotate(hopper, cv2.ROTATE_90_CLOCKWISE)
    # A quarter turn maps (x, y) to (height - 1 - y, x).
    moved = points.copy()
    moved[:, 0], moved[:, 1] = hopper.shape[0] - 1 - points[:, 1], points[:, 0]
    upright, again = identity.aligned(hopper, points), identity.aligned(turned, moved)
    assert upright.shape == (112, 112, 3)
    assert np.abs(upright.astype(int) - again).mean() < 2


@pytest.mark.parametrize(
    "change",
    [
        lambda image: (255 * (image / 255) ** 2).astype(np.uint8),
        lambda image: np.clip(image * [1.25, 0.95, 0.6], 0, 255).astype(np.uint8),
        lambda image: cv2.GaussianBlur(image, (0, 0), 3),
        lambda image: np.repeat(image.mean(2, keepdims=True), 3, 2).astype(np.uint8),
    ],
    ids=["dark", "warm", "blurred", "grey"],
)
def test_light_and_blur_leave_the_person(change, embedder, hopper, points_of, portrait):
    assert embedder.embed(change(hopper), points_of(hopper)) @ portrait > SAME


def test_two_people_are_far_apart(embedder, astronaut, points_of, portrait):
    other = embedder.embed(astronaut, points_of(astronaut))
    assert np.linalg.norm(other) == pytest.approx(1, abs=1e-5)
    assert other @ portrait < OTHER
