"""Pictures about a result."""

import io

import numpy as np
import pytest

from heygem import media
from heygem.experiments import figures
from heygem.lips.trajectory import Trajectory
from heygem.media.stills import Still


@pytest.fixture
def video(tmp_path):
    """Two seconds that go from black to white, twice as wide as high."""
    path = tmp_path / "fade.mp4"
    with media.VideoWriter(
        path, label=media.RecordedFrames(), width=128, height=64, rate=25
    ) as writer:
        for i in range(50):
            writer.write(np.full((64, 128, 3), i * 5, np.uint8), i / 25)
    return path


@pytest.mark.slow
def test_contact_sheet_runs_through_time(video):
    sheet = figures.contact_sheet(video, columns=3, rows=2)
    height, width = figures.THUMB_PX // 2, figures.THUMB_PX
    assert sheet.shape == (2 * height, 3 * width, 3) and sheet.dtype == np.uint8
    cells = [
        sheet[r * height : r * height + 60, c * width : (c + 1) * width].mean()
        for r in range(2)
        for c in range(3)
    ]
    assert cells == sorted(cells)  # brighter from cell to cell
    assert cells[0] < 40 and cells[-1] > 200


def test_contact_sheet_of_fewer_frames_than_cells(tmp_path):
    path = tmp_path / "one.mp4"
    with media.VideoWriter(
        path, label=media.RecordedFrames(), width=64, height=64, rate=25
    ) as writer:
        writer.write(np.full((64, 64, 3), 200, np.uint8), 0.0)
    sheet = figures.contact_sheet(path, columns=2, rows=1)
    assert sheet.shape == (figures.THUMB_PX, 2 * figures.THUMB_PX, 3)


def test_pictures_of_stills_need_no_video(tmp_path):
    stills = [Still(k / 2, np.full((30, 60, 3), 40 * k, np.uint8)) for k in range(6)]
    sheet = figures.contact_sheet(tmp_path / "none.mp4", stills, columns=3, rows=2)
    height, width = figures.THUMB_PX // 2, figures.THUMB_PX
    assert sheet.shape == (2 * height, 3 * width, 3)
    assert [sheet[height // 2 * 3, k * width + 9, 0] for k in range(3)] == [120, 160, 200]
    middle = figures.middle_frame(tmp_path / "none.mp4", stills, longest_px=480)
    assert middle.shape == (30, 60, 3) and (middle == 120).all()


@pytest.mark.parametrize("rows", [100, 1, 0])
@pytest.mark.slow
def test_lip_curve_is_drawn_for_any_length(rows):
    basis = np.zeros((1, 900, 3), np.float32)
    figure = figures.lip_curve(Trajectory(np.zeros((rows, 1), np.float32), 50.0, basis))
    data = io.BytesIO()
    figure.savefig(data)
    assert len(data.getvalue()) > 1000
    (axes,) = figure.axes
    assert "[s]" in axes.get_xlabel() and "IOD" in axes.get_ylabel()


def test_save_image_keeps_colours(tmp_path):
    from PIL import Image

    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 255
    path = figures.save_image(image, tmp_path / "red.png")
    assert Image.open(path).getpixel((0, 0)) == (255, 0, 0)
