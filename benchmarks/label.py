"""Cost of each label: milliseconds per frame on one core, and seconds per file.

    python benchmarks/label.py [--sizes 640x360 1280x720 1920x1080 3840x2160] [--frames 60]

Frames are synthetic, with enough texture and motion to exercise the watermark's masking.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from heygem import media
from heygem.config.params import LabelSettings
from heygem.provenance import Labeller, VisibleLabel, credentials, keys, verify
from heygem.provenance.fingerprint import FrameHasher, hash_audio
from heygem.provenance.ledger import Ledger
from heygem.provenance.watermark.detect import WatermarkDetector
from heygem.provenance.watermark.embed import WatermarkEmbedder

RATE = 25


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sizes = ["640x360", "1280x720", "1920x1080", "3840x2160"]
    parser.add_argument("--sizes", nargs="+", default=sizes, metavar="WxH")
    parser.add_argument("--frames", type=int, default=60)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    print("| size | watermark | visible | fingerprint | detection | [ms a frame]")
    print("|---|---|---|---|---|")
    for size in arguments.sizes:
        width, height = map(int, size.split("x"))
        costs = per_frame(width, height, arguments.frames)
        print(f"| {size} | " + " | ".join(f"{value:.2f}" for value in costs) + " |")
    print()
    print("| a 10 s file of 1280x720 | seconds |")
    print("|---|---|")
    for name, seconds in per_file():
        print(f"| {name} | {seconds:.2f} |")


def frames(width, height, count):
    """Yield synthetic frames with texture and motion : uint8 [H, W, 3]."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(40, 210, (18, 32, 3)).astype(np.uint8), (width, height))
    grain = rng.integers(0, 12, (height, width, 3)).astype(np.uint8)
    for k in range(count):
        image = cv2.add(ground, np.roll(grain, k * 7, axis=1))
        centre = (width // 2 + int(width / 10 * np.sin(k / 9)), height // 2)
        cv2.circle(image, centre, height // 4, (210, 170, 150), -1)
        yield image


def per_frame(width, height, count):
    """Milliseconds per frame, in the order of the table's columns."""
    embedder = WatermarkEmbedder(bytes(32), 1, width, height)
    label = VisibleLabel(LabelSettings(), width, height)
    hasher, detector = FrameHasher(), WatermarkDetector(bytes(32))
    operations = (
        embedder.embed,
        lambda i, t: label.draw(i),
        hasher.add,
        detector.add,
    )
    spent = [[] for _ in operations]
    for k, image in enumerate(frames(width, height, count)):
        for times, operation in zip(spent, operations, strict=True):
            start = time.process_time()  # does not depend on the machine's load
            operation(image, k / RATE)
            times.append(time.process_time() - start)
    # The fingerprint hashes two frames a second only, so its median would be near 0.
    typical = (median, median, median, np.mean, median)
    return [1e3 * pick(times) for pick, times in zip(typical, spent, strict=True)]


def per_file():
    """Yield (name, seconds) of the steps that are done once per file."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        signing_keys = keys.init(folder / "keys")
        ledger = Ledger(folder / "ledger.db", keys=signing_keys)
        labeller = Labeller(LabelSettings(), 1280, 720, keys=signing_keys)
        path = folder / "result.mp4"
        sound = np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)
        with media.VideoWriter(
            path, width=1280, height=720, rate=RATE, label=labeller, preset="veryfast",
            audio=media.AudioTrack(sound[:, None], 16_000),
        ) as writer:  # fmt: skip
            for k, image in enumerate(frames(1280, 720, 10 * RATE)):
                writer.write(image, k / RATE)

        def timed(name, operation):
            start = time.perf_counter()
            result = operation()
            return (name, time.perf_counter() - start), result

        yield timed("sound fingerprint", lambda: hash_audio(sound, 16_000))[0]
        yield timed(
            "Content Credentials",
            lambda: credentials.sign(path, signing_keys, parent=path, title="benchmark"),
        )[0]
        yield timed("ledger row", lambda: ledger.append("made", "0" * 64, {"a": 1}))[0]
        yield timed("reading every layer", lambda: verify.verify_file(path, keys=signing_keys))[0]
        other_keys = keys.init(folder / "other" / "keys")
        row, _ = timed(
            "reading every layer, no watermark, crops searched",
            lambda: verify.verify_file(path, keys=other_keys),
        )
        yield row


if __name__ == "__main__":
    main()
