"""Detection of the watermark in transformed copies."""

import numpy as np
import pytest
from helpers.labelled import RATE

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
    return images[31:], rate  # begins in the middle of a period


@pytest.mark.parametrize("kind", ["mirrored", "cropped", "slower", "trimmed", "between bars"])
def test_the_watermark_survives(installation, kind):
    images, rate = transformed(installation, kind)
    detector = WatermarkDetector(installation.keys.watermark_secret)
    for k, image in enumerate(images):
        detector.add(image, k / rate)
    assert detector.detect().watermark_id == installation.labeller.watermark_id
