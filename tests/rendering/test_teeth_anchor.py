"""Upper teeth are fixed to the skull: their registration, and drawing by it."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from heygem.avatar.library import MouthLibrary
from heygem.core import assets
from heygem.face import topology as topo
from heygem.face.pose import Pose
from heygem.rendering.warp import teeth_cache
from heygem.rendering.warp.blend import interior_mask
from heygem.rendering.warp.mouth_interior import MouthInterior
from heygem.rendering.warp.teeth_anchor import register
from heygem.rendering.warp.teeth_check import anchor_teeth

SCALE = 150.0  # pixels per IOD of the drawn pictures
SIZE = (150, 210)  # of a picture
TEETH_EDGE = 0.01  # of the upper teeth, below the middle of the lips at rest [IOD]


class Mouth:
    """Draws pictures of a mouth whose upper teeth are known."""

    def __init__(self, rest):
        self.rest = rest
        self.middle = rest.neutral[topo.LIPS_INNER].mean(0)
        self.line = (rest.neutral[topo.INNER_UPPER, 1] + rest.neutral[topo.INNER_LOWER, 1]) / 2

    def picture(self, raised, lowered, head, teeth_shift=0.0):
        """One picture and its mesh, with lips moved in IOD and the head at `head`, pixels."""
        shape = self.rest.neutral.copy()
        arch = np.sin(np.linspace(0, np.pi, 11)) ** 0.5
        shape[topo.INNER_UPPER, 1] = self.line - raised * arch
        shape[topo.INNER_LOWER, 1] = self.line + lowered * arch
        mesh = SCALE * shape + np.array([*head, 0])
        y, x = np.mgrid[: SIZE[0], : SIZE[1]]
        across = (x - head[0]) / SCALE - self.middle[0]
        below = (y - head[1]) / SCALE - self.middle[1] - teeth_shift
        is_tooth = (below < TEETH_EDGE - 0.4 * across**2) & (np.abs(across) < 0.2)
        gap = np.cos(2 * np.pi * (across + 0.3 * across**2) / 0.055) > 0.85
        inside = np.where(is_tooth, np.where(gap, 120, 215), 35)
        opening = np.zeros(SIZE, np.uint8)
        lips = np.rint(mesh[topo.LIPS_INNER, :2] * 16).astype(np.int32)
        cv2.fillPoly(opening, [lips], 1, cv2.LINE_8, 4)
        grey = np.where(opening > 0, inside, 150).astype(np.uint8)
        return np.repeat(cv2.GaussianBlur(grey, (0, 0), 0.8)[..., None], 3, 2), mesh

    def head(self):
        """Where the head is when the lips are in the middle of the picture, pixels."""
        return np.array([SIZE[1], SIZE[0]]) / 2 - SCALE * self.middle[:2]

    def library(self, count, *, pose_error=0.0, teeth_follow_lip=False):
        """Pictures with known errors of their poses, float [count, 2] in IOD."""
        rng = np.random.default_rng(3)
        errors = np.clip(rng.normal(0, 1, (count, 2)), -1.6, 1.6) * pose_error
        crops, points, offsets = [], [], []
        for k in range(count):
            raised, lowered = rng.uniform(0.01, 0.05), rng.uniform(0.09, 0.16)
            head = self.head() + rng.uniform(-4, 4, 2)
            crop, mesh = self.picture(raised, lowered, head, -raised if teeth_follow_lip else 0.0)
            crops.append(crop)
            points.append(mesh)
            offsets.append([*(head - SCALE * errors[k]), 0])
        eye = np.repeat(np.eye(3, dtype=np.float32)[None], count, 0)
        pose = Pose(eye, np.full(count, SCALE, np.float32), np.array(offsets, np.float32))
        corners = np.zeros((count, 2), int)
        meshes = np.array(points, np.float32)
        return MouthLibrary(20 * np.arange(count), crops, corners, meshes, pose), errors


@pytest.fixture(scope="module")
def mouth(hopper_avatar):
    return Mouth(hopper_avatar.rest)


def test_errors_of_the_head_pose_are_found_by_registration(mouth):
    library, errors = mouth.library(16, pose_error=0.007)
    teeth = register(library, mouth.rest)
    assert teeth is not None and teeth.registered == 16
    difference = teeth.shifts - errors
    difference -= np.median(difference, 0)
    assert errors.std(0).min() > 0.004
    assert difference.std(0).max() < 0.0025


def test_upper_teeth_stay_when_the_lip_rises(mouth):
    library, _ = mouth.library(16)
    teeth = anchor_teeth(library, mouth.rest)
    assert teeth is not None
    crop, mesh = library.crops[0], library.points[0][:, :2]
    head = mouth.head() + (6, -3)
    shape = (library.points[0] - library.pose.offset[0]) / SCALE
    raised = float(mouth.line[5] - shape[topo.INNER_UPPER[5], 1])
    lowered = float(shape[topo.INNER_LOWER[5], 1] - mouth.line[5])
    real, target = mouth.picture(raised + 0.025, lowered - 0.025, head)
    pose = Pose(np.eye(3, dtype=np.float32)[None], np.array([SCALE]), np.array([[*head, 0.0]]))
    by_skull, by_lip = np.full((2, *real.shape), 150, np.float32)
    skull = teeth.map(0, pose, np.zeros(2))
    target = target[:, :2].astype(np.float32)
    inside = MouthInterior()
    inside.fill(crop, mesh, target, 1.0, by_skull, skull=skull)
    inside.fill(crop, mesh, target, 1.0, by_lip)
    opening = interior_mask(target, real.shape[:2]) > 0.99
    opening[int(head[1] + SCALE * (mouth.middle[1] + TEETH_EDGE)) + 3 :] = False
    skull_error, lip_error = (
        np.abs(picture.astype(float) - real)[opening].mean() for picture in (by_skull, by_lip)
    )
    assert skull_error < 0.6 * lip_error


def test_what_moves_with_the_lip_is_drawn_with_the_lip(mouth):
    library, _ = mouth.library(16, teeth_follow_lip=True)
    assert anchor_teeth(library, mouth.rest) is None


def test_few_pictures_of_teeth_are_not_enough(mouth):
    library, _ = mouth.library(4)
    assert register(library, mouth.rest) is None


def test_the_registration_of_an_avatar_is_computed_once(mouth, tmp_path, monkeypatch):
    """Each job computed it anew: more than half of the time before its first frame."""
    calls = []

    def counted(library, rest):
        calls.append(library)
        return anchor_teeth(library, rest)

    monkeypatch.setattr(teeth_cache, "anchor_teeth", counted)
    monkeypatch.setattr(assets, "avatar_folder", lambda: tmp_path / "avatars")
    library, _ = mouth.library(16, pose_error=0.007)
    person = SimpleNamespace(library=library, rest=mouth.rest, sha256="a" * 64)
    first, again = teeth_cache.cached_teeth(person), teeth_cache.cached_teeth(person)
    assert len(calls) == 1 and first.registered == again.registered == 16
    np.testing.assert_array_equal(first.shifts, again.shifts)
    assert (first.depth, first.pose) == (again.depth, again.pose)
    with_lip, _ = mouth.library(16, teeth_follow_lip=True)
    other = SimpleNamespace(library=with_lip, rest=mouth.rest, sha256="a" * 64)
    assert [teeth_cache.cached_teeth(other) for _ in range(2)] == [None, None]
    assert len(calls) == 2  # "none" is kept too, and other pictures have a file of their own
    for stored in (tmp_path / "avatars").iterdir():
        assert stored.stat().st_mode & 0o077 == 0
        stored.write_bytes(stored.read_bytes()[:100])
    assert teeth_cache.cached_teeth(person).registered == 16 and len(calls) == 3
