"""The encoder's settings: sizes of decoded-picture buffers, and what a preset of one's own gets."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from heygem.media.x264 import BALANCED, x264_options


@pytest.mark.parametrize(
    ("size", "references"),
    [((1280, 720), 5), ((640, 360), 5), ((1920, 1080), 4), ((1080, 1920), 4), ((3840, 2160), 1)],
)
def test_balanced_keeps_to_the_references_of_level_4(size, references):
    options = x264_options(BALANCED, 18, *size)
    assert f"ref={references}" in options["x264-params"].split(":")
    macroblocks = -(-size[0] // 16) * -(-size[1] // 16)
    assert references == 1 or references * macroblocks <= 32768


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)])
def test_frames_that_balanced_looks_ahead_at_fit_into_150_mb(size):
    parameters = x264_options(BALANCED, 18, *size)["x264-params"].split(":")
    ahead = dict(each.split("=") for each in parameters)["rc-lookahead"]
    assert int(ahead) * size[0] * size[1] * 3.5 < 150e6  # bytes of a frame and its half size


def test_other_presets_are_x264_s_own():
    assert x264_options("veryfast", 23, 1280, 720) == {"preset": "veryfast", "crf": "23"}
    assert x264_options(BALANCED, 0, 1280, 720)["crf"] == "0"  # which is lossless


def test_what_alternates_every_five_frames_is_predicted_from_a_whole_period_before():
    """The watermark's pattern: with two references, a flat scene of it took 1.5 times the bytes."""
    noise = np.random.default_rng(0).normal(0, 1, (144, 176))
    still = np.random.default_rng(1).integers(60, 190, (9, 11)).repeat(16, 0).repeat(16, 1)

    def size(options):
        coded = io.BytesIO()
        with av.open(coded, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 176, 144, "yuv420p"
            for k in range(60):
                luma = still + (3 if k // 5 % 2 else -3) * np.sign(noise)
                planes = np.full((216, 176), 128, np.uint8)
                planes[:144] = luma.astype(np.uint8)
                frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                frame.pts, frame.time_base = k, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return len(coded.getvalue())

    balanced = x264_options(BALANCED, 18, 176, 144)
    two = balanced["x264-params"].replace("ref=5", "ref=2")
    assert size(balanced) < 0.8 * size(balanced | {"x264-params": two})
