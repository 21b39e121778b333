"""Frames in the codec's own planes."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace
from helpers.media import write_raw_video

from heygem.core.errors import ParameterError
from heygem.media import RecordedFrames, VideoReader, VideoWriter
from heygem.media.colour import BT709, ColourCoding, rgb_factors, ycbcr_factors
from heygem.media.yuv import FrameBuffers, YuvImage

SIZE = (120, 160)
BT601 = ColourCoding(Colorspace.ITU601, 6)


@pytest.fixture(params=[BT709, BT601], ids=["709", "601"])
def coded(request, tmp_path):
    """A decoded frame, and its path: smooth colours, as of a camera."""
    rng = np.random.default_rng(4)
    frame = av.VideoFrame(SIZE[1], SIZE[0], "yuv420p")
    for plane, base in zip(frame.planes, (110, 120, 140), strict=True):
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        noise = rng.integers(-30, 30, (plane.height // 4 + 1, plane.width // 4 + 1))
        rows[:, : plane.width] = (
            base + np.kron(noise, np.ones((4, 4)))[: plane.height, : plane.width]
        )

    def prepare(stream):
        stream.codec_context.colorspace = request.param.space
        stream.codec_context.color_range = 1

    path = write_raw_video(tmp_path / "c.mp4", [frame], prepare=prepare, options={"crf": "1"})
    with VideoReader(path) as reader:
        image = next(iter(reader)).image
        planes = next(reader.yuv_images(request.param))
        yield image, planes, path


def values(image):
    return [np.array(getattr(image, name), int) for name in "yuv"]


def test_windows_are_what_the_whole_conversion_gives(coded):
    image, planes, _ = coded
    rng = np.random.default_rng(1)
    assert np.abs(planes.rgb().astype(int) - image).max() <= 1
    for _ in range(50):
        (y0, x0), (h, w) = rng.integers(0, (100, 140)), rng.integers(1, (60, 90))
        fresh = YuvImage(planes.frame, planes.matrix)
        window = np.s_[y0 : y0 + h, x0 : x0 + w]
        assert (fresh[window] == planes.rgb()[window]).all()


def test_a_patch_changes_its_own_pixels_alone(coded):
    _, planes, _ = coded
    rng = np.random.default_rng(2)
    for _ in range(30):
        y, x = rng.integers(0, (80, 110))
        h, w = rng.integers(1, (40, 50))
        mask = rng.random((h, w)) < 0.6
        pixels = np.full((h, w, 3), (150, 90, 60), np.uint8)
        out = planes.copy()
        out.paste(pixels, mask, x, y)
        covered = np.zeros(SIZE, bool)
        covered[y : y + h, x : x + w] = mask
        blocks = covered.reshape(SIZE[0] // 2, 2, SIZE[1] // 2, 2).any((1, 3))
        for now, before, part in zip(
            values(out), values(planes), (covered, blocks, blocks), strict=True
        ):
            assert (now[~part] == before[~part]).all()
        expected = ycbcr_factors(planes.matrix) @ (150, 90, 60)
        assert not mask.any() or np.abs(out.y[covered] - 16 - expected[0]).max() <= 1


def test_a_uniform_patch_has_its_colour(coded):
    _, planes, _ = coded
    out = planes.copy()
    out.paste(np.full((40, 40, 3), (150, 90, 60), np.uint8), np.ones((40, 40), bool), 21, 31)
    inner = out[35:67, 25:57].astype(int)  # beyond the chroma that it shares with its surroundings
    assert np.abs(inner - (150, 90, 60)).max() <= 2


def test_factors_of_both_directions_agree():
    for matrix in (Colorspace.ITU709, Colorspace.ITU601, Colorspace.BT2020):
        y, cb, cr = ycbcr_factors(matrix) @ np.array([200.0, 90.0, 40.0])
        c = rgb_factors(matrix)
        rgb = (c[0] * y + c[1] * cr, c[0] * y + c[2] * cb + c[3] * cr, c[0] * y + c[4] * cb)
        assert np.allclose(rgb, (200, 90, 40), atol=0.01)


def test_other_frames_are_converted_once(coded):
    """A coding with another matrix cannot take the planes as they are."""
    image, planes, path = coded
    other = BT601 if planes.matrix == Colorspace.ITU709 else BT709
    with VideoReader(path) as reader:
        converted = next(reader.yuv_images(other))
    assert converted.matrix == other.matrix
    assert np.abs(converted.y.astype(int) - planes.y).max() > 2
    assert np.abs(converted.rgb().astype(int) - image).mean() < 5  # chroma steps of 4x4 pixels


def test_planes_reach_the_encoder_as_they_are(coded, tmp_path):
    _, planes, _ = coded
    coding = BT709 if planes.matrix == Colorspace.ITU709 else BT601
    before = values(planes)
    options = {"label": RecordedFrames(), "width": SIZE[1], "height": SIZE[0], "rate": Fraction(25)}
    out = tmp_path / "out.mp4"
    with VideoWriter(out, crf=0, coding=coding, **options) as writer:  # crf 0 is lossless
        writer.write(planes, 0.0)
    with VideoReader(out) as reader:
        written = values(next(reader.yuv_images(coding)))
    assert all((a == b).all() for a, b in zip(written, before, strict=True))
    with VideoWriter(out, coding=BT709, **options) as writer, pytest.raises(ParameterError):
        writer.write(YuvImage(planes.frame, Colorspace.BT2020), 0.0)


def test_copies_use_memory_again_that_nothing_refers_to_any_more():
    buffers = FrameBuffers()
    source = YuvImage(av.VideoFrame(16, 8, "yuv420p"), Colorspace.ITU709, buffers)
    for k, plane in enumerate((source.y, source.u, source.v)):
        plane[...] = 10 + k
    kept, given_up = source.copy(), source.copy()
    view = given_up.u  # one view of a plane is enough to keep the frame
    place = given_up.y.ctypes.data
    del given_up
    third = source.copy()
    assert place not in (kept.y.ctypes.data, third.y.ctypes.data)
    assert (view == 11).all()
    del view
    fourth = source.copy()
    assert fourth.y.ctypes.data == place
    fourth.y[...] = 99
    for copied in (kept, third):
        assert [np.unique(p).tolist() for p in (copied.y, copied.u, copied.v)] == [[10], [11], [12]]
