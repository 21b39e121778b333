"""Robustness, cost and false positives of the invisible watermark.

    python benchmarks/watermark.py survive OUT.jsonl CLIP...   each clip through every attack
    python benchmarks/watermark.py alarms OUT.jsonl CLIP...    segments of 3 s without a watermark
    python benchmarks/watermark.py table OUT.jsonl...          the results as Markdown

Each clip gets a random id, the watermark and the visible label in the codec's planes, and is
encoded like a result; then it is attacked, encoded again and read. Every result is
appended to the file at once, so that an interrupted run can be continued. *Decoded* counts ids read
from the pixels alone; *recognised* also counts ids matched against a list of known ones.
"""

import argparse
import contextlib
import json
import random
import tempfile
from collections import defaultdict
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import Colorspace

from heygem import media
from heygem.config.params import LabelSettings, MediaSettings
from heygem.media.x264 import x264_options
from heygem.media.yuv import YuvImage
from heygem.provenance import VisibleLabel
from heygem.provenance.watermark.detect import WatermarkDetector
from heygem.provenance.watermark.embed import WatermarkEmbedder, new_id

SECRET = b"benchmark" * 4
KNOWN_IDS = [random.Random(7).getrandbits(64) for _ in range(300)]
SEGMENT_S = 3.0
PRESET = MediaSettings().preset


# --- files ---


