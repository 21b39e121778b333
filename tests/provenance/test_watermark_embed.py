"""Embedding of the watermark."""

import cv2
import numpy as np
import pytest
from helpers.labelled import HEIGHT, RATE, WIDTH, make_frame

from heygem.media import RecordedFrames, VideoReader, VideoWriter
from heygem.media.colour import BT709
from heygem.media.yuv import YuvImage
from heygem.provenance.watermark.detect import WatermarkDetector
from heygem.provenance.watermark.embed import MIN_PSNR_DB, WatermarkEmbedder


@pytest.mark.parametrize(("size", "most"), [((960, 640), 0.3), ((480, 272), 0.6)])
def test_most_pixels_are_unchanged(size, most):
    rng = np.random.default_rng(3)
    ground = cv2.resize(rng.uniform(60, 190, (9, 16)), size)
    grain = (ground + rng.normal(0, 2, ground.shape))[..., None].round()
    image = np.broadcast_to(grain, (*ground.shape, 3)).astype(np.uint8)
    marked = WatermarkEmbedder(b"x" * 32, 5, *size).embed(image, 0.0)
    assert 0.1 < (marked != image).any(-1).mean() < most


def test_the_watermark_is_faint_and_colourless():
    mark = WatermarkEmbedder(bytes(32), 7, WIDTH, HEIGHT)
    image = make_frame(3)
    out = mark.embed(image, 0.1)
    error = np.mean((out.astype(float) - image) ** 2)
    assert 10 * np.log10(255**2 / error) >= MIN_PSNR_DB
    step = out.astype(int) - image
    assert (step[..., 0] == step[..., 1]).mean() > 0.99  # all channels alike, but for clipping


@pytest.mark.slow
def test_a_watermark_in_planes_is_read_like_any(tmp_path):
    """Embedded into the luma of decoded frames, encoded, and read from RGB."""
    secret, watermark_id = b"x" * 32, 0x1234567890ABCDEF
    embedder = WatermarkEmbedder(secret, watermark_id, WIDTH, HEIGHT)
    options = {"label": RecordedFrames(), "width": WIDTH, "height": HEIGHT, "rate": RATE}
    with VideoWriter(tmp_path / "o.mp4", crf=23, preset="veryfast", **options) as writer:
        for k in range(3 * RATE):
            image = YuvImage.from_rgb(make_frame(k), BT709.matrix)
            embedder.embed_in_planes(image, k / RATE)
            writer.write(image, k / RATE)
    detector = WatermarkDetector(secret)
    with VideoReader(tmp_path / "o.mp4") as reader:
        for frame in reader:
            detector.add(frame.image, frame.time_s)
    assert detector.detect(search=False).watermark_id == watermark_id
