"""Fixtures that several test modules share."""

import gc
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import disks
from helpers.media import RATE_HZ, gape, real_data, tone, write_raw_video, write_video, write_wav
from helpers.rendering import plan

from heygem.media import RecordedFrames, VideoWriter

# A forked child has the objects of this process but not its threads. Were it to collect a video
# decoder, it would wait for that decoder's threads for ever.
os.register_at_fork(after_in_child=gc.disable)


@pytest.fixture(scope="session")
def data():
    """Real clips; a test that asks for them is skipped where there are none."""
    folder = real_data()
    if folder is None:
        pytest.skip("no real clips here (HEYGEM_TEST_DATA)")
    return folder


@pytest.fixture
def clip(tmp_path) -> Path:
    """One second, 64x48, 25 frames a second, with a 440 Hz tone at 16 kHz."""
    return write_video(tmp_path / "clip.mp4", audio=tone())


@pytest.fixture
def tiny_disk(tmp_path) -> Iterator[Path]:
    """A real disk of one megabyte."""
    with disks.mounted(tmp_path / "tiny", "1m") as folder:
        yield folder


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
    from heygem.core import assets
    from heygem.face.backends import MediaPipeBackend

    return MediaPipeBackend(assets.path)


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
    from heygem.config.params import FaceSettings

    return avatar.load(hopper_still, FaceSettings(), backend=faces, cache=False)


@pytest.fixture(scope="session")
def talking(hopper, hopper_avatar, tmp_path_factory):
    """A clip of the portrait whose head sways and whose mouth opens and shuts.

    Returns (path, opening float32 [40]): 40 frames at 25 a second, 512x600, without sound; the
    opening is the one the clip was made with, in IOD.
    """
    import cv2

    from heygem.config.params import RendererSettings
    from heygem.rendering.compose import paste
    from heygem.rendering.warp.renderer import WarpRenderer

    opening = (0.07 - 0.07 * np.cos(np.arange(40) / 40 * 4 * np.pi)).astype(np.float32)
    renderer = WarpRenderer(hopper_avatar, RendererSettings())
    plan(renderer, gape(opening, hopper_avatar.rest.neutral), np.zeros(40, int))
    path = tmp_path_factory.mktemp("people") / "talking.mp4"
    with VideoWriter(
        path, label=RecordedFrames(), width=512, height=600, rate=25, crf=12
    ) as writer:
        for k in range(40):
            image = paste(hopper, renderer.render(hopper, k))
            sway = cv2.getRotationMatrix2D((256, 500), 2.5 * np.sin(k / 6), 1)
            sway[:, 2] += (3 * np.sin(k / 5), 2 * np.cos(k / 7))
            image = cv2.warpAffine(image, sway, (512, 600), borderMode=cv2.BORDER_REFLECT)
            writer.write(image, k / 25)
    return path, opening
