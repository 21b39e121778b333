"""The dark line between closed lips: where the lower lip begins below it."""

import numpy as np
import pytest

from heygem.avatar.library import MouthLibrary
from heygem.face import topology as topo
from heygem.face.pose import Pose
from heygem.rendering.warp.lip_seam import lower_lip_shift, without_line

LIP, LINE = 150, 40
MIDDLE = 4  # of the nine points of the lower lip between the corners


def closed_lips(line_px: int, gap_px: float = 0.0) -> MouthLibrary:
    """Lips 80 pixels wide that meet at row 60; a line of `line_px` rows lies below the meshes'."""
    mesh = np.zeros((topo.POINTS, 3), np.float32)
    across = np.linspace(20, 100, 11)
    for points, row in (
        (topo.INNER_UPPER, 60 - gap_px / 2),
        (topo.INNER_LOWER, 60 + gap_px / 2),
        (topo.OUTER_LOWER, 80),
    ):
        mesh[points, 0], mesh[points, 1] = across, row
    picture = np.full((120, 120, 3), LIP, np.uint8)
    picture[59 : 60 + line_px] = LINE
    pose = Pose(np.eye(3)[None], np.array([100.0]), np.zeros((1, 3)))
    return MouthLibrary(np.zeros(1, int), [picture], np.zeros((1, 2), int), mesh[None], pose)


@pytest.mark.parametrize("line_px", [2, 4, 6])
def test_the_lip_begins_where_the_line_ends(line_px):
    shift = lower_lip_shift(closed_lips(line_px), 0)[MIDDLE]
    assert shift[0] == pytest.approx(0, abs=0.1)
    assert shift[1] == pytest.approx(line_px, abs=1.0)


def test_open_lips_and_lips_without_a_line_stay():
    assert not lower_lip_shift(closed_lips(4, gap_px=8), 0).any()
    even = closed_lips(0)
    even.crops[0][:] = LIP
    assert not lower_lip_shift(even, 0).any()


def test_the_line_stays_while_the_lips_are_closed_and_goes_as_they_open():
    library = closed_lips(4)
    mesh, shift = library.points[0][:, :2], lower_lip_shift(library, 0)
    assert without_line(mesh, shift, opened=0.0) is mesh
    half, whole = (without_line(mesh, shift, opened=x)[14, 1] - 60 for x in (0.03, 0.2))
    assert half == pytest.approx(shift[MIDDLE, 1] / 2, abs=0.01)
    assert whole == pytest.approx(shift[MIDDLE, 1])
    assert (mesh[14] == library.points[0][14, :2]).all()
