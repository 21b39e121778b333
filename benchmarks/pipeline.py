"""Profile of video generation: each stage as a median and as a share of the total time.

    python benchmarks/pipeline.py [--video V] [--audio A] [--repeats 3] [--threads 1]
    python benchmarks/pipeline.py --memory 600

Absolute numbers depend on the machine; shares, and times relative to decoding one frame, compare
better between machines. `--memory S` generates a video of S seconds and one of 20, each in its own
process, and compares their peak memory.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from heygem.face.backends import make_backend

ROOT = Path(__file__).resolve().parents[1]
SHORT_S = 20.0
STAGES = ("load_s", "listen_s", "track_s", "plan_s", "render_s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--video", type=Path, default=ROOT / "samples" / "hopper.mp4")
    parser.add_argument("--audio", type=Path, default=ROOT / "samples" / "speech_en.wav")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of each library")
    parser.add_argument("--frames", type=int, default=100, help="frames timed stage by stage")
    parser.add_argument("--memory", type=float, metavar="S", help="compare S seconds with 20")
    parser.add_argument("--preset", default="medium", help="encoder effort of the results")
    parser.add_argument("--keep", type=Path, help="folder that keeps the files of --memory")
    parser.add_argument("--once", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    limit_threads(arguments.threads)
    if arguments.once is not None:
        print(json.dumps(generate_once(arguments)))
    elif arguments.memory is not None:
        compare_memory(arguments)
    else:
        time_generate(arguments)
        time_stages(arguments)


def limit_threads(count):
    """Set the thread count of OpenMP, OpenCV and PyTorch, so that machines can be compared."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    import cv2
    import torch

    cv2.setNumThreads(count)
    torch.set_num_threads(count)


def generate_once(arguments):
    """Generate one video: its timings, peak memory [MB] and processor time of this process."""
    from heygem import pipeline
    from heygem.config.params import Params

    params = Params.from_dict({"media": {"preset": arguments.preset}})
    result = pipeline.generate(arguments.video, arguments.audio, arguments.once, params)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "duration_s": result.duration_s,
        "peak_mb": used.ru_maxrss / 1024,
        "processor_s": used.ru_utime + used.ru_stime,
        **result.timings,
    }


def time_generate(arguments):
    """Time `pipeline.generate` as a whole: seconds per second of video."""
    from heygem import pipeline
    from heygem.config.params import Params

    models = pipeline.Models(Params())
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for k in range(arguments.repeats):
            out = Path(folder) / f"{k}.mp4"
            result = pipeline.generate(arguments.video, arguments.audio, out, models=models)
            runs.append({"duration_s": result.duration_s, **result.timings})
    length = runs[0]["duration_s"]
    # The first run tracks the face; later ones read the avatar from the cache.
    print(f"{arguments.video.name}, {length:.1f} s of result, {arguments.threads} thread(s)")
    for name, chosen in (("first", runs[:1]), ("cached", runs[1:])):
        if chosen:
            spent = {k: median(run[k] for run in chosen) for k in STAGES if k in chosen[0]}
            total = sum(spent.values())
            parts = ", ".join(f"{k[:-2]} {v / total:.0%}" for k, v in spent.items() if v > 0)
            print(f"  {name:7s} {total / length:6.2f} s per second of video: {parts}")


