"""Clips to label and to verify."""

import contextlib

import av
import cv2
import numpy as np

from heygem import media
from heygem.provenance import trace
from heygem.provenance.verify import verify_file

RATE = 25
WIDTH, HEIGHT = 480, 272
SECONDS = 3.0


def make_frame(k, seed=0):
    """A moving scene with texture, as uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.integers(60, 190, (9, 16, 3)).astype(np.uint8), (WIDTH, HEIGHT))
    grain = np.random.default_rng(1000 * seed + k).normal(0, 2, ground.shape)
    image = np.clip(ground + grain, 0, 255).astype(np.uint8)
    centre = (int(240 + 60 * np.sin(k / 9)), int(140 + 10 * np.cos(k / 5)))
    cv2.ellipse(image, centre, (50, 70), 5 * np.sin(k / 7), 0, 360, (200, 160, 140), -1)
    return image


def make_audio(seed=0):
    """A voice-like signal: float32 [n, 1] at 16 kHz."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(SECONDS * 16000)) / 16000
    pitch = 120 + 40 * np.interp(t, np.linspace(0, SECONDS, 12), rng.normal(0, 1, 12))
    tone = sum(np.sin(2 * np.pi * np.cumsum(pitch * h) / 16000) / h for h in range(1, 12))
    loud = np.interp(t, np.linspace(0, SECONDS, 20), rng.uniform(0, 0.15, 20))
    return (tone * loud + rng.normal(0, 0.005, len(t))).astype(np.float32)[:, None]


def write_clip(path, images, *, tags=None, sound=None, crf=18, rate=RATE):
    """Encode frames uint8 [H, W, 3], RGB, and audio as of `make_audio`; returns the path."""
    track = None if sound is None else media.AudioTrack(sound, 16000)
    height, width = images[0].shape[:2]
    with media.VideoWriter(
        path, label=media.RecordedFrames(tags or {}), width=width, height=height, rate=rate,
        audio=track, crf=crf, preset="veryfast",
    ) as writer:  # fmt: skip
        for k, image in enumerate(images):
            writer.write(image, k / rate)
    return path


def verify_in(installation, path, **more):
    """Verify a file with the keys and the ledger of an installation."""
    known_ids = installation.ledger.watermark_ids()
    return verify_file(path, keys=installation.keys, known_ids=known_ids, **more)


def trace_in(installation, path, **more):
    """What is concluded about a file with the keys and the ledger of an installation."""
    return trace.conclude(verify_in(installation, path, **more), installation.ledger)


def remux(target, *, tags_of, packets_of):
    """Write the tags of one file and the coded packets of others, without encoding."""
    with contextlib.ExitStack() as opened:
        tagged, *coded = (
            opened.enter_context(av.open(str(path))) for path in (tags_of, *packets_of)
        )
        options = {"movflags": "use_metadata_tags"}
        out = opened.enter_context(av.open(str(target), "w", options=options))
        out.metadata.update(tagged.metadata)
        streams = [
            {each.index: out.add_stream_from_template(each) for each in source.streams}
            for source in coded
        ]
        for source, copies in zip(coded, streams, strict=True):
            for packet in source.demux():
                if packet.size:
                    packet.stream = copies[packet.stream.index]
                    out.mux(packet)
    return target
