"""Colours: matrices, ranges, bit depth, dynamic range, transparency."""

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import Colorspace, VideoReformatter
from helpers.media import read_frames, write_raw_video
from PIL import Image

from heygem.media import RecordedFrames, VideoWriter
from heygem.media.colour import RgbConverter, usual_matrix
from heygem.media.hdr import PEAK_NITS, WHITE_NITS, display_nits, hdr_to_sdr

PATCHES = np.array(
    [
        [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]],
        [[255, 255, 0], [0, 255, 255], [200, 150, 120], [0, 0, 0]],
        [[90, 60, 50], [20, 30, 40], [128, 128, 128], [230, 200, 190]],
    ],
    np.uint8,
)


def patches():
    return np.repeat(np.repeat(PATCHES, 40, 0), 40, 1)


def patch_error(image):
    return int(np.abs(image[20::40, 20::40].astype(int) - PATCHES).max())


@pytest.mark.parametrize("tag", ["601", "709", "none"])
@pytest.mark.parametrize("full_range", [False, True])
def test_colours_survive_reading_and_writing(tmp_path, tag, full_range):
    matrix = Colorspace.ITU709 if tag == "709" else Colorspace.ITU601  # untagged small is 601
    frame = VideoReformatter().reformat(
        av.VideoFrame.from_ndarray(patches(), format="rgb24"),
        format="yuv420p",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=2 if full_range else 1,
        interpolation=4 | 262144 | 8192,
    )

    def prepare(stream):
        stream.codec_context.colorspace = {"601": 5, "709": 1, "none": 2}[tag]
        stream.codec_context.color_range = 2 if full_range else 1

    path = write_raw_video(tmp_path / "c.mp4", [frame], prepare=prepare, options={"crf": "1"})
    image = read_frames(path)[0][0].image
    assert patch_error(image) <= 3
    with VideoWriter(
        tmp_path / "out.mp4", label=RecordedFrames(), width=160, height=120, rate=25, crf=1
    ) as writer:
        writer.write(image, 0.0)
    assert patch_error(read_frames(tmp_path / "out.mp4")[0][0].image) <= 4
    assert tags(tmp_path / "out.mp4") == (1, 1, 1, 1)  # any player must read it as BT.709


def tags(path):
    """Matrix, primaries, transfer and range that a video's header states."""
    with av.open(str(path)) as container:
        c = container.streams.video[0].codec_context
        assert c.pix_fmt == "yuv420p"
        return c.colorspace, c.color_primaries, c.color_trc, max(1, c.color_range)  # 0 is limited


def opencv_reads(path):
    """First frame as OpenCV shows it, RGB: it takes every video for BT.601."""
    capture = cv2.VideoCapture(str(path))
    try:
        return cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def swscale_reads(path):
    """First frame as FFmpeg shows it, RGB: it goes by the tags."""
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