def time_stages(arguments):
    """Each step of the stream alone: median processor milliseconds per frame.

    Processor time does not depend on the machine's load; encoder and decoder use their own
    threads, whose time is counted for the step that runs at the same time.
    """
    from heygem import audio, avatar, lips, media, pipeline, provenance
    from heygem.config.params import Params
    from heygem.face.tracking import Tracker
    from heygem.provenance import keys
    from heygem.rendering.compose import paste
    from heygem.rendering.warp.renderer import WarpRenderer

    params = Params()
    person = avatar.load(arguments.video, params.face)
    speech = audio.load(arguments.audio)
    timeline = pipeline.build_timeline(person, speech.duration_s, params.media)
    count = min(arguments.frames, len(person.track), len(timeline))
    spent = {k: [] for k in ("decode", "track", "render", "paste", "label", "encode")}
    began = time.process_time()
    trajectory = lips.LipsModel.load().predict(speech.samples)
    listen = (time.process_time() - began) / speech.duration_s
    renderer = WarpRenderer(person, params.renderer)
    began = time.process_time()
    renderer.plan(trajectory, speech.samples, timeline)
    plan = (time.process_time() - began) / len(timeline)
    tracker = Tracker(make_backend(params.face))
    size = person.track.width, person.track.height
    labeller = provenance.Labeller(params.label, *size, keys=keys.ensure())
    with tempfile.TemporaryDirectory() as folder:
        writer = media.VideoWriter(
            Path(folder) / "out.mp4",
            label=media.RecordedFrames(),
            width=size[0],
            height=size[1],
            rate=timeline.rate,
        )
        with writer, media.VideoReader(person.path) as reader:
            frames = iter(reader)
            for k in range(count):
                clock = [time.process_time()]
                frame = next(frames)
                clock.append(time.process_time())
                tracker(frame.image)
                clock.append(time.process_time())
                patch = renderer.render(frame.image, k)
                clock.append(time.process_time())
                image = paste(frame.image, patch)
                clock.append(time.process_time())
                image = labeller.label_frame(image, frame.time_s)
                clock.append(time.process_time())
                writer.write(image, frame.time_s)
                clock.append(time.process_time())
                for name, lap in zip(spent, np.diff(clock), strict=True):
                    spent[name].append(lap * 1e3)
    base = median(spent["decode"])
    print(f"  one frame of {size[0]}x{size[1]}, median processor time of {count} frames:")
    for name, laps in spent.items():
        print(f"    {name:7s} {median(laps):7.2f} ms   {median(laps) / base:6.2f} x decode")
    print(f"    plan    {plan * 1e3:7.2f} ms   {plan * 1e3 / base:6.2f} x decode")
    print(f"    listen  {listen * 1e3:7.2f} processor ms per second of sound")


def compare_memory(arguments):
    """Compare peak memory of a long and a short video, each in its own process."""
    from heygem import audio, media

    samples = audio.load(arguments.audio).samples
    results = {}
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or stack.enter_context(tempfile.TemporaryDirectory())
        for seconds in (SHORT_S, arguments.memory):
            video, speech = looped(arguments.video, samples, seconds, Path(folder))
            command = [sys.executable, __file__, "--video", str(video), "--audio", str(speech)]
            command += ["--threads", str(arguments.threads), "--preset", arguments.preset]
            command += ["--once", str(Path(folder) / f"out{seconds:.0f}.mp4")]
            process = subprocess.run(command, check=True, capture_output=True, text=True)
            results[seconds] = json.loads(process.stdout.splitlines()[-1])
            info = media.probe(Path(folder) / f"out{seconds:.0f}.mp4")
            one = results[seconds]
            print(
                f"{seconds:5.0f} s: peak {one['peak_mb']:.0f} MB, "
                f"{one['seconds_per_second']:.2f} s and "
                f"{one['processor_s'] / one['duration_s']:.2f} processor seconds "
                f"per second of video, "
                f"picture {info.video.duration_s:.3f} s, sound {info.audio.duration_s:.3f} s"
            )
    short, long = results[SHORT_S]["peak_mb"], results[arguments.memory]["peak_mb"]
    print(f"{long - short:+.0f} MB for {arguments.memory / SHORT_S:.0f} times the length")


def looped(video, samples, seconds, folder):
    """A clip and its audio repeated to a length and re-encoded; returns (video, audio) paths."""
    from heygem import media

    sound = media.AudioTrack(np.resize(samples, int(seconds * 16000))[:, None], 16000)
    out = folder / f"in{seconds:.0f}.mp4"
    info = media.probe(video).video
    step, written = float(1 / info.rate), 0
    with media.VideoWriter(
        out,
        label=media.RecordedFrames(),
        width=info.width,
        height=info.height,
        rate=info.rate,
        audio=sound,
        crf=23,
        preset="ultrafast",
    ) as writer:
        while written * step < seconds:
            with media.VideoReader(video) as reader:
                for frame in reader:
                    if written * step >= seconds:
                        break
                    writer.write(frame.image, written * step)
                    written += 1
    return out, out


if __name__ == "__main__":
    main()
