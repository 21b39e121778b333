"""What the watermark's signs owe to the picture, and what a forger cannot learn from one result."""

import cv2
import numpy as np
import pytest
from helpers.labelled import HEIGHT, RATE, WIDTH, make_frame

from heygem.provenance.watermark.content import CELLS, content_values
from heygem.provenance.watermark.detect import WatermarkDetector
from heygem.provenance.watermark.embed import WatermarkEmbedder
from heygem.provenance.watermark.pattern import DENSE, SLOT_S, chip_layout

SECRET = bytes(range(32))
WATERMARK_ID = 0x0123456789ABCDEF


def cells(seed):
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.uniform(40, 200, (8, 8)).astype(np.float32), (CELLS, CELLS))


def test_the_signs_differ_between_pictures_and_between_secrets():
    values = np.array([content_values(SECRET, cells(seed)) for seed in range(8)])
    signs = np.sign(values).reshape(8, -1)
    alike = (signs @ signs.T / signs.shape[1])[np.triu_indices(8, 1)]
    assert np.sqrt(np.mean(alike**2)) < 0.12
    other = np.sign(content_values(b"another" * 4, cells(0)))
    assert abs(np.mean(other * np.sign(values[0]))) < 0.25


def test_the_signs_move_with_the_picture_and_survive_noise():
    picture = cv2.resize(cells(3), (2 * CELLS, 2 * CELLS))
    whole = content_values(SECRET, picture, (4 * CELLS, 4 * CELLS))
    noise = np.random.default_rng(1).normal(0, 0.3, picture.shape).astype(np.float32)
    part = content_values(SECRET, (picture + noise)[10:, 14:], (4 * CELLS - 28, 4 * CELLS - 20))
    inner = np.s_[20:-20, 20:-20]  # away from the new edge
    product = (whole[20:, 28:] * part)[inner]
    assert np.sum(product) > 0.97 * np.sum(np.abs(product))


def embed(frames, secret=SECRET):
    embedder = WatermarkEmbedder(secret, WATERMARK_ID, WIDTH, HEIGHT)
    return [embedder.embed(image, k / RATE) for k, image in enumerate(frames)]


def detect(frames, secret=SECRET):
    detector = WatermarkDetector(secret)
    for k, image in enumerate(frames):
        detector.add(image, k / RATE)
    return detector.detect([WATERMARK_ID], search=False)


def alternating_part(frames):
    """What alternates with the watermark's public period, float32 [H, W], in grey levels."""
    sign = np.array([-1 if int((k / RATE + 1e-4) // SLOT_S) % 2 else 1 for k in range(len(frames))])
    grey = np.stack([frame.mean(-1) for frame in frames]).astype(np.float32)
    fine = grey - cv2.blur(grey.mean(0), (9, 9))
    return np.tensordot(sign - sign.mean(), fine, (0, 0)) / len(frames)


def add_alternating(frames, pattern):
    result = []
    for k, frame in enumerate(frames):
        sign = -1 if int((k / RATE + 1e-4) // SLOT_S) % 2 else 1
        result.append(np.clip(frame + (sign * pattern).round()[..., None], 0, 255).astype(np.uint8))
    return result


@pytest.mark.slow
@pytest.mark.fault
def test_a_pattern_learnt_from_one_result_is_worth_nothing_on_another_picture():
    frames = [make_frame(k) for k in range(60)]
    result = embed(frames)
    assert detect(result).watermark_id == WATERMARK_ID and detect(result).is_content_bound
    pattern = alternating_part(result)
    pattern *= 255 * 10 ** (-43 / 20) / pattern.std()  # pasted at 43 dB
    same = add_alternating(frames, pattern)
    assert detect(same).watermark_id == WATERMARK_ID  # the estimate is good
    for seed in (1, 2, 3):
        other = [make_frame(k, seed) for k in range(60)]
        detection = detect(add_alternating(other, pattern))
        assert detection.watermark_id is None, seed
        # Nor does subtracting it remove the watermark of another result.
        cleaned = add_alternating(embed(other), -alternating_part(result))
        assert detect(cleaned).watermark_id == WATERMARK_ID, seed


@pytest.mark.slow
def test_watermarks_of_the_earlier_scheme_are_still_read():
    pattern = chip_layout(SECRET, DENSE, has_content=False).pattern(WATERMARK_ID)
    pattern = 2 * cv2.resize(pattern, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    frames = [make_frame(k) for k in range(60)]
    detection = detect(add_alternating(frames, pattern))
    assert detection.watermark_id == WATERMARK_ID and not detection.is_content_bound


@pytest.mark.slow
def test_another_secret_reads_nothing():
    frames = [make_frame(k) for k in range(40)]
    assert detect(embed(frames, b"another secret of 32 bytes......")).watermark_id is None
