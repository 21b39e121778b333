"""Audio of files: alignment with the video, rates, streaming, WAV output."""

from fractions import Fraction

import av
import numpy as np
import pytest
from helpers.media import picture, read_frames, tone, write_video, write_wav

import heygem.media
from heygem.media import AudioFile, AudioTrack, RecordedFrames, VideoWriter, read_audio
from heygem.media.audio_filter import filter_blocks


def flash_and_beep(seconds, rate=Fraction(30000, 1001), rate_hz=48_000, every_s=2.0):
    """Image maker and sound: white frames and beeps that start at the same moment."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    first = {int(np.ceil(k * every_s * rate)) for k in range(1, int(seconds / every_s))}
    sound = np.zeros(len(t), np.float32)
    for frame in first:
        at = float(frame / rate)
        on = (t >= at) & (t < at + 0.05)
        sound[on] = 0.5 * np.sin(2 * np.pi * 1000 * (t[on] - at))
    make = lambda i, w, h: np.full((h, w, 3), 255 if i in first else 0, np.uint8)  # noqa: E731
    return make, AudioTrack(sound[:, None], rate_hz), int(seconds * rate)


def measured_offsets_s(path):
    """Sound minus picture at every flash, seconds."""
    flashes = [f.time_s for f in read_frames(path)[0] if f.image.mean() > 128]
    track = read_audio(path)
    loud = np.flatnonzero(np.abs(track.samples[:, 0]) > 0.1) / track.rate_hz
    beeps = loud[np.concatenate([[True], np.diff(loud) > 0.5])]
    assert len(flashes) == len(beeps) > 0
    return beeps - np.array(flashes)


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz, ending", [(48_000, "mp4"), (44_100, "mp4"), (16_000, "mkv")])
def test_audio_and_video_stay_in_sync(tmp_path, rate_hz, ending):
    make, audio, frames = flash_and_beep(20, rate_hz=rate_hz)
    path = write_video(
        tmp_path / f"sync.{ending}",
        frames=frames,
        rate=Fraction(30000, 1001),
        audio=audio,
        make=make,
    )
    assert np.abs(measured_offsets_s(path)).max() < 0.005


@pytest.mark.slow
def test_audio_keeps_the_source_rate_and_channels(tmp_path):
    sound = tone(1.5, rate_hz=44_100, channels=2)
    path = write_video(tmp_path / "s.mp4", frames=38, audio=sound)
    back = read_audio(path)
    assert back.rate_hz == 44_100 and back.channels == 2
    assert back.duration_s == pytest.approx(1.5, abs=0.03)
    n = len(sound.samples)
    assert np.abs(back.samples[2000 : n - 2000] - sound.samples[2000:-2000]).max() < 0.05


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_audio_read_back_has_its_original_length(tmp_path, rate_hz):
    path = write_video(tmp_path / "s.mp4", frames=25, audio=tone(1.01, rate_hz))
    assert len(read_audio(path).samples) == round(1.01 * rate_hz)


def test_a_rate_aac_lacks_is_resampled_and_noted(tmp_path):
    with VideoWriter(
        tmp_path / "r.mp4",
        label=RecordedFrames(),
        width=64,
        height=48,
        rate=25,
        audio=tone(1, rate_hz=20_000),
    ) as writer:
        for i in range(25):
            writer.write(picture(i), i / 25)
    assert any("20000" in note for note in writer.notes)
    back = read_audio(tmp_path / "r.mp4")
    assert back.rate_hz == 22_050 and back.duration_s == pytest.approx(1, abs=0.05)
    peak = np.abs(np.fft.rfft(back.samples[:, 0] * np.hanning(len(back.samples)))).argmax()
    assert peak * 22_050 / len(back.samples) == pytest.approx(440, abs=2)


def test_streamed_and_loaded_audio_are_the_same(clip):
    assert (np.concatenate(list(AudioFile(clip).blocks())) == read_audio(clip).samples).all()


@pytest.mark.parametrize("shift_s", [-0.3, 0.4])
def test_audio_is_aligned_to_the_first_frame_of_its_own_video(tmp_path, shift_s):
    """The beep lies ``0.7 + shift_s`` after the sound starts, the sound starts at ``-shift_s``."""
    path = tmp_path / "shift.mkv"
    beep = np.zeros((48_000, 1), np.float32)
    beep[round((0.7 - shift_s) * 16_000) :][:800] = 0.5
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16_000)
        sound.layout = "mono"
        for i in range(50):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            frame.pts, frame.time_base = i + 25, Fraction(1, 25)  # pictures start at 1 s
            container.mux(video.encode(frame))
        block = av.AudioFrame.from_ndarray(
            (beep.T * 32767).astype(np.int16), format="s16", layout="mono"
        )
        block.sample_rate = 16_000
        block.pts, block.time_base = round((1 + shift_s) * 16_000), Fraction(1, 16_000)
        container.mux(sound.encode(block))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    samples = read_audio(path).samples[:, 0]
    assert np.flatnonzero(np.abs(samples) > 0.1)[0] / 16_000 == pytest.approx(0.7, abs=0.002)


@pytest.mark.parametrize("early", [2, 10])
@pytest.mark.slow
def test_a_matroska_that_starts_before_zero_is_whole_and_in_sync(tmp_path, early):
    """Matroska has no negative times: FFmpeg reads the frames before 0 without any."""
    make, audio, _ = flash_and_beep(3, rate=Fraction(25), every_s=1.0)
    path = tmp_path / "early.mkv"
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(path), "w", container_options=options) as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 25)
        sound = container.add_stream("pcm_f32le", rate=48_000, layout="mono")
        for i in range(75):
            frame = av.VideoFrame.from_ndarray(make(i, 64, 48), format="rgb24")
            frame.pts, frame.time_base = i - early, Fraction(1, 25)
            container.mux(video.encode(frame))
            block = audio.samples[i * 1920 : (i + 1) * 1920].reshape(1, -1)
            heard = av.AudioFrame.from_ndarray(block, format="flt", layout="mono")
            heard.sample_rate, heard.time_base = 48_000, Fraction(1, 48_000)
            heard.pts = (i - early) * 1920
            container.mux(sound.encode(heard))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    times_s = [frame.time_s for frame in read_frames(path)[0]]
    assert np.allclose(times_s, np.arange(75) / 25, atol=0.002)
    assert np.abs(measured_offsets_s(path)).max() < 0.005


def test_an_audio_file_can_be_read_more_than_once(tmp_path):
    path = write_wav(tmp_path / "v.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 32_000))
    file = AudioFile(path)
    first = file.samples
    assert (file.samples == first).all() and np.abs(first).max() > 0.4
    assert file.duration_s == pytest.approx(2, abs=0.001)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_written_wav_holds_the_samples_rounded_to_16_bits(tmp_path, channels):
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (1000, channels)).astype(np.float32)
    samples[:2] = [[2.0], [-2.0]]  # beyond full scale
    path = tmp_path / "a.wav"
    heygem.media.write_wav(path, samples if channels > 1 else samples[:, 0], 22_050)
    track = read_audio(path)
    assert track.rate_hz == 22_050 and track.samples.shape == (1000, channels)
    np.testing.assert_allclose(track.samples * 32768 / 32767, samples.clip(-1, 1), atol=2e-5)


def test_a_filter_keeps_length_and_channels():
    track = tone(0.5, rate_hz=48_000, channels=2)
    blocks = list(filter_blocks(track.blocks(), 48_000, "stereo", [("volume", "0.5")]))
    np.testing.assert_allclose(np.concatenate(blocks), track.samples / 2, atol=1e-6)
