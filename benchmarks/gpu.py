"""The batched path on a GPU: frames a second, the share of each step, and how busy the GPU is.

    python benchmarks/gpu.py [--video V --audio A] [--json OUT.json]

The pixels of the batched renderer are first compared with the CPU renderer's, which then fades in
the frame's own pixels too, and the labelled planes with those that the CPU labels. On a machine
with a GPU follow, at 1080p: the renderer and the labels alone for some sizes of a batch, a whole
job, the share of each step, and the GPU's load while 16 items are made in one process. Without a
GPU the comparison is made with PyTorch's CPU in its place, and nothing is timed.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from preview import close_up

from heygem import avatar, pipeline
from heygem.avatar.timeline import build_timeline, planes_in_order
from heygem.config.params import LabelSettings, Params
from heygem.media.yuv import YuvImage
from heygem.ops.machine import gpus
from heygem.provenance.torch_label import TorchLabels
from heygem.provenance.visible import VisibleLabel
from heygem.provenance.watermark.embed import WatermarkEmbedder
from heygem.rendering.compose import paste
from heygem.rendering.torch_warp.draw import draw
from heygem.rendering.torch_warp.renderer import TorchWarpRenderer
from heygem.rendering.warp.renderer import WarpRenderer

ROOT = Path(__file__).resolve().parents[1]
SIZE = (1920, 1080)
BATCHES = (1, 16, 32, 64)
COMPARED = 48  # frames
TIMED = 256  # frames of the renderer alone
ITEMS = 16
MAX_LEVELS = 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--video", type=Path, help="a video of a face in place of the sample")
    parser.add_argument("--audio", type=Path, default=ROOT / "samples" / "speech_en.wav")
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu:0"
    with tempfile.TemporaryDirectory(prefix="heygem-gpu-") as folder:
        folder = Path(folder)
        video = arguments.video or close_up(ROOT / "samples" / "hopper.mp4", SIZE, folder)
        scene = Scene(video, arguments.audio, device)
        results = compare(scene) | compare_labels(scene)
        if device == "cuda":
            results |= {"device": torch.cuda.get_device_name()}
            results |= alone(Scene(video, arguments.audio, device))
            results |= labels_alone(scene)
            results |= jobs(video, arguments.audio, folder)
        else:
            print("no GPU here: compared on PyTorch's CPU, nothing is timed")
    for name, value in results.items():
        print(f"{name:40s} {value}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1))
    largest = max(value for name, value in results.items() if "largest_difference" in name)
    if largest > MAX_LEVELS:
        raise SystemExit(f"the batched pixels differ by more than {MAX_LEVELS} levels")


class Scene:
    """A planned person: both renderers, and frames in the codec's planes."""

    def __init__(self, video, audio, device):
        params = Params()
        models = pipeline.Models(params.override({"device": "cpu"}))
        self.person = avatar.load(video, params.face, backend=models.faces)
        encoded = models.encode_audio(audio, params.audio)
        self.timeline = build_timeline(self.person, encoded.speech.duration_s, params.media)
        lips = models.lips_of(self.person)
        motion = pipeline.articulate(
            encoded.predicted, encoded.voice, self.person, lips, params.lips
        )
        self.device = torch.device(device)
        self.batched = TorchWarpRenderer(self.person, params.renderer, device)
        self.reference = WarpRenderer(self.person, params.renderer, reduces_faded=False)
        for renderer in (self.batched, self.reference):
            renderer.plan(motion, encoded.speech.samples, self.timeline)

    def frames(self, count):
        """The first frames of the film, at most as many as are spoken."""
        count = min(count, self.timeline.spoken)
        coding = self.person.info.video.coding
        return list(islice(planes_in_order(self.person, self.timeline.order, coding), count))


def compare(scene):
    """Largest difference between the two renderers' pixels, and how many differ."""
    frames = scene.frames(COMPARED)
    largest, different, pixels = 0, 0, 0
    for first in range(0, len(frames), 16):
        part = range(first, min(first + 16, len(frames)))
        drawn = scene.batched.render_batch([frames[k] for k in part], part)
        for k, patch in zip(part, drawn, strict=True):
            expected = scene.reference.render(frames[k], k)
            assert (patch is None) == (expected is None)
            if patch is not None:
                levels = np.abs(patch.image.astype(int) - expected.image)[expected.mask > 0]
                largest = max(largest, int(levels.max()))
                different += int((levels > 0).sum())
                pixels += levels.size
    return {
        "compared_on": str(scene.device),
        "compared_frames": len(frames),
        "largest_difference_levels": largest,
        "different_values_share": different / max(pixels, 1),
    }


class Labels:
    """The watermark and the visible label, on a device or one frame after the other."""

    def __init__(self, person, device=None):
        size = person.track.width, person.track.height
        self.mark = WatermarkEmbedder(bytes(32), 0x0123456789ABCDEF, *size)
        self.visible = VisibleLabel(LabelSettings(), *size)
        self.batched = device and TorchLabels(self.mark, self.visible, str(device))

    def label(self, frames, times_s):
        """Label copies of frames."""
        frames = [frame.copy() for frame in frames]
        if self.batched:
            self.batched.label(frames, times_s)
        else:
            for frame, time_s in zip(frames, times_s, strict=True):
                self.mark.embed_in_planes(frame, time_s)
                self.visible.draw_in_planes(frame, time_s)
        return frames


