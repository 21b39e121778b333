"""An attack on the labels: does a film that carries copied ones pass for a result?

    python benchmarks/forgery.py RESULT_CLIP FILM...

In an installation of its own, RESULT_CLIP is labelled like a result. From that one published file
the attacker estimates the invisible watermark, as anybody can who has read the source code: its
pattern is inverted every 0.2 s and the picture under it mostly is not. The estimate is added to
each FILM at several strengths, once as the average of all slots and once slot by slot; then the
metadata and the Content Credentials of the published file are copied into it as well.

Prints what `heygem verify` concludes. Exit code 1 if it takes any of these films for a result.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from heygem import media
from heygem.config.params import LabelSettings
from heygem.core.files import hash_input
from heygem.provenance import Labeller, keys, trace
from heygem.provenance.ledger import Ledger

SLOT_S = 0.2  # between two inversions of the watermark
SECONDS = 5.0
STRENGTHS_DB = (49, 46, 43)  # PSNR between the film and the film with the estimate
WAYS = ("averaged", "slot by slot")
RATE = 25


@dataclass(frozen=True)
class Forgery:
    """What was concluded about one film."""

    film: str
    way: str
    psnr_db: float
    watermark: str
    conclusion: str
    verdict: str


def read(path):
    """Frames at `RATE` a second, uint8 [n, H, W, 3], and the sound."""
    frames, taken = [], 0
    with media.VideoReader(path) as reader:
        for frame in reader:
            if frame.time_s >= SECONDS:
                break
            while taken / RATE <= frame.time_s + 1e-6:
                height, width = (n // 2 * 2 for n in frame.image.shape[:2])
                frames.append(frame.image[:height, :width].copy())
                taken += 1
    track = media.read_audio(path)
    sound = media.AudioTrack(track.samples[: int(SECONDS * track.rate_hz)], track.rate_hz)
    return frames, sound


def write(path, frames, sound, tags=None):
    """Encode frames and sound like a result."""
    height, width = frames[0].shape[:2]
    with media.VideoWriter(
        path, label=media.RecordedFrames(tags or {}), width=width, height=height, rate=RATE,
        audio=sound, preset="veryfast",
    ) as writer:  # fmt: skip
        for k, image in enumerate(frames):
            writer.write(image, k / RATE)
    return path


def publish(clip, path, installed, ledger):
    """Label a clip like a result; returns the path."""
    frames, sound = read(clip)
    height, width = frames[0].shape[:2]
    labeller = Labeller(LabelSettings(), width, height, keys=installed)
    images = [labeller.label_frame(image, k / RATE) for k, image in enumerate(frames)]
    write(path, images, sound, labeller.tags)
    labeller.finalize(
        path,
        ledger=ledger,
        parent=clip,
        title=path.name,
        sound=(sound.samples.mean(1), sound.rate_hz),
        facts={"sources": {"video": hash_input(clip)}},
    )
    return path


def estimate(path):
    """The watermark in every slot, float32 [slots, H, W], from one published file."""
    frames, _ = read(path)
    slots = {}
    for k, image in enumerate(frames):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        # Wiener: what is coarse, or far from its surroundings, is picture and not watermark.
        fine = grey - cv2.GaussianBlur(grey, (0, 0), max(grey.shape) / 100)
        variance = cv2.blur(fine * fine, (15, 15))
        slots.setdefault(int((k / RATE + 1e-4) // SLOT_S), []).append(fine * 9 / (9 + variance))
    means = np.stack([np.mean(slots[k], 0) for k in sorted(slots)])
    neighbours = (np.roll(means, 1, 0) + np.roll(means, -1, 0)) / 2
    return (means - neighbours) / 2


def paste(frames, pattern, psnr_db):
    """Add an estimate [slots, H, W] to frames, at a given PSNR."""
    height, width = frames[0].shape[:2]
    scaled = [cv2.resize(each, (width, height), interpolation=cv2.INTER_CUBIC) for each in pattern]
    rms = np.sqrt(np.mean(np.square(scaled)))
    scaled = [each * 255 * 10 ** (-psnr_db / 20) / rms for each in scaled]
    pasted = []
    for k, image in enumerate(frames):
        slot = int((k / RATE + 1e-4) // SLOT_S) % len(scaled)
        added = image.astype(np.float32) + scaled[slot][..., None]
        pasted.append(np.clip(np.rint(added), 0, 255).astype(np.uint8))
    return pasted


def copy_labels(result, film, path):
    """The coded picture and sound of a film, with the tags and the C2PA box of a result."""
    with (
        av.open(str(result)) as tagged,
        av.open(str(film)) as coded,
        av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as out,
    ):
        out.metadata.update(tagged.metadata)
        streams = {each.index: out.add_stream_from_template(each) for each in coded.streams}
        for packet in coded.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    box = c2pa_box(result.read_bytes())
    with open(path, "ab") as stream:
        stream.write(box)
    return path


def c2pa_box(data):
    """The box of the Content Credentials in an MP4."""
    position = 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"uuid":
            return data[position : position + size]
        position += size or len(data)
    return b""


def forge(result, film, folder):
    """Yield a `Forgery` for every way and strength of pasting a result's labels onto a film."""
    pattern = estimate(result)
    signs = (-1.0) ** np.arange(len(pattern))
    average = np.mean(pattern * signs[:, None, None], 0)
    patterns = {"averaged": average * signs[:, None, None], "slot by slot": pattern}
    frames, sound = read(film)
    for way in WAYS:
        for psnr_db in STRENGTHS_DB:
            pasted = write(folder / "pasted.mp4", paste(frames, patterns[way], psnr_db), sound)
            forged = copy_labels(result, pasted, folder / "forged.mp4")
            traced = trace.trace_file(forged)
            values = traced.verification.layers["watermark"].values
            yield Forgery(
                Path(film).name,
                way,
                psnr_db,
                "decodes as ours" if "watermark_id" in values else "not found",
                traced.conclusion,
                traced.verdict,
            )


def run(clip, films):
    """Forge every film in an installation of its own; returns a list of `Forgery`."""
    before = os.environ.get("HEYGEM_RECORDS")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HEYGEM_RECORDS"] = str(folder / "records")
        try:
            installed = keys.ensure()
            ledger = Ledger(keys=installed)
            result = publish(clip, folder / "result.mp4", installed, ledger)
            return [each for film in films for each in forge(result, film, folder)]
        finally:
            os.environ.pop("HEYGEM_RECORDS")
            if before is not None:
                os.environ["HEYGEM_RECORDS"] = before


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("result", type=Path, metavar="RESULT_CLIP")
    parser.add_argument("films", type=Path, nargs="+", metavar="FILM")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    forgeries = run(arguments.result, arguments.films)
    print("| Film | Estimate | PSNR | Watermark | Conclusion |\n|---|---|---|---|---|")
    for each in forgeries:
        print(
            f"| {each.film} | {each.way} | {each.psnr_db} dB | {each.watermark} | "
            f"{each.conclusion}; {each.verdict} |"
        )
    sys.exit(any(each.conclusion != trace.NOT_THIS_RUN for each in forgeries))


if __name__ == "__main__":
    main()
