"""Labels computed in batches against those of the CPU's path, which they have to equal."""

import cv2
import numpy as np
import pytest
import torch
from helpers.labelled import HEIGHT, RATE, WIDTH, make_frame

from heygem.config.params import LabelSettings
from heygem.media import VideoReader, VideoWriter
from heygem.media.colour import BT709
from heygem.media.yuv import YuvImage
from heygem.provenance import torch_label
from heygem.provenance.fingerprint import FrameHasher
from heygem.provenance.labeller import Labeller
from heygem.provenance.watermark.detect import WatermarkDetector

MAX_LEVELS = 1  # by which a value may differ
MAX_SHARE = 1e-4  # of the values that may
RUN = ("0" * 32, 0x0123456789ABCDEF)
ON_CPU = "cpu:0"  # PyTorch's CPU, in place of a GPU

DEVICES = [
    ON_CPU,
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
    ),
]


def pictures(size, count):
    """Frames of a scene with grain, in planes."""
    enlarged = (
        cv2.resize(make_frame(k), size, interpolation=cv2.INTER_CUBIC) for k in range(count)
    )
    return [YuvImage.from_rgb(image, BT709.matrix) for image in enlarged]


def labeller(installation, size, device="cpu", **settings):
    values = LabelSettings(**settings)
    return Labeller(values, *size, keys=installation.keys, continues=RUN, device=device)


def one_by_one(mark, images, times_s):
    return [mark.label_frame(image, time_s) for image, time_s in zip(images, times_s, strict=True)]


def require_alike(labelled, expected):
    assert len(labelled) == len(expected)
    for name in "yuv":
        ours, others = (np.stack([getattr(i, name) for i in each]) for each in (labelled, expected))
        levels = np.abs(ours.astype(int) - others)
        assert levels.max() <= MAX_LEVELS and (levels > 0).mean() <= MAX_SHARE, name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(1282, 722), (960, 640), (854, 480), (480, 272)])
def test_a_batch_is_labelled_like_the_same_frames_one_by_one(installation, size, device):
    """Both signs of the pattern, three periods, a label that ends, and another run goes on."""
    images, times_s = pictures(size, 9), np.arange(9) * 0.11 + 2.5
    settings = {"seconds": 3.0}
    expected_by = labeller(installation, size, **settings)
    expected = one_by_one(expected_by, images, times_s)
    first, second = (labeller(installation, size, device, **settings) for _ in range(2))
    labelled = [*first.label_frames(images[:4], times_s[:4])]
    second.restore(first.state())
    labelled += second.label_frames(images[4:], times_s[4:])
    require_alike(labelled, expected)
    assert all(a is not b for a, b in zip(labelled, images, strict=True)), "the given ones stay"
    state, other = second.state(), expected_by.state()
    assert state.keys() == other.keys()
    exact = [name for name in state if name.startswith("watermark.")]
    assert len(exact) == 2 and all(np.array_equal(state[n], other[n]) for n in exact)


def test_every_operation_is_computed_on_the_device(installation):
    """Tensors of the device "meta" hold no data, and cannot be mixed with those of the CPU."""
    with pytest.raises(NotImplementedError, match="copy out of meta"):  # the finished planes
        labeller(installation, (854, 480), "meta").label_frames(pictures((854, 480), 5), range(5))


def test_the_detector_reads_the_id_of_a_batch(installation):
    mark = labeller(installation, (WIDTH, HEIGHT), ON_CPU)
    images, times_s = pictures((WIDTH, HEIGHT), 50), np.arange(50) / RATE
    for image in images:
        image.is_for_encoder = True  # labelled itself
    detector = WatermarkDetector(installation.keys.watermark_secret)
    for first in range(0, 50, 16):
        part = slice(first, first + 16)
        for image, time_s in zip(
            mark.label_frames(images[part], times_s[part]), times_s[part], strict=True
        ):
            detector.add(image.rgb(), time_s)
    assert detector.detect([RUN[1]], search=False).watermark_id == RUN[1]


@pytest.mark.fault
@pytest.mark.parametrize("fitting", [2, 0])
def test_memory_that_runs_out_leaves_no_frame_unlabelled(installation, monkeypatch, fitting):
    """Every frame once, in order: those that fit on the device, the others on the CPU."""
    size, times_s, hashed = (WIDTH, HEIGHT), np.arange(11) * 0.11, []
    sizes, label = [], torch_label._Pictures.label

    def small(self, frames, planned, shown):
        sizes.append(len(frames))
        if len(frames) > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return label(self, frames, planned, shown)

    monkeypatch.setattr(torch_label._Pictures, "label", small)
    add = FrameHasher.add
    monkeypatch.setattr(FrameHasher, "add", lambda *a: (hashed.append(a[2]), add(*a)))
    mark, images = labeller(installation, size, ON_CPU), pictures(size, 11)
    labelled = mark.label_frames(images[:7], times_s[:7])
    assert hashed == times_s[:7].tolist()
    labelled += mark.label_frames(images[7:], times_s[7:])
    assert sizes == ([7, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] if fitting else [7, 3, 1])
    require_alike(labelled, one_by_one(labeller(installation, size), images, times_s))
    assert ("at most 1 at once" if fitting else "the CPU does the rest") in mark._on_device.note


def test_frames_without_planes_and_without_watermark_stay_on_the_cpu(installation, monkeypatch):
    monkeypatch.setattr(torch_label, "TorchLabels", lambda *_: pytest.fail("went to the device"))
    images, size = [make_frame(k) for k in range(2)], (WIDTH, HEIGHT)
    rgb = labeller(installation, size, ON_CPU).label_frames(images, [0.0, 0.2])
    expected = one_by_one(labeller(installation, size), images, [0.0, 0.2])
    assert np.array_equal(rgb, expected)
    plain = labeller(installation, size, ON_CPU, watermark=False)
    assert len(plain.label_frames(pictures(size, 2), [0.0, 0.2])) == 2


def test_a_batch_is_written_like_its_frames(installation, tmp_path):
    written = []
    for name, at_once in (("a.mp4", 1), ("b.mp4", 4)):
        mark = labeller(installation, (WIDTH, HEIGHT))
        images = pictures((WIDTH, HEIGHT), 6)
        options = {"width": WIDTH, "height": HEIGHT, "rate": RATE, "preset": "ultrafast"}
        with VideoWriter(tmp_path / name, label=mark, **options) as writer:
            for first in range(0, 6, at_once):
                part = range(first, min(first + at_once, 6))
                writer.write_batch([images[k] for k in part], [k / RATE for k in part])
        assert writer.frames == 6 and writer.label_cpu_s > 0
        with VideoReader(tmp_path / name) as reader:
            written.append([frame.image for frame in reader])
    assert np.array_equal(*written)