MATRICES = {1: Colorspace.ITU709, 5: Colorspace.ITU601, 6: Colorspace.ITU601, 9: Colorspace.BT2020}
SOURCES = {  # size, and tags of matrix, primaries, transfer, range: of the source, of the copy
    "untagged, small": ((160, 120), (2, 2, 2, 0), (2, 2, 2, 1)),
    "untagged, wide": ((1280, 120), (2, 2, 2, 0), (2, 2, 2, 1)),
    "untagged, limited range": ((160, 120), (2, 2, 2, 1), (2, 2, 2, 1)),
    "untagged, full range": ((160, 120), (2, 2, 2, 2), (2, 2, 2, 1)),
    "BT.601, 625 lines": ((160, 120), (5, 5, 6, 1), (5, 5, 6, 1)),
    "BT.601, 525 lines, wide": ((1280, 120), (6, 6, 6, 1), (6, 6, 6, 1)),
    "BT.601, full range": ((160, 120), (6, 1, 1, 2), (6, 1, 1, 1)),
    "BT.709, small": ((160, 120), (1, 1, 1, 1), (1, 1, 1, 1)),
    "BT.709, wide": ((1280, 120), (1, 1, 1, 1), (1, 1, 1, 1)),
    "BT.2020, standard range": ((160, 120), (9, 9, 14, 1), (9, 9, 14, 1)),
    # Padded to 1280, from where on players assume BT.709 unless told.
    "untagged, odd": ((1279, 121), (2, 2, 2, 0), (6, 2, 2, 1)),
}


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.slow
def test_every_reader_sees_the_colours_of_the_source(tmp_path, name, ending):
    (width, height), source_tags, copy_tags = SOURCES[name]
    image = cv2.resize(patches(), (width, height), interpolation=cv2.INTER_NEAREST)
    matrix = MATRICES.get(source_tags[0]) or usual_matrix(width, height)
    frame = VideoReformatter().reformat(
        av.VideoFrame.from_ndarray(image, format="rgb24"),
        format="yuv444p",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=source_tags[3] or 1,
    )

    def prepare(stream):
        c = stream.codec_context
        c.colorspace, c.color_primaries, c.color_trc, c.color_range = source_tags

    source, copy = tmp_path / f"source.{ending}", tmp_path / f"copy.{ending}"
    options = {"crf": "1", "preset": "ultrafast"}
    write_raw_video(source, [frame], pixel_format="yuv444p", prepare=prepare, options=options)
    frames, reader = read_frames(source)
    options = {"crf": 1, "preset": "ultrafast", "coding": reader.info.video.coding}
    with VideoWriter(
        copy, label=RecordedFrames(), width=width, height=height, rate=25, **options
    ) as writer:
        writer.write(frames[0].image, 0.0)
    assert tags(copy) == copy_tags
    rows, columns = height // 6 + height // 3 * np.arange(3), width // 8 + width // 4 * np.arange(4)
    readers = [swscale_reads, lambda path: read_frames(path)[0][0].image]
    if source_tags[0] != 9:  # OpenCV takes ten seconds to map primaries other than its own
        readers.append(opencv_reads)
    for reads in readers:
        before, after = (reads(path)[np.ix_(rows, columns)] for path in (source, copy))
        assert np.abs(before.astype(int) - after).max() <= 4


