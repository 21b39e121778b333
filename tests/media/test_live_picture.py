"""Small pictures of frames that pass by."""

import cv2
import numpy as np
from av.video.reformatter import Colorspace

from heygem.media.live_picture import INTERVAL_S, LONGEST_PX, LivePicture, small_jpeg
from heygem.media.yuv import YuvImage


def scene(height=540, width=960):
    """A smooth RGB picture: red grows to the right, green downwards."""
    y, x = np.mgrid[:height, :width]
    return np.dstack([40 + 160 * x / width, 40 + 160 * y / height, np.full_like(x, 90)]).astype(
        "u1"
    )


def test_a_picture_is_made_no_more_often_than_it_is_looked_at():
    delivered, now_s, is_wanted = [], 0.0, True
    live = LivePicture(delivered.append, is_wanted=lambda: is_wanted, clock=lambda: now_s)
    for k in range(50):
        now_s = k * INTERVAL_S / 10
        live(scene(64, 64))
    assert len(delivered) == 5
    is_wanted, now_s = False, now_s + 10
    live(scene(64, 64))
    assert len(delivered) == 5, "nobody looks"
    is_wanted = True
    live(scene(64, 64))
    assert len(delivered) == 6, "the first to look waits for no interval"


def test_planes_and_pixels_give_the_same_small_picture():
    shown = [
        cv2.imdecode(np.frombuffer(small_jpeg(image), "u1"), cv2.IMREAD_COLOR)[..., ::-1]
        for image in (scene(), YuvImage.from_rgb(scene(), Colorspace.ITU709))
    ]
    assert [image.shape for image in shown] == [(270, LONGEST_PX, 3)] * 2
    expected = cv2.resize(scene(), (LONGEST_PX, 270), interpolation=cv2.INTER_AREA)
    for image in shown:
        assert np.abs(image.astype(int) - expected).mean() < 3
