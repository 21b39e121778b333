"""Clips whose mouth follows their sound by a known rule; settings that train within seconds."""

from pathlib import Path

import numpy as np

from heygem.face import topology as topo
from heygem.face.topology import LOWER
from heygem.lips.features import extract_features
from heygem.lips.trajectory import Trajectory
from heygem.training.clip import Clip, Source
from heygem.training.settings import TrainSettings

SMALL = TrainSettings(
    networks=2,
    iterations=60,
    sync_iterations=40,
    batch=8,
    window_s=1.28,
    coefficients=3,
    width=24,
    dilations=(1, 2),
    eval_every=30,
    learning_rate=5e-3,
)


def speech(seconds, rng):
    """Sound whose loudness swings like syllables, and the swing at 50 Hz."""
    rows = int(seconds * 50)
    swing = np.convolve(rng.normal(size=rows + 40), np.hanning(12), "same")[20 : rows + 20]
    swing = np.clip(swing / swing.std() / 2 + 0.5, 0, 1.5)
    envelope = np.interp(np.arange(rows * 320) / 320, np.arange(rows), swing)
    carrier = rng.normal(size=rows * 320)
    return (0.1 * envelope * carrier).astype(np.float32), swing.astype(np.float32)


def talking(who, seed, *, late_s=0.0, seconds=8.0, licence="own", split="train", gap=0.08):
    """A clip whose lower lip follows the sound, `late_s` later."""
    rng = np.random.default_rng(seed)
    samples, swing = speech(seconds, rng)
    rows = len(swing)
    follow = np.interp(np.arange(rows) - late_s * 50, np.arange(rows), swing)
    displacement = np.zeros((rows, len(LOWER), 3), np.float32)
    place = {int(p): i for i, p in enumerate(LOWER)}
    for point in topo.LIPS_INNER[11:]:
        displacement[:, place[int(point)], 1] = gap * follow
    displacement += rng.normal(0, 1e-4, displacement.shape).astype(np.float32)
    source = Source(Path(f"{who}-{seed}.mp4"), who, split, licence, "ours", "made")
    return Clip(
        source,
        f"{who}{seed}",
        features=extract_features(samples, rows=rows),
        voice=np.ones(2 * rows, np.float32),
        displacement=displacement,
        valid=np.ones(rows, bool),
    )


def _mouth():
    """Shapes: a lower lip that drops by 1 IOD, and corners that part by as much."""
    place = {int(point): row for row, point in enumerate(LOWER)}
    shapes = np.zeros((2, len(LOWER), 3), np.float32)
    for point in topo.LIPS_INNER[11:]:
        shapes[0, place[int(point)], 1] = 1
    for point, side in zip(topo.MOUTH_CORNERS, (-0.5, 0.5), strict=True):
        shapes[1, place[int(point)], 0] = side
    return shapes


MOUTH = _mouth()


def prediction(opening, width=None):
    """A trajectory of the mouth of two curves, float [N]."""
    width = np.zeros_like(opening) if width is None else width
    return Trajectory(np.stack([opening, width], 1).astype(np.float32), 50.0, MOUTH)
