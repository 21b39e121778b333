"""Detection of the watermark in transformed copies."""

import cv2
import numpy as np
import pytest
from helpers.labelled import RATE, make_frame

from heygem.provenance.watermark.detect import WatermarkDetector

pytestmark = pytest.mark.slow


def transformed(installation, kind):
    images, rate = installation.labelled, RATE
    if kind == "mirrored":
        return [np.ascontiguousarray(i[:, ::-1]) for i in images], rate
    if kind == "cropped":
        return [np.ascontiguousarray(i[12:258, 24:456]) for i in images], rate
    if kind == "between bars":  # a wide picture on an upright screen
        return [np.pad(i, ((280, 280), (0, 0), (0, 0))) for i in images], rate
    if kind == "slower":
        return images[::2], rate / 2
    if kind == "white bars":
        return [np.pad(i, ((280, 280), (0, 0), (0, 0)), constant_values=255) for i in images], rate
    if kind == "over another picture":
        ground = make_frame(0, seed=9)
        return [paste(ground, cv2.resize(i, (320, 180))) for i in images], rate
    if kind == "turned by 90°":
        return [np.ascontiguousarray(np.rot90(i)) for i in images], rate
    if kind == "turned by 3°":
        centre = ((images[0].shape[1] - 1) / 2, (images[0].shape[0] - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, 3, 1)
        return [cv2.warpAffine(i, matrix, i.shape[1::-1]) for i in images], rate
    if kind == "cropped by 30 %":
        return [np.ascontiguousarray(i[:, : round(0.7 * i.shape[1])]) for i in images], rate
    if kind == "faster":
        return images, rate * 1.2
    return images[31:], rate  # begins in the middle of a period


def paste(ground, picture):
    result = ground.copy()
    result[60 : 60 + picture.shape[0], 110 : 110 + picture.shape[1]] = picture
    return result


KINDS = [
    "mirrored",
    "cropped",
    "slower",
    "trimmed",
    "between bars",
    "white bars",
    "over another picture",
    "turned by 90°",
    "turned by 3°",
    "cropped by 30 %",
    "faster",
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_watermark_survives(installation, kind):
    images, rate = transformed(installation, kind)
    detector = WatermarkDetector(installation.keys.watermark_secret)
    for k, image in enumerate(images):
        detector.add(image, k / rate)
    assert detector.detect().watermark_id == installation.labeller.watermark_id
