"""Rotated and mirrored videos and images are read upright."""

import av
import numpy as np
import pytest
from helpers.media import read_frames, write_raw_video
from PIL import Image

from heygem.media import RecordedFrames, VideoWriter
from heygem.media.orientation import make_upright


def test_rotation_is_applied_once(rotated_clip, tmp_path):
    frames, reader = read_frames(rotated_clip)
    video = reader.info.video
    assert (video.width, video.height, video.rotation_deg) == (48, 64, 90)
    image = frames[0].image
    assert image.shape == (64, 48, 3)
    assert image[10, 10, 0] > 200 and image[50, 40].max() < 50 and image[10, 40].max() < 50
    assert any("upright" in note for note in reader.notes)
    with VideoWriter(
        tmp_path / "again.mp4", label=RecordedFrames(), width=48, height=64, rate=25
    ) as writer:
        writer.write(image, 0.0)
    again, reader = read_frames(tmp_path / "again.mp4")
    assert reader.info.video.rotation_deg == 0 and again[0].image.shape == (64, 48, 3)


def test_mirrored_video_is_shown_as_players_show_it(tmp_path):
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:, :32] = 255
    flip = [-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30]
    path = write_raw_video(
        tmp_path / "selfie.mp4",
        [av.VideoFrame.from_ndarray(stored, format="rgb24")],
        prepare=lambda stream: stream.set_display_matrix(flip),
    )
    image = read_frames(path)[0][0].image
    assert image[24, 50].min() > 200 and image[24, 10].max() < 50


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_one_frame_videos(tmp_path, ending, orientation):
    upright = np.zeros((64, 48, 3), np.uint8)
    upright[:32, :24] = (255, 0, 0)
    upright[32:, :24] = (0, 0, 255)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    image = Image.fromarray(np.ascontiguousarray(stored))
    exif = image.getexif()
    exif[274] = orientation
    path = tmp_path / f"p.{ending}"
    image.save(path, exif=exif, quality=95)
    frames, reader = read_frames(path)
    assert reader.info.is_still and reader.info.video.frames == 1
    assert len(frames) == 1 and frames[0].time_s == 0 and frames[0].image.shape == upright.shape
    assert np.abs(frames[0].image.astype(int) - upright).mean() < 6


def test_make_upright_mirrors_first_and_rotates_clockwise():
    image = np.arange(6, dtype=np.uint8).reshape(2, 3, 1).repeat(3, 2)
    upright = make_upright(image, 90, False)
    assert upright[..., 0].tolist() == [[3, 0], [4, 1], [5, 2]]
    assert make_upright(image, 0, True)[..., 0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert make_upright(image, 90, True)[..., 0].tolist() == [[5, 2], [4, 1], [3, 0]]
    assert (make_upright(make_upright(image, 90, False), 270, False) == image).all()