def compare_labels(scene):
    """Largest difference between planes labelled on the device and on the CPU, and how many."""
    frames, times_s = scene.frames(COMPARED), scene.timeline.times_s
    ours, others = Labels(scene.person, scene.device), Labels(scene.person)
    largest, different, values, changed = 0, 0, 0, 0
    for first in range(0, len(frames), 16):
        part = slice(first, min(first + 16, len(frames)))
        labelled = [each.label(frames[part], times_s[part]) for each in (ours, others)]
        for a, b, given in zip(*labelled, frames[part], strict=True):
            for name in "yuv":
                one, other, before = (getattr(each, name).astype(int) for each in (a, b, given))
                levels = np.abs(one - other)
                largest = max(largest, int(levels.max()))
                different += int((levels > 0).sum())
                changed += int((other != before).sum())
                values += levels.size
    return {
        "labels_largest_difference_levels": largest,
        "labels_different_values_share": different / values,
        "labels_changed_values_share": changed / values,
    }


def labels_alone(scene):
    """Milliseconds of the clock that the labels of a frame take, the copy of the frame included."""
    frames, times_s = scene.frames(TIMED), scene.timeline.times_s
    results = {}
    for size in (None, *BATCHES):
        labels = Labels(scene.person, size and scene.device)
        labels.label(frames[: size or 1], times_s[: size or 1])  # warms up
        began = time.perf_counter()
        for first in range(size or 1, len(frames), size or 1):
            part = slice(first, min(first + (size or 1), len(frames)))
            labels.label(frames[part], times_s[part])
        ms = 1000 * (time.perf_counter() - began) / (len(frames) - (size or 1))
        results["label_ms_cpu" if size is None else f"label_ms_batch_{size}"] = round(ms, 3)
    return results


def alone(scene):
    """The renderer alone, frames in memory; and its steps with a batch of 32."""
    frames = scene.frames(TIMED)
    results = {}
    for size in BATCHES:
        scene.batched.render_batch(frames[:size], range(size))  # warms up
        torch.cuda.synchronize()
        began = time.perf_counter()
        for first in range(0, len(frames), size):
            part = range(first, min(first + size, len(frames)))
            scene.batched.render_batch([fresh(frames[k]) for k in part], part)
        seconds = time.perf_counter() - began
        results[f"render_fps_batch_{size}"] = round(len(frames) / seconds, 1)
    steps = {"geometry": 0.0, "window_to_rgb": 0.0, "device": 0.0, "paste": 0.0}
    library = scene.batched._library
    for first in range(0, len(frames), 32):
        part = range(first, min(first + 32, len(frames)))
        with timed(steps, "geometry"):
            laid_out = [scene.batched.geometry(k, frames[k].shape) for k in part]
        at = [(k, g) for k, g in zip(part, laid_out, strict=True) if g is not None]
        with timed(steps, "window_to_rgb"):
            views = [fresh(frames[k])[geometry.window] for k, geometry in at]
        with timed(steps, "device"):
            drawn = draw([geometry for _, geometry in at], views, library)
        with timed(steps, "paste"):
            for (k, geometry), pixels in zip(at, drawn, strict=True):
                paste(frames[k], geometry.patch(pixels))
    each = {name: round(1000 * s / len(frames), 3) for name, s in steps.items()}
    return results | {f"{name}_ms_one_thread": value for name, value in each.items()}


def fresh(frame):
    """The same frame, of which no window has been converted yet."""
    return YuvImage(frame.frame, frame.matrix)


class timed:  # noqa: N801 - reads as a statement
    """Adds the time of a block to a step; the device has finished at its end."""

    def __init__(self, steps, name):
        self.steps, self.name = steps, name

    def __enter__(self):
        self.began = time.perf_counter()

    def __exit__(self, *_):
        torch.cuda.synchronize()
        self.steps[self.name] += time.perf_counter() - self.began


def jobs(video, audio, folder):
    """Whole jobs in one process: frames a second, steps, and the GPU's load."""
    params = Params().override({"device": "cuda", "resources.batch_size": 8})
    models = pipeline.Models(params)
    pipeline.generate(video, audio, folder / "warm.mp4", params, models=models)
    loads, stop = [], threading.Event()

    def watch():
        while not stop.wait(0.5):
            loads.extend(gpu.utilization for gpu in gpus()[:1])

    watcher = threading.Thread(target=watch)
    began = time.perf_counter()
    watcher.start()
    made = [
        pipeline.generate(video, audio, folder / f"{k}.mp4", params, models=models)
        for k in range(ITEMS)
    ]
    seconds = time.perf_counter() - began
    stop.set()
    watcher.join()
    frames = sum(result.frames for result in made)
    busy = round(statistics.fmean(loads), 3) if loads else "nvidia-smi does not answer"
    return {
        "job_fps": round(frames / seconds, 1),
        "gpu_busy_share": busy,
        "notes": made[-1].manifest["notes"],
        **made[-1].timings,
    }


if __name__ == "__main__":
    main()
