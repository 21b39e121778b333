"""heygem beside the published Wav2Lip pipeline and a plain transcode, on the same clip.

    python benchmarks/peers.py [--video V] [--seconds 4] [--sizes 360p 720p 1080p] [--json OUT]

Rows: a plain transcode (decode and encode, nothing else); heygem's own renderer and heygem with the
Wav2Lip network, both with the face tracked and cached before; and a straightforward reading of the
published inference script: a detector of S3FD's shape on every frame at its full size, then the
network in batches, then the same encoder. Weights are random, which costs the same as trained ones;
since a random detector finds nothing, the box of our tracker stands in for its result. The detector
takes seconds a frame on a CPU, so it is timed on a few frames and counted for all.

Seconds are processor time (all threads) for each second of video; memory is the peak of a process.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from speed import ROOT, Peak, close_up, loop, run, transcode

SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
DETECTED_FRAMES = {"360p": 3, "720p": 1, "1080p": 1}
ROWS = ("transcode", "heygem", "heygem_wav2lip", "published")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--video", type=Path, help="a video of a face, for all sizes")
    parser.add_argument("--audio", type=Path, default=ROOT / "samples" / "speech_en.wav")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, *rest = arguments.child
        print(json.dumps(CHILDREN[name](*rest)))
        return
    results = {}
    print(f"{'':8s} {'':16s} {'s per s':>8s} {'peak MB':>8s}")
    with tempfile.TemporaryDirectory(prefix="heygem-peers-") as folder:
        for size in arguments.sizes:
            for row, values in measure(size, arguments, Path(folder)).items():
                results[f"{size}.{row}"] = values
                print(f"{size:8s} {row:16s} {values['cpu_per_s']:8.2f} {values['peak_mb']:8.0f}")
                sys.stdout.flush()
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1))


def measure(size, arguments, folder):
    """All rows of one size of picture."""
    home, sound = folder / "home", folder / "sound.wav"
    video = folder / f"{size}.mp4"
    source = arguments.video or ROOT / "samples" / "hopper.mp4"
    own = {"home": home, "script": __file__}
    run("close_up", source, *SIZES[size], video, **own)
    run("loop", arguments.audio.resolve(), arguments.seconds, sound, **own)
    checkpoint = folder / "random.safetensors"
    if not checkpoint.exists():
        run("random_checkpoint", checkpoint, **own)
    out = folder / "out.mp4"
    run("job", video, sound, out, "warp", checkpoint, **own)  # tracks the face
    heygem = run("job", video, sound, out, "warp", checkpoint, **own)
    return {
        "transcode": run("copy", video, heygem["frames"], out, heygem["length_s"], **own),
        "heygem": heygem,
        "heygem_wav2lip": run("job", video, sound, out, "wav2lip", checkpoint, **own),
        "published": run("published", video, sound, out, DETECTED_FRAMES[size], **own),
    }


# --- children ---


def random_checkpoint(path):
    import torch
    from safetensors.torch import save_file

    from heygem.rendering.wav2lip.network import Wav2Lip

    torch.manual_seed(0)
    save_file(Wav2Lip().state_dict(), path)
    return {}


def copy(video, frames, out, length_s):
    """A plain transcode."""
    with Peak() as peak:
        used = transcode(video, frames, out)
    return {"cpu_per_s": used["cpu_s"] / float(length_s), "peak_mb": peak.mb}


def job(video, audio, out, engine, checkpoint):
    """A whole job of ours; models are loaded before, as a worker has them."""
    from heygem import pipeline
    from heygem.config.params import Params

    settings = {"engine": engine} | ({"checkpoint": checkpoint} if engine == "wav2lip" else {})
    params = Params(**settings)
    models = pipeline.Models(params)
    Path(out).unlink(missing_ok=True)
    with Peak() as peak:
        began = time.process_time()
        result = pipeline.generate(video, audio, out, params, models=models)
        used = time.process_time() - began
    return {
        "cpu_per_s": used / result.duration_s,
        "peak_mb": peak.mb,
        "frames": result.frames,
        "length_s": result.duration_s,
    }


def published(video, audio, out, detected_frames):
    """The published steps, one after the other, with all frames in memory."""
    import cv2
    import numpy as np
    import torch

    from heygem import audio as sound
    from heygem import media, pipeline
    from heygem.config.params import Params
    from heygem.rendering.wav2lip.engine import face_boxes
    from heygem.rendering.wav2lip.mel import mel_spectrogram, mel_windows
    from heygem.rendering.wav2lip.network import Wav2Lip

    params = Params()
    samples = sound.load(audio).samples
    person = pipeline.load_person(video, params.face)  # its boxes stand in for the detector's
    track = person.track
    detector, network = detector_of_s3fd_shape().eval(), Wav2Lip().eval()
    with Peak() as peak, torch.inference_mode():
        began = time.process_time()
        with media.VideoReader(video) as reader:
            rate = float(reader.info.video.rate)
            frames = [frame.image for frame in reader]
        count = round(len(samples) / 16000 * rate)
        pictures = [frames[k % len(frames)] for k in range(count)]
        before_detection = time.process_time()
        for picture in pictures[: int(detected_frames)]:
            detector(torch.from_numpy(picture).permute(2, 0, 1)[None].float())
        detection_s = (time.process_time() - before_detection) / int(detected_frames)
        boxes = face_boxes(track.points, person.usable, track.cut, (track.width, track.height))
        windows = mel_windows(mel_spectrogram(samples), np.arange(count) / rate)
        finished = []
        for start in range(0, count, 128):
            rows = range(start, min(start + 128, count))
            crops = []
            for k in rows:
                x0, y0, x1, y1 = boxes[k % len(boxes)]
                crops.append(cv2.resize(pictures[k][y0:y1, x0:x1], (96, 96)))
            whole = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
            hidden = whole.clone()
            hidden[:, :, 48:] = 0
            mouths = network(
                torch.from_numpy(windows[rows.start : rows.stop]), torch.cat([hidden, whole], 1)
            )
            mouths = (mouths * 255).byte().permute(0, 2, 3, 1).numpy()
            for k, mouth in zip(rows, mouths, strict=True):
                x0, y0, x1, y1 = boxes[k % len(boxes)]
                picture = pictures[k].copy()
                picture[y0:y1, x0:x1] = cv2.resize(mouth, (x1 - x0, y1 - y0))
                finished.append(picture)
        writer = media.VideoWriter(
            out,
            label=media.RecordedFrames(),
            width=track.width,
            height=track.height,
            rate=reader.info.video.rate,
        )
        with writer:
            for k, picture in enumerate(finished):
                writer.write(picture, k / rate)
        used = time.process_time() - began + detection_s * (count - int(detected_frames))
    return {"cpu_per_s": used / (count / rate), "peak_mb": peak.mb, "detection_s": detection_s}


def detector_of_s3fd_shape():
    """S3FD's layers (Zhang et al., ICCV 2017): VGG-16, two more stages, heads on six maps."""
    import torch
    from torch import nn

    def stage(channels, out, count):
        units = []
        for k in range(count):
            units += [nn.Conv2d(channels if k == 0 else out, out, 3, padding=1), nn.ReLU(True)]
        return nn.Sequential(*units)

    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            table = [(3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3)]
            self.stages = nn.ModuleList(stage(*row) for row in table)
            self.fc = nn.Sequential(
                nn.Conv2d(512, 1024, 3, padding=3), nn.ReLU(True), nn.Conv2d(1024, 1024, 1)
            )
            self.sixth = nn.Sequential(
                nn.Conv2d(1024, 256, 1), nn.ReLU(True), nn.Conv2d(256, 512, 3, 2, 1)
            )
            self.seventh = nn.Sequential(
                nn.Conv2d(512, 128, 1), nn.ReLU(True), nn.Conv2d(128, 256, 3, 2, 1)
            )
            channels = (256, 512, 512, 1024, 512, 256)
            self.heads = nn.ModuleList(nn.Conv2d(c, 6, 3, padding=1) for c in channels)

        def forward(self, x):
            maps = []
            for k, part in enumerate(self.stages):
                x = part(x)
                if k >= 2:
                    maps.append(x)
                x = torch.max_pool2d(x, 2)
            for part in (self.fc, self.sixth, self.seventh):
                x = torch.relu(part(x))
                maps.append(x)
            return [head(each) for head, each in zip(self.heads, maps, strict=True)]

    return Detector()


CHILDREN = {f.__name__: f for f in (close_up, loop, random_checkpoint, copy, job, published)}


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
