"""Small media made on the spot: nothing here is downloaded, and nothing stays."""

import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from heygem.core.errors import InputError
from heygem.media import AudioTrack, RecordedFrames, VideoReader, VideoWriter

RATE_HZ = 16_000


def real_data() -> Path | None:
    """The folder of real clips for the tests that can use one, or None."""
    named = os.environ.get("HEYGEM_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[3] / "shared" / "data"
    return folder if folder.is_dir() else None


def picture(index=0, width=64, height=48) -> np.ndarray:
    """uint8 [H, W, 3]: smooth colours that move with ``index``."""
    y, x = np.mgrid[:height, :width]
    phase = index / 10
    image = np.stack(
        [
            127 + 90 * np.sin(x / 17 + phase),
            127 + 90 * np.sin(y / 13 - phase),
            127 + 60 * np.cos((x + y) / 29 + phase),
        ],
        axis=-1,
    )
    return image.astype(np.uint8)


def tone(seconds=1.0, rate_hz=RATE_HZ, channels=1, hz=440.0, level=0.3) -> AudioTrack:
    """A sine in every channel."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = (level * np.sin(2 * np.pi * hz * t)).astype(np.float32)
    return AudioTrack(np.repeat(wave[:, None], channels, 1), rate_hz)


def write_wav(path, samples, rate_hz=RATE_HZ, codec="pcm_f32le") -> Path:
    """Write float32 [n] or [n, channels] to a WAV (or what the ending says) with PyAV."""
    samples = np.asarray(samples, np.float32)
    samples = samples[:, None] if samples.ndim == 1 else samples
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
    sink = "s16" if codec == "pcm_s16le" else None
    with av.open("file:" + os.fspath(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz)
        stream.layout = layout
        resampler = av.AudioResampler(sink or stream.codec_context.format, layout, rate_hz)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples).reshape(1, -1), format="flt", layout=layout
        )
        frame.sample_rate = rate_hz
        frame.pts, frame.time_base = 0, Fraction(1, rate_hz)  # or AAC's priming goes untold
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return Path(path)


def raw_wav(path, samples, rate_hz=RATE_HZ, *, declared_bytes=None) -> Path:
    """A float WAV whose header says what it is told to, from samples [n] or [n, channels]."""
    samples = np.asarray(samples, "<f4")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    data = samples.tobytes()
    size = len(data) if declared_bytes is None else declared_bytes
    block = 4 * channels
    header = b"RIFF" + struct.pack("<I", min(36 + size, 0xFFFFFFFF)) + b"WAVEfmt "
    header += struct.pack("<IHHIIHH", 16, 3, channels, rate_hz, rate_hz * block, block, 32)
    Path(path).write_bytes(header + b"data" + struct.pack("<I", size) + data)
    return Path(path)


def write_video(
    path,
    *,
    frames=25,
    width=64,
    height=48,
    rate=25,
    times_s=None,
    audio=None,
    make=picture,
    **options,
) -> Path:
    """A small MP4 through `VideoWriter`; ``make(index, width, height)`` draws each frame."""
    rate = Fraction(rate)
    options.setdefault("preset", "ultrafast")
    with VideoWriter(
        path, label=RecordedFrames(), width=width, height=height, rate=rate, audio=audio, **options
    ) as out:
        for i in range(frames):
            out.write(make(i, width, height), float(i / rate) if times_s is None else times_s[i])
    return Path(path)


def write_raw_video(
    path,
    frames,
    *,
    rate=25,
    codec="libx264",
    pixel_format="yuv420p",
    prepare=None,
    rotate_deg=0,
    options=None,
    tags=None,
    container_options=None,
) -> Path:
    """Encode av.VideoFrames as they are, for colour, depth, alpha and rotation tests.

    ``prepare(stream)`` may set the stream up; frames without pts are spaced at ``rate``.
    """
    with av.open(
        "file:" + os.fspath(path), "w", container_options=container_options or {}
    ) as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = pixel_format
        stream.options = options or {}
        container.metadata.update(tags or {})
        if rotate_deg:
            stream.set_display_rotation(rotate_deg)
        if prepare:
            prepare(stream)
        for i, frame in enumerate(frames):
            if frame.pts is None:
                frame.pts, frame.time_base = i, 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path)


def gape(opening, neutral) -> np.ndarray:
    """Displacement of a jaw that drops by `opening` [T] : float32 [T, len(LOWER), 3].

    `neutral` float32 [468, 3] is the person's canonical mouth at rest.
    """
    from heygem.face import topology as topo
    from heygem.face.topology import LOWER

    lower = neutral[LOWER]
    line = neutral[list(topo.LIP_MIDDLE), 1].mean()
    middle = neutral[topo.LIPS_INNER, 0].mean()
    half = np.ptp(neutral[topo.LIPS_INNER, 0]) / 2
    across = np.clip(1 - ((lower[:, 0] - middle) / half) ** 2, 0, 1)
    upper = np.isin(LOWER, topo.INNER_UPPER)
    upper |= (lower[:, 1] < line) & ~np.isin(LOWER, topo.INNER_LOWER)
    down = np.where(upper, 0, np.maximum(across, 0.6 * (lower[:, 1] > line + 0.25)))
    moved = np.zeros((len(opening), len(LOWER), 3), np.float32)
    moved[..., 1] = np.asarray(opening)[:, None] * down
    return moved


def synthetic_voice(seconds=2.0, rate_hz=RATE_HZ, level=0.2, seed=0) -> np.ndarray:
    """float32 [n]: a pulse train through three formants, in syllables; passes for a voice."""
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    n = round(seconds * rate_hz)
    t = np.arange(n) / rate_hz
    pitch_hz = 120 + 20 * np.sin(2 * np.pi * 0.7 * t)
    pulses = np.sign(np.diff(np.floor(np.cumsum(pitch_hz) / rate_hz), prepend=0))
    wave = pulses + 0.01 * rng.normal(size=n)
    for hz, width in ((600, 80), (1400, 120), (2600, 160)):
        r = np.exp(-np.pi * width / rate_hz)
        wave = lfilter([1], [1, -2 * r * np.cos(2 * np.pi * hz / rate_hz), r * r], wave)
    syllables = np.clip(np.sin(2 * np.pi * 2 * t) + 0.3, 0, 1)
    wave = wave * syllables
    return (level * wave / np.abs(wave).max()).astype(np.float32)


def sung_notes(rate_hz=RATE_HZ, level=0.4, pause_s=0.6) -> np.ndarray:
    """float32 [n]: three long vowels with vibrato, and a pause after each; a song, not speech."""
    from scipy.signal import lfilter

    notes = []
    for pitch_hz, formants_hz in (
        (262, (800, 1200, 2500)),
        (330, (300, 2300, 3000)),
        (392, (450, 850, 2500)),
    ):
        t = np.arange(round(1.2 * rate_hz)) / rate_hz
        vibrato = 1 + 0.015 * np.sin(2 * np.pi * 5.5 * t)
        phase = np.floor(np.cumsum(pitch_hz * vibrato) / rate_hz)
        wave = lfilter([1], [1, -0.95], np.diff(phase, prepend=0))
        for hz in formants_hz:
            r = np.exp(-np.pi * 90 / rate_hz)
            wave = lfilter([1], [1, -2 * r * np.cos(2 * np.pi * hz / rate_hz), r * r], wave)
        envelope = np.clip(np.minimum(t / 0.05, (1.2 - t) / 0.08), 0, 1)
        notes += [wave / np.abs(wave).max() * envelope, np.zeros(round(pause_s * rate_hz))]
    return (level * np.concatenate(notes)).astype(np.float32)


def read_frames(path, **span):
    """All frames of a video, and the closed reader with its `info` and `notes`."""
    with VideoReader(path, **span) as reader:
        frames = list(reader)
    return frames, reader


def part_files(folder) -> list[str]:
    """Names of unfinished output files in a folder."""
    return [p.name for p in folder.iterdir() if p.name.endswith(".part")]


def refusal(call, error_type=InputError) -> str:
    """The message with which a call fails: one line of reasonable length."""
    with pytest.raises(error_type) as error:
        call()
    text = str(error.value)
    assert "\n" not in text and len(text) < 600
    return text
