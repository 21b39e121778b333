"""Errors of the fingerprint on honest copies and on unrelated files: where its limits come from.

    python benchmarks/fingerprint.py CLIP...

Pictures: four seconds of every clip, five frames a second, go through the attacks that the
watermark is measured with (`benchmarks/watermark.py`) and some harder ones, and are encoded by x264
at crf 28. Sound: encoded, shifted, made noisy, played at other speeds. Unrelated: every clip and
three others. `same`, `unknown` and `different` are the answers of `heygem.provenance.similarity`.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import av
import cv2
import numpy as np
import watermark as robustness

from heygem import media
from heygem.provenance.fingerprint import FrameHasher
from heygem.provenance.similarity import ExaminedContent, compare

SECONDS = 4.0
RATE = 5
UNRELATED = 3  # other clips that each one is compared with


def white_bars(frames):
    """White bars above and below, to fill a portrait screen."""
    height, width = frames[0][0].shape[:2]
    edge = max((width * 16 // 9 - height) // 4 * 2, 0)
    pad = (edge, edge, 0, 0)
    return [(cv2.copyMakeBorder(i, *pad, cv2.BORDER_CONSTANT, value=(255,) * 3), t)
            for i, t in frames]  # fmt: skip


def blurred_bars(frames):
    """Above and below, the picture itself, enlarged and blurred, to fill a portrait screen."""
    height, width = frames[0][0].shape[:2]
    full = max(width * 16 // 9 // 2 * 2, height)
    top = (full - height) // 4 * 2
    results = []
    for image, time_s in frames:
        wide = cv2.resize(image, (width * full // height, full))
        left = (wide.shape[1] - width) // 2
        page = cv2.GaussianBlur(wide[:, left : left + width], (0, 0), width / 40)
        page[top : top + height] = image
        results.append((page, time_s))
    return results


def inset(frames):
    """At 60 % of the size inside another picture."""
    height, width = frames[0][0].shape[:2]
    noise = np.random.default_rng(5).integers(0, 255, (9, 16, 3)).astype(np.uint8)
    page = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    size = round(width * 0.6), round(height * 0.6)
    top, left = round(height * 0.33), round(width * 0.36)
    results = []
    for image, time_s in frames:
        copy = page.copy()
        copy[top : top + size[1], left : left + size[0]] = cv2.resize(
            image, size, interpolation=cv2.INTER_AREA
        )
        results.append((copy, time_s))
    return results


def quarter_turn(frames):
    """Turned by 90°."""
    return [(np.ascontiguousarray(np.rot90(i)), t) for i, t in frames]


HARDER = {
    "cropped by 30 %": robustness.crop(*[0.15] * 4),
    "cropped by 25 % at the top": robustness.crop(top=0.25),
    "turned by 5°": robustness.rotate(5),
    "turned by 90°": quarter_turn,
    "white bars": white_bars,
    "blurred bars": blurred_bars,
    "picture in picture, 60 %": inset,
}
# Of the watermark's attacks, those that differ in what they do to the picture.
TRIED = (
    "H.264 crf 28, 2 s",
    "scaled to 0.5, crf 28",
    "to 12 frames a second, crf 28",
    "mirrored, crf 28",
    "cropped by 5 % on each side (10 %), crf 23",
    "cropped by 10 % on the left, crf 28",
    "mirrored and cropped by 10 %, crf 23",
    "first 1.3 s cut off, crf 28",
    "brightened and blurred, crf 28",
    "black bars to an upright screen, crf 28",
    "played 5 % faster, crf 28",
    "turned by 2°, crf 28",
    "off a screen: in a bright window, 6 % larger, 30 frames a second",
)
PICTURES = {name: robustness.ATTACKS[name][1] for name in TRIED} | HARDER


def content_of(frames, samples=None, rate_hz=16_000):
    """What comparisons need of a list of (frame, time)."""
    hasher = FrameHasher()
    for image, time_s in frames:
        hasher.add(np.ascontiguousarray(image), time_s)
    return ExaminedContent.of(hasher, np.zeros(0) if samples is None else samples, rate_hz)


def recoded(frames, folder):
    """Through x264 at crf 28, cut to even sizes."""
    even = [(i[: i.shape[0] // 2 * 2, : i.shape[1] // 2 * 2], t) for i, t in frames]
    robustness.encode(folder / "copy.mkv", even, crf=28)
    return robustness.decode(folder / "copy.mkv")


def resampled(samples, rate_hz, new_rate_hz):
    """Samples at another rate."""
    count = int(len(samples) * new_rate_hz / rate_hz)
    positions = np.arange(count) * rate_hz / new_rate_hz
    return np.interp(positions, np.arange(len(samples)), samples).astype(np.float32)


def coded_sound(samples, rate_hz, folder, *, bit_rate, at_hz):
    """Through AAC, mono."""
    path = folder / "copy.m4a"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=at_hz)
        stream.layout, stream.bit_rate = "mono", bit_rate
        data = resampled(samples, rate_hz, at_hz)[None]
        frame = av.AudioFrame.from_ndarray(data, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = at_hz, 0
        resampler = av.AudioResampler("fltp", "mono", at_hz, frame_size=1024)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    track = media.read_audio(path)
    return track.samples.mean(1), track.rate_hz


def sounds(samples, rate_hz, folder):
    """Yield (name, samples, rate in Hz) of every changed copy of a sound."""
    level = np.sqrt(np.mean(samples**2))
    noise = np.random.default_rng(1).normal(0, level, len(samples)).astype(np.float32)
    yield "as it is", samples, rate_hz
    yield "AAC 48 kbit/s", *coded_sound(samples, rate_hz, folder, bit_rate=48_000, at_hz=44_100)
    yield "AAC 24 kbit/s", *coded_sound(samples, rate_hz, folder, bit_rate=24_000, at_hz=22_050)
    yield "first 1.3 s cut off", samples[int(1.3 * rate_hz) :], rate_hz
    yield "noise, 20 dB below", samples + 0.1 * noise, rate_hz
    yield "noise, 10 dB below", samples + 0.316 * noise, rate_hz
    for speed in (0.8, 0.9, 0.95, 1.05):
        yield f"speed {speed}", samples, round(rate_hz * speed)


def measure_pictures(clips, results):
    """Compare every clip with its own copies and with other clips."""
    originals = {clip: robustness.rate(RATE)(robustness.span(clip, 0, SECONDS)) for clip in clips}
    recorded = {clip: content_of(frames).fingerprint for clip, frames in originals.items()}
    with tempfile.TemporaryDirectory() as folder:
        for clip, frames in originals.items():
            print(clip, file=sys.stderr)
            for name, attack in PICTURES.items():
                copy = content_of(recoded(attack(frames), Path(folder)))
                results["picture", name].append(compare(copy, recorded[clip]))
    for clip, frames in originals.items():
        others = [each for each in clips if each.parent != clip.parent]
        content = content_of(frames)
        for other in random.Random(str(clip.name)).sample(others, min(UNRELATED, len(others))):
            results["picture", "UNRELATED"].append(compare(content, recorded[other]))


def measure_sounds(clips, results):
    """Compare the sound of every clip with its own copies and with other clips."""
    originals = {}
    for clip in clips:
        track = media.read_audio(clip)
        samples = track.samples.mean(1)[: int(5 * track.rate_hz)]
        if len(samples) > 3 * track.rate_hz and np.sqrt(np.mean(samples**2)) > 0.003:
            originals[clip] = (samples, track.rate_hz)
    contents = {clip: content_of([], *sound) for clip, sound in originals.items()}
    with tempfile.TemporaryDirectory() as folder:
        for clip, sound in originals.items():
            for name, samples, rate_hz in sounds(*sound, Path(folder)):
                copy = content_of([], samples, rate_hz)
                results["sound", name].append(compare(copy, contents[clip].fingerprint))
    for clip, content in contents.items():
        others = [each for each in contents if each.parent != clip.parent]
        for other in random.Random(str(clip.name)).sample(others, min(UNRELATED, len(others))):
            results["sound", "UNRELATED"].append(compare(content, contents[other].fingerprint))


def table(results):
    """Print the answers, and the errors that they were decided by, as Markdown."""
    print("| | | same | unknown | different | direct error | error after search |")
    print("|---|---|---|---|---|---|---|")
    for (kind, name), all_of in results.items():
        answers = Counter(getattr(each, kind) for each in all_of)
        direct = [getattr(each, f"{kind}_error") for each in all_of]
        found = [each.layout_error for each in all_of] if kind == "picture" else []
        print(
            f"| {kind} | {name} | {answers['same']} | {answers['unknown'] + answers['absent']} | "
            f"{answers['different']} | {spread(direct)} | {spread(found)} |"
        )


def spread(errors):
    """Smallest, median and largest error, in percent."""
    measured = [each for each in errors if each is not None]
    if not measured:
        return ""
    low, middle, high = 100 * np.quantile(measured, [0, 0.5, 1])
    return f"{low:.0f}, {middle:.0f}, {high:.0f} %"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clips", type=Path, nargs="+", metavar="CLIP")
    parser.add_argument("--only", choices=["picture", "sound"])
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    results = defaultdict(list)
    if arguments.only != "sound":
        measure_pictures(arguments.clips, results)
    if arguments.only != "picture":
        measure_sounds(arguments.clips, results)
    table(results)


if __name__ == "__main__":
    main()
