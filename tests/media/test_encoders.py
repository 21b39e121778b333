"""Which encoder writes a film, and that a GPU's is used only where it has been seen to work."""

import av
import pytest
import torch
from helpers.media import picture

from heygem import media
from heygem.core import gpu as gpu_driver
from heygem.core.errors import ParameterError
from heygem.media import encoders
from heygem.media.encoders import NVENC, X264, choose_encoder

SIZE = {"width": 640, "height": 360}


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that encodes, for which x264 stands in; with its own refusals."""
    answers = {}
    monkeypatch.setattr(encoders, "nvenc_refusal", lambda w, h: answers.get((w, h)))
    return answers


def test_a_film_that_is_computed_on_the_cpu_is_encoded_there(gpu):
    assert choose_encoder("auto", device="cpu", **SIZE) == encoders.Encoder(X264)
    assert choose_encoder("x264", device="cuda", **SIZE) == encoders.Encoder(X264)


def test_a_gpu_that_can_encode_does_and_the_report_says_why(gpu):
    for asked, why in (("auto", "device: cuda"), ("nvenc", "asked for")):
        chosen = choose_encoder(asked, device="cuda", **SIZE)
        assert chosen.codec == NVENC and why in chosen.note
    assert choose_encoder("nvenc", device="cpu", **SIZE).codec == NVENC


def test_a_gpu_that_cannot_is_left_out_or_refused_with_its_reason(gpu):
    gpu[SIZE["width"], SIZE["height"]] = "no session left"
    chosen = choose_encoder("auto", device="cuda", **SIZE)
    assert chosen.codec == X264 and "no session left" in chosen.note
    with pytest.raises(ParameterError, match="no GPU can encode here; seen: no session left"):
        choose_encoder("nvenc", device="cuda", **SIZE)


def test_an_odd_size_is_tried_as_it_is_encoded(gpu):
    gpu[642, 362] = "too small"
    assert choose_encoder("auto", device="cuda", width=641, height=361).codec == X264


def test_a_trial_encodes_and_decodes():
    """x264 passes it; NVENC passes it on a GPU alone."""
    assert encoders.trial(X264, 320, 240) is None
    assert encoders.trial(X264, 0, 0) == "libx264: Invalid argument"
    assert encoders.trial("h264_none", 320, 240) == "FFmpeg has no h264_none"
    refusal = encoders.trial(NVENC, 320, 240)
    assert (refusal is None) == torch.cuda.is_available()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_driver_nothing_is_tried(monkeypatch):
    monkeypatch.setattr(gpu_driver, "has_driver", lambda: False)
    encoders.nvenc_refusal.cache_clear()
    assert encoders.nvenc_refusal(320, 240) == "no GPU's driver is installed"
    encoders.nvenc_refusal.cache_clear()


def test_options_are_ones_that_nvenc_has():
    options = av.CodecContext.create(NVENC, "w").supported_options
    known = {option.name for option in (*options.generic, *options.private)}
    for preset in encoders._NVENC_PRESETS:
        for crf in (0, 18):
            options = encoders.encoder_options(NVENC, crf, preset, 640, 360)
            assert set(options) <= known


def test_the_writer_uses_the_encoder_it_is_given(tmp_path, monkeypatch):
    """MPEG-4 stands for an encoder that is not x264."""
    monkeypatch.setattr(encoders, "encoder_options", lambda *_: {})
    monkeypatch.setattr("heygem.media.writer.encoder_options", lambda *_: {})
    label = media.RecordedFrames()
    with media.VideoWriter(
        tmp_path / "a.mp4", label=label, width=64, height=48, rate=25, codec="mpeg4"
    ) as writer:
        writer.write(picture(), 0.0)
    assert media.probe(tmp_path / "a.mp4").video.codec == "mpeg4"
