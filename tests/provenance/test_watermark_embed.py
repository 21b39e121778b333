"""Embedding of the watermark."""

import cv2
import numpy as np
import pytest
from helpers.labelled import HEIGHT, WIDTH, make_frame

from heygem.provenance.watermark.embed import MIN_PSNR_DB, WatermarkEmbedder


@pytest.mark.parametrize(("size", "most"), [((960, 640), 0.3), ((480, 272), 0.6)])
def test_most_pixels_are_unchanged(size, most):
    grain = np.random.default_rng(3).normal(128, 2, (size[1], size[0], 1)).round()
    image = np.broadcast_to(grain, (size[1], size[0], 3)).astype(np.uint8)
    marked = WatermarkEmbedder(b"x" * 32, 5, *size).embed(image, 0.0)
    assert 0.1 < (marked != image).any(-1).mean() < most


@pytest.mark.parametrize("size", [(960, 640), (641, 479)])
def test_torch_and_opencv_embed_the_same_watermark(size):
    from heygem.provenance.watermark.embed_torch import TorchWatermarkEmbedder

    here = WatermarkEmbedder(b"x" * 32, 77, *size)
    there = TorchWatermarkEmbedder(b"x" * 32, 77, *size, device="cpu")
    for k in (0, 5):  # both signs
        image = cv2.resize(make_frame(k), size)
        off = np.abs(here.embed(image, k / 25).astype(int) - there.embed(image, k / 25))
        assert off.max() <= 1 and (off > 0).mean() < 0.03
        assert np.abs(here.embed(image, k / 25).astype(int) - image).max() > 1


def test_the_watermark_is_faint_and_colourless():
    mark = WatermarkEmbedder(bytes(32), 7, WIDTH, HEIGHT)
    image = make_frame(3)
    out = mark.embed(image, 0.1)
    error = np.mean((out.astype(float) - image) ** 2)
    assert 10 * np.log10(255**2 / error) >= MIN_PSNR_DB
    step = out.astype(int) - image
    assert (step[..., 0] == step[..., 1]).mean() > 0.99  # all channels alike, but for clipping