def span(path, start_s, length_s, step=2):
    """[(uint8 [H, W, 3], time in s)] of a segment, cut to even sizes; times from 0."""
    frames = []
    with media.VideoReader(path) as reader:
        for frame in reader:
            if frame.time_s >= start_s + length_s - 1e-6:
                break
            if frame.time_s >= start_s:
                h, w = (n // step * step for n in frame.image.shape[:2])
                frames.append((frame.image[:h, :w].copy(), frame.time_s - start_s))
    return frames


def encode_result(path, frames, preset=PRESET):
    """Write frames as a job does at crf 18; returns bytes."""
    height, width = frames[0][0].shape[:2]
    return encode(path, frames, **x264_options(preset, 18, width, height))


def encode(path, frames, *, codec="libx264", preset="veryfast", **options):
    """Write frames, RGB or in planes, with their own times; returns bytes."""
    height, width = frames[0][0].shape[:2]
    if codec != "libvpx-vp9":
        options["preset"] = preset
    with av.open(str(path), "w", format="matroska") as box:
        stream = box.add_stream(codec, rate=rate_of(frames))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        stream.codec_context.thread_count = 1
        if "b" in options:
            stream.bit_rate = int(options.pop("b"))
        if codec == "libx265":
            options["x265-params"] = "log-level=error:pools=none:frame-threads=1"
        stream.options = {key: str(value) for key, value in options.items()}
        if isinstance(frames[0][0], YuvImage):
            stream.codec_context.colorspace = int(frames[0][0].matrix)
        for image, time_s in frames:
            if isinstance(image, YuvImage):
                frame = image.frame
            else:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            box.mux(stream.encode(frame))
        box.mux(stream.encode())
    return Path(path).stat().st_size


def rate_of(frames):
    step = np.median(np.diff([time_s for _, time_s in frames]))
    return Fraction(round(1000 / step), 1000)


def decode(path):
    with media.VideoReader(path) as reader:
        return [(frame.image, frame.time_s) for frame in reader]


# --- attacks: frames in, frames out ---


def scale(factor=None, lines=None):
    def apply(frames):
        height, width = frames[0][0].shape[:2]
        by = factor if factor is not None else min(1.0, lines / min(height, width))
        size = (max(round(width * by / 2) * 2, 2), max(round(height * by / 2) * 2, 2))
        return [(cv2.resize(i, size, interpolation=cv2.INTER_AREA), t) for i, t in frames]

    return apply


def rate(hertz):
    def apply(frames):
        times = np.array([t for _, t in frames])
        sample_times = np.arange(0, times[-1] + 1e-6, 1 / hertz)
        return [(frames[int(np.argmin(np.abs(times - t)))][0], float(t)) for t in sample_times]

    return apply


def crop(left=0.0, top=0.0, right=0.0, bottom=0.0):
    def apply(frames):
        height, width = frames[0][0].shape[:2]
        x0, x1 = round(left * width), round((1 - right) * width)
        y0, y1 = round(top * height), round((1 - bottom) * height)
        x1, y1 = x1 - (x1 - x0) % 2, y1 - (y1 - y0) % 2
        return [(i[y0:y1, x0:x1], t) for i, t in frames]

    return apply


def mirror(frames):
    return [(i[:, ::-1], t) for i, t in frames]


def trim(seconds):
    return lambda frames: [(i, t - seconds) for i, t in frames if t >= seconds - 1e-6]


def faster(factor):
    return lambda frames: [(i, t / factor) for i, t in frames]


def rotate(degrees):
    def apply(frames):
        height, width = frames[0][0].shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
        mode = cv2.BORDER_REPLICATE
        return [(cv2.warpAffine(i, matrix, (width, height), borderMode=mode), t) for i, t in frames]

    return apply


def brighten_and_blur(frames):
    table = (255 * (np.arange(256) / 255) ** 0.85).astype(np.uint8)
    return [(cv2.GaussianBlur(cv2.LUT(i, table), (3, 3), 0.7), t) for i, t in frames]


def bars(frames):
    """Black bars above and below, to fill a portrait screen."""
    height, width = frames[0][0].shape[:2]
    edge = max((width * 16 // 9 - height) // 4 * 2, 0)
    pad = (edge, edge, 0, 0)
    return [(cv2.copyMakeBorder(i, *pad, cv2.BORDER_CONSTANT), t) for i, t in frames]


def portrait(fill):
    """To an upright screen, as reposts are: between bars that `fill` makes from a frame."""

    def apply(frames):
        result = []
        for image, time_s in frames:
            height, width = image.shape[:2]
            canvas = fill(image, (width * 16 // 9 // 2 * 2, width))
            top = (canvas.shape[0] - height) // 4 * 2
            canvas[top : top + height] = image
            result.append((canvas, time_s))
        return result

    return apply


def white_bars(image, shape):
    return np.full((*shape, 3), 255, np.uint8)


def blurred_bars(image, shape):
    height, width = shape
    scale = height / image.shape[0] / 8
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), width / 200)
    left = (small.shape[1] - width // 8) // 2
    part = small[:, left : left + width // 8]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)


def captioned_bars(image, shape):
    canvas = np.full((*shape, 3), 24, np.uint8)
    for share, text in ((0.15, "YOU WON'T BELIEVE THIS"), (0.88, "follow for more")):
        place = (shape[1] // 12, round(shape[0] * share))
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, shape[1] / 560, (250,) * 3, 2)
    return canvas


def picture_in_picture(share, is_moving):
    """Over a still or moving picture, towards one corner."""

    def apply(frames):
        height, width = frames[0][0].shape[:2]
        size = (round(width * share / 2) * 2, round(height * share / 2) * 2)
        left, top = round((width - size[0]) * 0.8), round((height - size[1]) * 0.7)
        rng = np.random.default_rng(5)
        coarse = cv2.resize(rng.integers(30, 220, (12, 20, 3)).astype(np.uint8),
                            (width, height), interpolation=cv2.INTER_CUBIC)  # fmt: skip
        grain = rng.normal(0, 6, (height, width, 1))
        ground = np.clip(coarse + grain, 0, 255).astype(np.uint8)
        result = []
        for k, (image, time_s) in enumerate(frames):
            canvas = np.roll(ground, 2 * k, 1) if is_moving else ground.copy()
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            canvas[top : top + size[1], left : left + size[0]] = small
            result.append((canvas, time_s))
        return result

    return apply


def turn(times):
    """By right angles, anticlockwise."""
    return lambda frames: [(np.ascontiguousarray(np.rot90(i, times)), t) for i, t in frames]


def rotate_and_fill(degrees):
    """Turned, and enlarged until the corners are filled."""

    def apply(frames):
        height, width = frames[0][0].shape[:2]
        angle = np.deg2rad(abs(degrees))
        zoom = np.cos(angle) + max(width / height, height / width) * np.sin(angle)
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, zoom)
        return [(cv2.warpAffine(i, matrix, (width, height)), t) for i, t in frames]

    return apply


def screen(frames):
    """Recorded off a screen: in a bright window, 6 % larger, at 30 frames a second."""
    height, width = frames[0][0].shape[:2]
    size = (round(width * 1.06), round(height * 1.06))
    pad = (round(height * 0.09) // 2 * 2, round(height * 0.05) // 2 * 2, 40, 40)
    resampled = [
        (cv2.resize(i, size, interpolation=cv2.INTER_LINEAR), t) for i, t in rate(30)(frames)
    ]
    grey = [(cv2.copyMakeBorder(i, *pad, cv2.BORDER_CONSTANT, value=(222, 222, 226)), t)
            for i, t in resampled]  # fmt: skip
    return [(i[: i.shape[0] // 2 * 2, : i.shape[1] // 2 * 2], t) for i, t in grey]


def platform(frames):
    """Encoded by one platform, downloaded and encoded by another: two generations."""
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first.mkv"
        encode(first, scale(lines=720)(frames), crf=26, maxrate=2_000_000, bufsize=4_000_000)
        return scale(lines=480)(decode(first))


def unchanged(frames):
    return frames


LOW = {"b": 500_000}
# name: (seconds with a watermark, attack, encoding). Preset veryfast unless another is named; it
# preserves less of a watermark than medium at the same crf, and fast platforms use it.
ATTACKS = {
    "as written, crf 18, 2 s": (2, unchanged, None),
    "H.264 crf 23, 2 s": (2, unchanged, {"crf": 23, "preset": "medium"}),
    "H.264 crf 28, 2 s": (2, unchanged, {"crf": 28, "preset": "medium"}),
    "H.264 crf 32, 2 s": (2, unchanged, {"crf": 32, "preset": "medium"}),
    "scaled to 0.75, crf 28, 2 s": (2, scale(0.75), {"crf": 28}),
    "scaled to 0.75, crf 28": (4, scale(0.75), {"crf": 28, "preset": "medium"}),
    "scaled to 0.5, crf 28": (4, scale(0.5), {"crf": 28}),
    "H.264 crf 32": (4, unchanged, {"crf": 32}),
    "H.264 crf 28, preset veryfast": (4, unchanged, {"crf": 28}),
    "to 24 frames a second, crf 28": (4, rate(24), {"crf": 28, "preset": "medium"}),
    "to 15 frames a second, crf 28": (4, rate(15), {"crf": 28}),
    "to 12 frames a second, crf 28": (4, rate(12), {"crf": 28, "preset": "medium"}),
    "to 60 frames a second, crf 28": (4, rate(60), {"crf": 28}),
    "mirrored, crf 28": (4, mirror, {"crf": 28, "preset": "medium"}),
    "cropped by 5 % on each side (10 %), crf 23": (4, crop(*[0.05] * 4), {"crf": 23}),
    "cropped by 10 % on the left, crf 28": (4, crop(left=0.1), {"crf": 28}),
    "mirrored and cropped by 10 %, crf 23": (
        4, lambda f: mirror(crop(*[0.05] * 4)(f)), {"crf": 23},
    ),
    "first 1.3 s cut off, crf 28": (4, trim(1.3), {"crf": 28}),
    "brightened and blurred, crf 28": (4, brighten_and_blur, {"crf": 28}),
    "platform: 720 lines, then 480 lines at 500 kbit/s": (4, platform, LOW),
    "480 lines at 500 kbit/s": (4, scale(lines=480), LOW),
    "H.264 at 400 kbit/s": (4, unchanged, {"b": 400_000}),
    "H.265 crf 28": (4, unchanged, {"codec": "libx265", "crf": 28}),
    "VP9 at 600 kbit/s": (
        4, unchanged, {"codec": "libvpx-vp9", "b": 600_000, "deadline": "realtime", "cpu-used": 6},
    ),
    "black bars to an upright screen, crf 28": (4, bars, {"crf": 28}),
    "played 5 % faster, crf 28": (4, faster(1.05), {"crf": 28}),
    "turned by 0.5°, crf 28": (4, rotate(0.5), {"crf": 28}),
    "turned by 1°, crf 28": (4, rotate(1.0), {"crf": 28}),
    "turned by 2°, crf 28": (4, rotate(2.0), {"crf": 28}),
    "off a screen: in a bright window, 6 % larger, 30 frames a second": (
        4, screen, {"crf": 28},
    ),
    # Geometry and time: what reposts, recordings of screens and players do.
    "white bars to an upright screen, crf 23": (4, portrait(white_bars), {"crf": 23}),
    "blurred bars to an upright screen, crf 23": (4, portrait(blurred_bars), {"crf": 23}),
    "captioned bars to an upright screen, crf 23": (4, portrait(captioned_bars), {"crf": 23}),
    "60 % of the frame, over a picture, crf 23": (
        4, picture_in_picture(0.6, False), {"crf": 23},
    ),
    "60 % of the frame, over a moving picture, crf 23": (
        4, picture_in_picture(0.6, True), {"crf": 23},
    ),
    "turned by 90°, crf 23": (4, turn(1), {"crf": 23}),
    "turned by 180°, crf 23": (4, turn(2), {"crf": 23}),
    "turned by 2°, crf 23": (4, rotate(2.0), {"crf": 23}),
    "turned by 5°, crf 23": (4, rotate(5.0), {"crf": 23}),
    "turned by 3° and enlarged, crf 23": (4, rotate_and_fill(3.0), {"crf": 23}),
    "cropped by 15 % on each side (30 %), crf 23": (4, crop(*[0.15] * 4), {"crf": 23}),
    "cropped by 30 % on the right, crf 23": (4, crop(right=0.3), {"crf": 23}),
    "played at 0.8 times the speed, crf 23": (4, faster(0.8), {"crf": 23}),
    "played at 0.95 times the speed, crf 23": (4, faster(0.95), {"crf": 23}),
    "played at 1.25 times the speed, crf 23": (4, faster(1.25), {"crf": 23}),
    "first 1.3 s cut off, cropped by 10 %, crf 23": (
        4, lambda f: trim(1.3)(crop(*[0.05] * 4)(f)), {"crf": 23},
    ),
}  # fmt: skip
GEOMETRY = tuple(ATTACKS)[-16:]

# What the watermark must survive; the other attacks show its limits.
REQUIRED = (
    "as written, crf 18, 2 s",
    "H.264 crf 23, 2 s",
    "H.264 crf 28, 2 s",
    "scaled to 0.75, crf 28",
    "to 24 frames a second, crf 28",
    "to 12 frames a second, crf 28",
    "mirrored, crf 28",
    "H.264 crf 28, preset veryfast",
    "cropped by 5 % on each side (10 %), crf 23",
    "platform: 720 lines, then 480 lines at 500 kbit/s",
    "480 lines at 500 kbit/s",
)


# --- runs ---


def detect(path, known_ids=()):
    """Detect the watermark in a file : heygem.provenance.watermark.detect.Detection."""
    detector = WatermarkDetector(SECRET)
    with media.VideoReader(path) as reader:
        for frame in reader:
            detector.add(frame.image, frame.time_s)
    return detector.detect(known_ids)


def survive(clip, folder, done, names=tuple(ATTACKS), preset=PRESET):
    """Yield a dict for each attack on a clip, and for the watermark's cost."""
    watermark_id = new_id()
    watermarked_paths = {}
    for seconds in (2, 4):
        frames = span(clip, 0.0, seconds)
        if frames[-1][1] < seconds - 0.2:
            continue
        height, width = frames[0][0].shape[:2]
        embedder = WatermarkEmbedder(SECRET, watermark_id, width, height)
        label = VisibleLabel(LabelSettings(), width, height)
        plain = [(YuvImage.from_rgb(i, Colorspace.ITU709), t) for i, t in frames]
        result = [(image.copy(), t) for image, t in plain]
        error = []
        for (before, _), (image, t) in zip(plain, result, strict=True):
            embedder.embed_in_planes(image, t)
            error.append(np.mean((image.rgb().astype(np.float32) - before.rgb()) ** 2))
            for picture in (before, image):
                label.draw_in_planes(picture, t)
        path = folder / f"{seconds}.mkv"
        size = encode_result(path, result, preset)
        watermarked_paths[seconds] = path
        key = f"cost, {seconds} s"
        if key not in done:
            bare = encode_result(folder / "bare.mkv", plain, preset)
            yield {"attack": key, "psnr_db": float(10 * np.log10(255**2 / np.mean(error))),
                   "worst_db": float(10 * np.log10(255**2 / max(error))),
                   "growth": size / bare - 1, "size": [width, height]}  # fmt: skip
    for name in names:
        seconds, attack, options = ATTACKS[name]
        if name in done or seconds not in watermarked_paths:
            continue
        path = watermarked_paths[seconds]
        if options is not None:
            path = folder / "attacked.mkv"
            encode(path, attack(decode(watermarked_paths[seconds])), **options)
        detection = detect(path, [*KNOWN_IDS, watermark_id])
        yield {
            "attack": name,
            "decoded": detection.watermark_id == watermark_id and not detection.recognised,
            "recognised": detection.watermark_id == watermark_id,
            "wrong": detection.watermark_id not in (None, watermark_id),
            "sigma": round(detection.pilot_sigma, 1),
            "transform": detection.transform,
        }


def alarms(clip, folder, done):
    """Yield a dict for each segment of a clip without a watermark."""
    length = media.probe(clip).duration_s or 0.0
    for start in np.arange(0, max(length - SEGMENT_S, 0) + 0.01, SEGMENT_S)[:3]:
        name = f"unmarked, from {start:.0f} s"
        frames = span(clip, start, SEGMENT_S) if name not in done else []
        if len(frames) < 20:
            continue
        detector = WatermarkDetector(SECRET)
        for image, time_s in frames:
            detector.add(image, time_s)
        detection = detector.detect(KNOWN_IDS)
        yield {
            "attack": name,
            "wrong": detection.watermark_id is not None,
            "sigma": round(detection.pilot_sigma, 1),
        }


def collect(measure, out, clips):
    """Append the rows of `measure` for every clip to a JSON-lines file; skip existing ones."""
    done = defaultdict(set)
    if out.exists():
        for line in out.read_text().splitlines():
            row = json.loads(line)
            done[row["clip"]].add(row["attack"])
    for clip in clips:
        name = f"{clip.parent.name}/{clip.name}"
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(StopIteration):
            for row in measure(clip, Path(folder), done[name]):
                with out.open("a") as stream:
                    stream.write(json.dumps({"clip": name, **row}) + "\n")


def table(paths):
    """Print the results of JSON-lines files as Markdown."""
    rows = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    by = defaultdict(list)
    for row in rows:
        by[row["attack"]].append(row)
    print("| Attack | Decoded | Recognised |\n|---|---|---|")
    for name in ATTACKS:
        tested = by[name]
        if not tested:
            continue
        decoded, recognised = (sum(row[key] for row in tested) for key in ("decoded", "recognised"))
        low = [row["clip"] for row in tested if not row["decoded"]]
        bold = "**" if low else ""
        print(
            f"| {name} | {bold}{decoded} of {len(tested)}{bold} | {recognised} of {len(tested)} |"
        )
    costs = by["cost, 4 s"] or by["cost, 2 s"]
    if costs:
        growth = [100 * row["growth"] for row in costs]
        db = [row["psnr_db"] for row in by["cost, 4 s"] + by["cost, 2 s"]]
        worst = min(row["worst_db"] for row in by["cost, 4 s"] + by["cost, 2 s"])
        print(
            f"\n{len(costs)} clips: {min(db):.1f} dB or more, mean {np.mean(db):.1f}, worst frame "
            f"{worst:.1f}; files grow by {min(growth):.0f} to {max(growth):.0f} %, "
            f"mean {np.mean(growth):.1f}, median {np.median(growth):.1f}"
        )
    plain = [row for row in rows if row["attack"].startswith("unmarked")]
    print(f"wrong ids: {sum(row.get('wrong', False) for row in rows)}; unmarked segments: "
          f"{len(plain)} from {len({row['clip'] for row in plain})} clips")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["survive", "alarms", "table"])
    parser.add_argument("out", type=Path)
    parser.add_argument("clips", type=Path, nargs="*")
    parser.add_argument(
        "--required",
        action="store_true",
        help="only the attacks that the watermark must survive",
    )
    parser.add_argument(
        "--geometry", action="store_true", help="only the attacks on geometry and time"
    )
    parser.add_argument("--preset", default=PRESET, help="of the results")
    arguments = parser.parse_intermixed_args()
    cv2.setNumThreads(1)
    if arguments.command == "table":
        table([arguments.out, *arguments.clips])
    else:
        attacks = REQUIRED if arguments.required else tuple(ATTACKS)
        if arguments.geometry:
            attacks = (
                *GEOMETRY,
                "off a screen: in a bright window, 6 % larger, 30 frames a second",
            )
        measure = (
            alarms
            if arguments.command == "alarms"
            else partial(survive, names=attacks, preset=arguments.preset)
        )
        collect(measure, arguments.out, arguments.clips)


if __name__ == "__main__":
    main()
