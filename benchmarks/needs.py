"""What an item takes: peak memory, bytes of its result, of its working files and of its cache.

    python benchmarks/needs.py [--video V] [--heights 360 720 1080] [--crfs 18] [--seconds 3]

The constants of `heygem.batch.item.guards` are fitted to its table. Each row is a process of its
own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("width", "height", "batch_size", "crf", "frames", "peak_mb", "bits_per_pixel",
           "cache_bytes_per_frame", "cache_mb")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--video", type=Path, default=ROOT / "samples" / "hopper.mp4")
    parser.add_argument("--audio", type=Path, default=ROOT / "samples" / "speech_en.wav")
    parser.add_argument("--heights", type=int, nargs="+", default=[360, 720, 1080])
    parser.add_argument("--crfs", type=int, nargs="+", default=[18])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[0], help="0: the default")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--preset", default="medium")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measure(arguments, **json.loads(arguments.row))))
        return
    print(" | ".join(COLUMNS))
    for height in arguments.heights:
        for crf in arguments.crfs:
            for batch_size in arguments.batch_sizes:
                case = json.dumps({"height": height, "crf": crf, "batch_size": batch_size})
                command = [sys.executable, __file__, *sys.argv[1:], "--row", case]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                row = json.loads(done.stdout.splitlines()[-1])
                print(" | ".join(str(row[name]) for name in COLUMNS), flush=True)


def measure(arguments, height, crf, batch_size):
    """Make one item of a clip that is scaled to a height and cut; returns a row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        clip = scaled(arguments.video, folder / "clip.mp4", height, arguments.seconds)
        sound = cut_sound(arguments.audio, folder / "sound.wav", arguments.seconds)
        os.environ["HEYGEM_HOME"] = str(folder / "home")
        models = Path.home() / ".cache" / "heygem" / "models"
        (folder / "home").mkdir()
        (folder / "home" / "models").symlink_to(models)
        before_kb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        row = subprocess.run(
            [sys.executable, "-c", MAKE, clip, sound, folder / "out.mp4",
             json.dumps({"media.crf": crf, "media.preset": arguments.preset,
                         **({"resources.batch_size": batch_size} if batch_size else {})})],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        facts = json.loads(row.stdout.splitlines()[-1])
        cache = sum(p.stat().st_size for p in (folder / "home" / "avatars").iterdir())
        pixels = facts["width"] * facts["height"] * facts["frames"]
        picture = (folder / "out.mp4").stat().st_size - facts["sound_bytes"]
        assert before_kb >= 0
        return facts | {
            "crf": crf,
            "batch_size": batch_size,
            "bits_per_pixel": round(8 * picture / pixels, 4),
            "cache_mb": round(cache / 1e6, 2),
            "cache_bytes_per_frame": round(cache / facts["frames"]),
        }


MAKE = """
import json, resource, sys
from heygem import pipeline
from heygem.config.params import Params
clip, sound, out, settings = sys.argv[1:]
result = pipeline.generate(clip, sound, out, Params.from_dict(json.loads(settings)))
import av
with av.open(out) as container:
    video = container.streams.video[0]
    size = sum(p.size for p in container.demux(container.streams.audio[0]))
    print(json.dumps({"width": video.width, "height": video.height, "frames": result.frames,
        "sound_bytes": size,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000}))
"""


def scaled(source, target, height, seconds):
    """A copy of a clip's beginning at another height, nearly lossless."""
    import cv2

    from heygem import media

    with media.VideoReader(source, end_s=seconds) as reader:
        video = reader.info.video
        width = 2 * round(video.width * height / video.height / 2)
        with media.VideoWriter(
            target, label=media.RecordedFrames(), width=width, height=height, rate=video.rate,
            crf=10, preset="ultrafast",
        ) as writer:  # fmt: skip
            for frame in reader:
                image = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_AREA)
                writer.write(image, frame.time_s)
    return target


def cut_sound(source, target, seconds):
    """The beginning of a sound."""
    from heygem import media

    track = media.read_audio(source)
    samples = track.samples[: int(seconds * track.rate_hz)]
    media.write_wav(target, samples, track.rate_hz)
    return target


if __name__ == "__main__":
    main()