@pytest.mark.parametrize("size", [(160, 120), (1280, 240)])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_video_of_a_picture_has_the_pictures_colours_for_every_reader(tmp_path, size, ending):
    image = cv2.resize(patches(), size, interpolation=cv2.INTER_NEAREST)
    picture, copy = tmp_path / f"picture.{ending}", tmp_path / "copy.mp4"
    Image.fromarray(image).save(picture, **({"quality": 98} if ending == "jpg" else {}))
    frames, reader = read_frames(picture)
    coding = reader.info.video.coding
    with VideoWriter(
        copy, label=RecordedFrames(), width=size[0], height=size[1], rate=25, crf=1, coding=coding
    ) as writer:
        writer.write(frames[0].image, 0.0)
    assert tags(copy)[0] in (1, 5, 6)  # named: a picture says nothing about a video of it
    rows, columns = (size[1] // 6 * np.arange(1, 7, 2), size[0] // 8 * np.arange(1, 9, 2))
    readers = [swscale_reads, lambda path: read_frames(path)[0][0].image]
    if tags(copy)[0] != 1:  # OpenCV takes any video for BT.601
        readers.append(opencv_reads)
    for reads in readers:
        shown = reads(copy)[np.ix_(rows, columns)]
        assert np.abs(shown.astype(int) - PATCHES).max() <= 6


def ten_bit(tmp_path, transfer):
    ramp = np.round(np.linspace(0, 65535, 160)[None, :, None] * np.ones((120, 1, 3)))
    frame = VideoReformatter().reformat(
        av.VideoFrame.from_ndarray(ramp.astype(np.uint16), format="rgb48le"),
        format="yuv420p10le",
        src_colorspace=9,
        dst_colorspace=9,
        src_color_range=2,
        dst_color_range=1,
    )
    frame.color_trc, frame.colorspace, frame.color_primaries, frame.color_range = transfer, 9, 9, 1

    def prepare(stream):
        c = stream.codec_context
        c.color_trc, c.colorspace, c.color_primaries, c.color_range = transfer, 9, 9, 1

    return write_raw_video(
        tmp_path / "ten.mp4",
        [frame],
        pixel_format="yuv420p10le",
        prepare=prepare,
        options={"crf": "5"},
    )


@pytest.mark.parametrize("transfer, name", [(16, "PQ"), (18, "HLG")])
@pytest.mark.slow
def test_high_dynamic_range_is_mapped_and_noted(tmp_path, transfer, name):
    frames, reader = read_frames(ten_bit(tmp_path, transfer))
    assert reader.info.video.hdr == name and reader.info.video.bit_depth == 10
    assert any(name in note for note in reader.notes)
    row = frames[0].image[60, :, 1].astype(int)
    assert (np.diff(row) >= -1).all()  # no banding back and forth
    white = {"PQ": 0.58, "HLG": 0.75}[name]  # the signal of 203 nits, BT.2408
    assert 205 < row[round(white * 159)] < 245
    assert row[0] <= 2 and row[-1] >= 245


def test_ten_bit_standard_range_is_reduced_and_noted(tmp_path):
    frames, reader = read_frames(ten_bit(tmp_path, 1))
    assert reader.info.video.hdr is None
    assert any("10-bit" in note for note in reader.notes)
    assert frames[0].image[60, 80, 1] == pytest.approx(255 * 80 / 159, abs=3)


def test_transparency_is_composited_over_black_and_noted(tmp_path):
    rgba = np.full((48, 64, 4), 200, np.uint8)
    rgba[:, :32, 3], rgba[:, 32:, 3] = 255, 0
    Image.fromarray(rgba).save(tmp_path / "cut.png")
    frames, reader = read_frames(tmp_path / "cut.png")
    assert reader.info.video.alpha
    assert (frames[0].image[:, :32] == 200).all() and (frames[0].image[:, 32:] == 0).all()
    assert any("transparen" in note for note in reader.notes)


def test_pq_is_the_transfer_function_of_st_2084():
    # Signal of 0, 100, 203, 1000 and 10,000 nits; ITU-R BT.2408, table 1 (58 % and 75 %).
    signal = np.repeat(np.array([0, 0.5081, 0.5807, 0.7518, 1])[:, None], 3, 1)
    nits = display_nits(signal, "PQ")[:, 0]
    np.testing.assert_allclose(nits, [0, 100, 203, 1000, 10_000], rtol=2e-3)


def test_hlg_white_and_peak_are_those_of_a_1000_nit_display():
    signal = np.repeat(np.array([0, 0.75, 1])[:, None], 3, 1)
    nits = display_nits(signal, "HLG")[:, 0]
    np.testing.assert_allclose(nits, [0, WHITE_NITS, PEAK_NITS], rtol=5e-3)


@pytest.mark.parametrize("transfer", ["PQ", "HLG"])
def test_tone_mapping_is_monotonic_and_keeps_greys_grey(transfer):
    greys = np.repeat(np.linspace(0, 1, 101)[:, None], 3, 1)
    mapped = hdr_to_sdr(greys, transfer)
    assert mapped[0].max() == 0 and (np.diff(mapped[:, 0]) >= 0).all() and mapped.max() <= 1
    np.testing.assert_allclose(mapped, mapped[:, :1].repeat(3, 1), atol=1e-3)
    dark = display_nits(greys, transfer)[:, 0] < 0.5 * WHITE_NITS  # below the knee: light is kept
    light = display_nits(greys, transfer)[dark, 0] / WHITE_NITS
    np.testing.assert_allclose(mapped[dark, 0] ** 2.4, light, atol=1e-3)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "nv12", "yuv422p10le", "gray"])
def test_planes_are_converted_to_the_values_that_swscale_packs(pixel_format):
    noise = np.random.default_rng(3).integers(0, 255, (72, 96, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=pixel_format)
    converter = RgbConverter()
    packed = converter._reformat(frame, "rgb24", (96, 72)).to_ndarray()
    assert np.array_equal(converter(frame, (96, 72)), packed)
