"""Small media made on the spot: nothing here is downloaded, and nothing is kept."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from heygem.media import AudioTrack, VideoWriter

RATE_HZ = 16_000


def real_data() -> Path | None:
    """The folder of real clips for the tests that can use one, or None."""
    named = os.environ.get("HEYGEM_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def data():
    """Real clips; a test that asks for them is skipped where there are none."""
    folder = real_data()
    if folder is None:
        pytest.skip("no real clips here (HEYGEM_TEST_DATA)")
    return folder


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
    with VideoWriter(path, width=width, height=height, rate=rate, audio=audio, **options) as out:
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


@pytest.fixture
def clip(tmp_path) -> Path:
    """One second, 64x48, 25 frames a second, with a 440 Hz tone at 16 kHz."""
    return write_video(tmp_path / "clip.mp4", audio=tone())


@pytest.fixture
def silent_clip(tmp_path) -> Path:
    """As `clip`, without a sound track."""
    return write_video(tmp_path / "silent.mp4")


@pytest.fixture
def vfr_clip(tmp_path) -> tuple[Path, np.ndarray]:
    """A video of uneven frame times, and those times in seconds, float64 [T]."""
    steps = np.resize([33, 50, 17, 100, 34, 66], 30)
    times_s = np.concatenate([[0], np.cumsum(steps)[:-1]]) / 1000
    path = write_video(
        tmp_path / "vfr.mp4", frames=30, times_s=times_s, rate=20, time_base=Fraction(1, 1000)
    )
    return path, times_s


@pytest.fixture
def rotated_clip(tmp_path) -> Path:
    """A phone video: 64x48 stored, to be shown 48x64, top left red in the upright picture."""
    upright = np.zeros((64, 48, 3), np.uint8)
    upright[:32, :24] = (255, 0, 0)
    stored = np.ascontiguousarray(np.rot90(upright))  # the sensor's view
    frames = [av.VideoFrame.from_ndarray(stored, format="rgb24") for _ in range(5)]
    return write_raw_video(tmp_path / "phone.mp4", frames, rotate_deg=-90)


@pytest.fixture
def wav(tmp_path) -> Path:
    """One second of a 440 Hz tone, 16 kHz mono."""
    return write_wav(tmp_path / "tone.wav", tone().samples)


@pytest.fixture
def short_wav(tmp_path) -> Path:
    """0.05 s of sound: too short to speak."""
    return write_wav(tmp_path / "short.wav", tone(0.05).samples)


@pytest.fixture
def empty_wav(tmp_path) -> Path:
    """Two seconds of digital silence."""
    return write_wav(tmp_path / "empty.wav", np.zeros(2 * RATE_HZ, np.float32))


@pytest.fixture
def truncated_clip(tmp_path) -> Path:
    """A faststart MP4 that lost its second half on the way."""
    whole = write_video(tmp_path / "whole.mp4", frames=100, width=160, height=120, crf=5)
    cut = tmp_path / "truncated.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return cut


@pytest.fixture(scope="session")
def hopper() -> np.ndarray:
    """Grace Hopper's portrait (public domain, inside matplotlib) : uint8 [600, 512, 3]."""
    from matplotlib import cbook
    from PIL import Image

    with cbook.get_sample_data("grace_hopper.jpg") as f:
        return np.asarray(Image.open(f).convert("RGB"))


@pytest.fixture(scope="session")
def faces():
    """The default face backend, loaded once."""
    from heygem import assets
    from heygem.face.litert import MeshBackend

    return MeshBackend(assets.path)


@pytest.fixture(scope="session")
def hopper_still(hopper, tmp_path_factory) -> Path:
    """The portrait as a file."""
    from PIL import Image

    path = tmp_path_factory.mktemp("people") / "hopper.png"
    Image.fromarray(hopper).save(path)
    return path


@pytest.fixture(scope="session")
def hopper_avatar(hopper_still, faces):
    """The portrait as an avatar."""
    from heygem import avatar
    from heygem.params import FaceSettings

    return avatar.load(hopper_still, FaceSettings(), backend=faces, cache=False)


@pytest.fixture(scope="session")
def talking(hopper, hopper_avatar, tmp_path_factory):
    """A clip of the portrait whose head sways and whose mouth opens and shuts.

    Returns (path, opening float32 [40]): 40 frames at 25 a second, 512x600, without sound; the
    opening is what was asked for, in eye distances.
    """
    import cv2

    from heygem.compose import paste
    from heygem.params import RendererSettings
    from heygem.renderer import Renderer

    opening = (0.07 - 0.07 * np.cos(np.arange(40) / 40 * 4 * np.pi)).astype(np.float32)
    renderer = Renderer(hopper_avatar, RendererSettings())
    renderer.plan(gape(opening, hopper_avatar.rest.neutral), np.zeros(40, int))
    path = tmp_path_factory.mktemp("people") / "talking.mp4"
    with VideoWriter(path, width=512, height=600, rate=25, crf=12) as writer:
        for k in range(40):
            image = paste(hopper, renderer.render(hopper, k))
            sway = cv2.getRotationMatrix2D((256, 500), 2.5 * np.sin(k / 6), 1)
            sway[:, 2] += (3 * np.sin(k / 5), 2 * np.cos(k / 7))
            image = cv2.warpAffine(image, sway, (512, 600), borderMode=cv2.BORDER_REFLECT)
            writer.write(image, k / 25)
    return path, opening


def gape(opening, neutral) -> np.ndarray:
    """Displacement of a jaw that drops by `opening` [T] : float32 [T, len(LOWER), 3].

    `neutral` float32 [468, 3] is the person's canonical mouth at rest.
    """
    from heygem.face import topology as topo
    from heygem.face.geometry import LOWER

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
