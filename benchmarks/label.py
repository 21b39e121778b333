"""What each label costs: milliseconds a frame on one core, and seconds a file.

    python benchmarks/label.py [--sizes 640x360 1280x720 1920x1080 3840x2160] [--frames 60]

Frames are drawn, not recorded: texture and movement enough to keep the mark's masking busy.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch

from heygem import media
from heygem.config.params import LabelSettings
from heygem.provenance import Labeller, VisibleLabel, credentials, keys, verify
from heygem.provenance.fingerprint import FrameHasher, hash_audio
from heygem.provenance.ledger import Ledger
from heygem.provenance.watermark.detect import WatermarkDetector
from heygem.provenance.watermark.embed import WatermarkEmbedder
from heygem.provenance.watermark.embed_torch import TorchWatermarkEmbedder

RATE = 25


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    sizes = ["640x360", "1280x720", "1920x1080", "3840x2160"]
    parser.add_argument("--sizes", nargs="+", default=sizes, metavar="WxH")
    parser.add_argument("--frames", type=int, default=60)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"| size | mark | mark, torch on {device} | visible | fingerprint | reading the mark "
        "| [ms a frame]"
    )
    print("|---|---|---|---|---|---|")
    for size in arguments.sizes:
        width, height = map(int, size.split("x"))
        costs = per_frame(width, height, arguments.frames, device)
        print(f"| {size} | " + " | ".join(f"{value:.2f}" for value in costs) + " |")
    print()
    print("| a 10 s file of 1280x720 | seconds |")
    print("|---|---|")
    for name, seconds in per_file():
        print(f"| {name} | {seconds:.2f} |")


def frames(width, height, count):
    """Drawn frames with texture and movement, one at a time."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(40, 210, (18, 32, 3)).astype(np.uint8), (width, height))
    grain = rng.integers(0, 12, (height, width, 3)).astype(np.uint8)
    for k in range(count):
        image = cv2.add(ground, np.roll(grain, k * 7, axis=1))
        centre = (width // 2 + int(width / 10 * np.sin(k / 9)), height // 2)
        cv2.circle(image, centre, height // 4, (210, 170, 150), -1)
        yield image


def per_frame(width, height, count, device):
    """Milliseconds a frame: mark, mark in torch, visible label, fingerprint, reading the mark."""
    mark = WatermarkEmbedder(bytes(32), 1, width, height)
    torch_mark = TorchWatermarkEmbedder(bytes(32), 1, width, height, device=device)
    label = VisibleLabel(LabelSettings(), width, height)
    hasher, reader = FrameHasher(), WatermarkDetector(bytes(32))
    acts = (mark.embed, torch_mark.embed, lambda i, t: label.draw(i), hasher.add, reader.add)
    spent = [[] for _ in acts]
    for k, image in enumerate(frames(width, height, count)):
        for times, act in zip(spent, acts, strict=True):
            start = time.process_time()  # holds on a busy machine too
            act(image, k / RATE)
            times.append(time.process_time() - start)
    # The fingerprint looks at two frames a second: its mean says more than its median.
    typical = (median, median, median, np.mean, median)
    return [1e3 * pick(times) for pick, times in zip(typical, spent, strict=True)]


def per_file():
    """(what, seconds) for what is done once a file."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        mine = keys.init(folder / "keys")
        book = Ledger(folder / "ledger.db", keys=mine)
        labeller = Labeller(LabelSettings(), 1280, 720, keys=mine)
        path = folder / "result.mp4"
        sound = np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32)
        with media.VideoWriter(
            path, width=1280, height=720, rate=RATE, metadata=labeller.tags, preset="veryfast",
            audio=media.AudioTrack(sound[:, None], 16_000),
        ) as writer:  # fmt: skip
            for k, image in enumerate(frames(1280, 720, 10 * RATE)):
                writer.write(labeller.label_frame(image, k / RATE), k / RATE)

        def timed(name, act):
            start = time.perf_counter()
            result = act()
            return (name, time.perf_counter() - start), result

        yield timed("sound fingerprint", lambda: hash_audio(sound, 16_000))[0]
        yield timed("Content Credentials", lambda: credentials.sign(path, mine, parent=path))[0]
        yield timed("ledger row", lambda: book.append("made", "0" * 64, {"a": 1}))[0]
        yield timed("reading every layer", lambda: verify.verify_file(path, keys=mine))[0]
        other = keys.init(folder / "other")
        row, _ = timed(
            "reading every layer, mark not there, crops searched",
            lambda: verify.verify_file(path, keys=other),
        )
        yield row


if __name__ == "__main__":
    main()
