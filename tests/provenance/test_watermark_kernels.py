"""Loops of the watermark over pixels, against the same computed by NumPy and OpenCV."""

import cv2
import numpy as np
import pytest

from heygem.provenance.watermark import kernels


@pytest.mark.parametrize("size", [(4, 5), (37, 130), (90, 160)])
def test_fine_contrast_is_the_distance_from_the_mean_of_7_by_7(size):
    luma = np.random.default_rng(1).integers(0, 256, size, np.uint8)
    out = np.empty_like(luma)
    kernels.fine_contrast(luma, out)
    expected = cv2.absdiff(luma, cv2.blur(luma, (7, 7)))
    np.testing.assert_array_equal(out, expected)


def test_the_pattern_changes_its_blocks_by_the_rounded_step():
    rng = np.random.default_rng(2)
    height, width = 70, 200  # neither is a multiple of a block
    luma = rng.integers(0, 256, (height, width), np.uint8)
    level = rng.uniform(0.5, 4, (18, width)).astype(np.float32)
    pattern = np.zeros((height, width), np.float32)
    pattern[20:60, 70:] = rng.uniform(-1, 1, (40, 130))
    blocks = np.empty((9, 4), bool)
    kernels.find_blocks(pattern, np.float32(0.1), blocks)
    assert blocks.any() and not blocks.all()
    changed = luma.copy()
    kernels.add_pattern(changed, level, pattern, blocks, np.float32(-1), np.float32(0.86))

    step = 0.86 * np.rint(-cv2.resize(level, (width, height)) * pattern)
    exact = np.clip(luma + step, 0, 255)
    assert np.abs(changed - exact).max() < 1.01  # rounded up or down by the lattice
    assert np.array_equal(changed[step == 0], luma[step == 0])
    inner = (luma > 10) & (luma < 245) & (step != 0)
    assert abs((changed - exact)[inner].mean()) < 0.05  # and in the mean not at all
