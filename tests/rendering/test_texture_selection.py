"""The shortest path over textures, against a search through all paths."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from heygem.avatar.library import lip_features
from heygem.config.params import RendererSettings
from heygem.rendering.warp import texture_selection
from heygem.rendering.warp.texture_selection import (
    OTHER_SHOT,
    SHAPE,
    TURN_DEG,
    TextureSelector,
    _appearance_change,
)


@pytest.fixture
def selector(hopper_avatar):
    """A selector over four textures of arbitrary shapes."""
    selector = TextureSelector(hopper_avatar.library, RendererSettings())
    rng = np.random.default_rng(3)
    selector._features = rng.normal(0, 0.03, (4, selector._features.shape[1])).astype(np.float32)
    selector._angles = rng.normal(0, 8, (4, 3))
    selector._gap = rng.uniform(0, 0.1, 4)
    selector._parted = rng.uniform(0, 0.1, 4).astype(np.float32)
    selector._change = rng.uniform(0.1, 2, (4, 4)).astype(np.float32)
    np.fill_diagonal(selector._change, 0)
    selector._frames = np.array([0, 40, 80, 120])
    return selector


def cost_of(selector, path, features, angles, shot, texture_shot):
    total = 0.0
    for k, pick in enumerate(path):
        gap = features[k, -2] / 2
        total += ((selector._features[pick] - features[k]) ** 2).sum() * SHAPE
        total += (((selector._angles[pick] - angles[k]) / TURN_DEG) ** 2).sum()
        total += max(gap - selector._gap[pick] - 0.01, 0) * 12
        total += 10 * np.clip(1 - gap / 0.03, 0, 1) * selector._parted[pick]
        total += OTHER_SHOT * (texture_shot[pick] != shot[k])
        if k:
            total += selector._change[path[k - 1], pick]
    return total


@pytest.mark.slow
def test_the_path_is_the_cheapest_of_all(selector):
    rng = np.random.default_rng(7)
    features = rng.normal(0, 0.03, (6, selector._features.shape[1])).astype(np.float32)
    angles = rng.normal(0, 8, (6, 3))
    shot, texture_shot = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 1, 1])
    path = selector._shortest_path(features, angles, np.arange(6), shot, texture_shot)
    best = min(
        product(range(4), repeat=6),
        key=lambda p: cost_of(selector, p, features, angles, shot, texture_shot),
    )
    assert tuple(path) == best


def test_a_gap_in_the_sequence_makes_a_change_free(selector):
    features = np.stack([selector._features[0], selector._features[1]])
    angles = np.stack([selector._angles[0], selector._angles[1]])
    features[:, -2] = 0.2  # open: seams do not matter
    selector._features[:, -2] = 0.2
    selector._gap[:] = 0.5
    selector._change[:] = 1e6
    np.fill_diagonal(selector._change, 0)
    same_shot = np.zeros(2, int), np.zeros(4, int)
    assert len(set(selector._shortest_path(features, angles, np.array([0, 1]), *same_shot))) == 1
    path = selector._shortest_path(features, angles, np.array([0, 5]), *same_shot)
    assert path.tolist() == [0, 1]


def test_a_jump_is_cross_faded_and_a_cut_is_not(selector):
    path, at = np.array([0, 0, 1, 1]), np.arange(4)
    weights = selector._crossfades(path, at, np.zeros(4, bool))
    assert weights[0] == [(0, 1.0)] and weights[3] == [(1, 1.0)]
    assert weights[1] == [(0, 0.75), (1, 0.25)] and weights[2] == [(1, 0.75), (0, 0.25)]
    cut = np.array([False, False, True, False])
    assert all(len(w) == 1 for w in selector._crossfades(path, at, cut))


def test_neighbouring_frames_of_one_movement_are_not_faded(selector):
    selector._frames = np.array([10, 12, 80, 120])
    weights = selector._crossfades(np.array([0, 0, 1, 1]), np.arange(4), np.zeros(4, bool))
    assert all(len(w) == 1 for w in weights)


def test_change_is_symmetric_zero_on_the_diagonal_and_small_within_a_movement(hopper_avatar):
    library = hopper_avatar.library
    crop, mesh = library.crops[0], library.points[0]
    dark = (crop // 3).astype(np.uint8)
    three = SimpleNamespace(
        crops=[crop, crop, dark],
        points=[mesh] * 3,
        pose=SimpleNamespace(scale=np.repeat(library.pose.scale[:1], 3)),
        frames=np.array([0, 1, 50]),
    )
    change = _appearance_change(three)
    assert np.array_equal(change, change.T) and not np.diag(change).any()
    assert change[0, 1] == pytest.approx(0.15 * 0.3)  # the same picture, one frame on
    assert change[0, 2] > 1


def test_a_dark_slit_between_the_lips_counts_as_parted(hopper_avatar):
    library = hopper_avatar.library
    crop, mesh = library.crops[0].copy(), library.points[0]
    line = (mesh[texture_selection.topo.INNER_UPPER] + mesh[texture_selection.topo.INNER_LOWER]) / 2
    for x, y in line[2:9, :2].astype(int):
        crop[y - 1 : y + 2, x - 4 : x + 5] = 0
    two = SimpleNamespace(
        crops=[library.crops[0], crop],
        points=[mesh] * 2,
        pose=SimpleNamespace(scale=np.repeat(library.pose.scale[:1], 2)),
    )
    shut, slit = texture_selection._parted(two)
    assert slit > shut + 0.1


def test_features_weigh_the_opening(hopper_avatar):
    shape = hopper_avatar.rest.neutral[None, texture_selection.LOWER]
    assert lip_features(shape).shape[0] == 1
