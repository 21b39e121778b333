"""What one published result teaches somebody who has the source code, but not the secret.

    python benchmarks/watermark_attack.py OUT.jsonl RESULT_CLIP OTHER_CLIP...

The attacker has one watermarked result, encoded at crf 18. Two estimates of its pattern are made:
`wave`, the mean of each sample with the watermark's alternating sign over the whole clip; `slots`,
the same for each period alone. Each is
pasted at a given PSNR on every other clip, encoded at crf 18 and read; and subtracted, at the
strength that suits the attacker best among some, from the result itself and from the result of
another clip. Agreement is that of the estimate's signs with the true ones, over the chips in use.
"""

import argparse
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
from watermark import SECRET, decode, detect, encode, encode_result, span

from heygem.provenance.watermark.embed import WatermarkEmbedder

WATERMARK_ID = 0x0123456789ABCDEF
SIDE = 192  # samples across and down of the attacker's estimate
SLOT_S = 0.2
SECONDS = 8.0
PASTED_DB = (43.0, 49.0)
SUBTRACTED = (1.0, 2.0)  # times the estimate


def fine_contrast(frames):
    """float32 [T, SIDE, SIDE] and times, float64 [T]."""
    fine = []
    for image, _ in frames:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        fine.append(np.clip(small - cv2.blur(small, (7, 7)), -12, 12))
    return np.stack(fine), np.array([time_s for _, time_s in frames])


def estimate(frames, kind):
    """The pattern of each period, float32 [K, SIDE, SIDE], in grey levels."""
    fine, times = fine_contrast(frames)
    slots = ((times + 1e-4) // SLOT_S).astype(int)
    sign = np.where(slots % 2, -1.0, 1.0).astype(np.float32)
    periods = slots // 2
    count = periods[-1] + 1
    if kind == "wave":
        wave = np.einsum("t,thw->hw", sign, fine - fine.mean(0)) / len(fine)
        return np.repeat(wave[None], count, 0)
    patterns = []
    for k in range(count):
        halves = [fine[(periods == k) & (sign == s)] for s in (1, -1)]
        if min(map(len, halves)) == 0:
            patterns.append(np.zeros((SIDE, SIDE), np.float32))
            continue
        patterns.append((halves[0].mean(0) - halves[1].mean(0)) / 2)
    return np.stack(patterns)


def apply(frames, patterns, factor):
    """Frames with each period's pattern added `factor` times, with the alternating sign."""
    height, width = frames[0][0].shape[:2]
    result = []
    for image, time_s in frames:
        slot = int((time_s + 1e-4) // SLOT_S)
        pattern = patterns[min(slot // 2, len(patterns) - 1)]
        full = cv2.resize(pattern, (width, height), interpolation=cv2.INTER_CUBIC)
        full = full * (factor * (-1 if slot % 2 else 1))
        result.append((np.clip(np.rint(image + full[..., None]), 0, 255).astype(np.uint8), time_s))
    return result


def factor_for(patterns, psnr_db):
    """The factor at which patterns, clipped at three deviations, have a PSNR."""
    return 255 * 10 ** (-psnr_db / 20) / np.sqrt(np.mean(patterns**2))


def average_over_period(frames):
    """Each frame replaced by the mean over a period where the picture rests: needs no estimate."""
    count = round(2 * SLOT_S / np.median(np.diff([time_s for _, time_s in frames])))
    total = sum(image.astype(np.float32) for image, _ in frames[:count])
    result = []
    for k, (image, time_s) in enumerate(frames):
        if count // 2 < k < len(frames) - count + count // 2:
            total += frames[k - count // 2 - 1 + count][0]
            total -= frames[k - count // 2 - 1][0]
        mean = total / count
        moving = cv2.blur(np.abs(image - mean).max(-1), (9, 9))[..., None] > 4
        result.append((np.where(moving, image, np.rint(mean)).astype(np.uint8), time_s))
    return result


def read(frames, folder):
    """The detection after encoding at crf 18, as plain values."""
    path = Path(folder) / "forged.mkv"
    encode(path, frames, crf=18)
    detection = detect(path, [WATERMARK_ID])
    return {
        "decoded": detection.watermark_id == WATERMARK_ID and not detection.recognised,
        "recognised": detection.watermark_id == WATERMARK_ID,
        "pilot_sigma": round(detection.pilot_sigma, 1),
        "data_sigma": round(detection.data_sigma, 1),
    }


def watermarked(clip, folder):
    """Frames of a clip before the watermark, and after it and encoding at crf 18."""
    frames = span(clip, 0.0, SECONDS)
    height, width = frames[0][0].shape[:2]
    embedder = WatermarkEmbedder(SECRET, WATERMARK_ID, width, height)
    path = Path(folder) / "result.mkv"
    encode_result(path, [(embedder.embed(i, t), t) for i, t in frames])
    return frames, decode(path)


def agreement(patterns, truth):
    """Share of equal signs where the true pattern is strong."""
    used = np.abs(truth) > 0.5 * np.sqrt(np.mean(truth**2))
    return float(np.mean((patterns * truth)[used] > 0))


def true_pattern(original):
    """The pattern that the embedder adds to each period, float32 [K, SIDE, SIDE]."""
    height, width = original[0][0].shape[:2]
    embedder = WatermarkEmbedder(SECRET, WATERMARK_ID, width, height)
    marked = [(embedder.embed(i, t), t) for i, t in original]
    return estimate(marked, "slots") - estimate(original, "slots")


def measure(result_clip, other_clips):
    """Yield a dict for each attack."""
    with tempfile.TemporaryDirectory() as folder:
        original, result = watermarked(result_clip, folder)
        truth = true_pattern(original)
        yield {"attack": "none", **read(result, folder)}
        yield {"attack": "average over a period", **read(average_over_period(result), folder)}
        for kind in ("wave", "slots"):
            patterns = estimate(result, kind)
            limit = 3 * patterns.std()
            patterns = np.clip(patterns, -limit, limit)
            yield {"attack": f"{kind}: agreement", "share": agreement(patterns, truth)}
            for clip in other_clips:
                frames = span(clip, 0.0, SECONDS)
                for db in PASTED_DB:
                    forged = apply(frames, patterns, factor_for(patterns, db))
                    row = {"attack": f"{kind}: pasted at {db:.0f} dB", "on": str(clip)}
                    yield {**row, **read(forged, folder)}
            for factor in SUBTRACTED:
                row = {"attack": f"{kind}: subtracted {factor} times from itself"}
                yield {**row, **read(apply(result, patterns, -factor), folder)}
            for clip in other_clips[:1]:
                row = {"attack": f"{kind}: subtracted once from another result", "on": str(clip)}
                other = watermarked(clip, folder)[1]
                yield {**row, **read(apply(other, patterns, -1.0), folder)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("others", type=Path, nargs="+")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    for row in measure(arguments.result, arguments.others):
        with arguments.out.open("a") as stream:
            stream.write(json.dumps({"clip": arguments.result.name, **row}) + "\n")


if __name__ == "__main__":
    main()
