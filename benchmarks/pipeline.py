"""Where the time goes: each stage of a video's making, as medians and as shares of real time.

    python benchmarks/pipeline.py [--video V] [--audio A] [--repeats 3] [--threads 1]
    python benchmarks/pipeline.py --memory 600

Absolute numbers say something about a machine only; the shares, and milliseconds over the time
of one bare decode, travel better. `--memory S` makes a video of S seconds and one of 20, each in a
process of its own, and compares their peaks.
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
        print(json.dumps(once(arguments)))
    elif arguments.memory is not None:
        compare_memory(arguments)
    else:
        whole(arguments)
        stages(arguments)


def limit_threads(count):
    """One number for OpenMP, OpenCV and PyTorch, so that two machines can be compared."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    import cv2
    import torch

    cv2.setNumThreads(count)
    torch.set_num_threads(count)


def once(arguments):
    """One result: its timings, and this process's peak memory in MB and processor time."""
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


def whole(arguments):
    """`pipeline.generate` from outside: seconds per second of video."""
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
    # The first run tracks; the later ones find the avatar in the cache and the sound in memory.
    print(f"{arguments.video.name}, {length:.1f} s of result, {arguments.threads} thread(s)")
    for name, chosen in (("first", runs[:1]), ("cached", runs[1:])):
        if chosen:
            spent = {k: median(run[k] for run in chosen) for k in STAGES if k in chosen[0]}
            total = sum(spent.values())
            parts = ", ".join(f"{k[:-2]} {v / total:.0%}" for k, v in spent.items() if v > 0)
            print(f"  {name:7s} {total / length:6.2f} s per second of video: {parts}")


def stages(arguments):
    """Each step of the stream alone: median processor milliseconds a frame.

    Processor time, because that is what a busy machine does not change; encoder and decoder
    work in threads of their own, whose time lands on the step that runs meanwhile.
    """
    from heygem import audio as sound
    from heygem import avatar, lips, media, pipeline, provenance
    from heygem.config.params import Params
    from heygem.face.tracking import Tracker
    from heygem.provenance import keys
    from heygem.rendering.compose import paste
    from heygem.rendering.warp.renderer import WarpRenderer

    params = Params()
    person = avatar.load(arguments.video, params.face)
    speech = sound.load(arguments.audio)
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
    follow = Tracker(make_backend(params.face))
    size = person.track.width, person.track.height
    labeller = provenance.Labeller(params.label, *size, keys=keys.ensure())
    with tempfile.TemporaryDirectory() as folder:
        writer = media.VideoWriter(
            Path(folder) / "out.mp4",
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
                follow(frame.image)
                clock.append(time.process_time())
                patch = renderer.render(frame.image, k)
                clock.append(time.process_time())
                made = paste(frame.image, patch)
                clock.append(time.process_time())
                made = labeller.label_frame(made, frame.time_s)
                clock.append(time.process_time())
                writer.write(made, frame.time_s)
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
    """Peak memory of a long and of a short video, each in a process of its own."""
    from heygem import audio, media

    samples = audio.load(arguments.audio).samples
    found = {}
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or stack.enter_context(tempfile.TemporaryDirectory())
        for seconds in (SHORT_S, arguments.memory):
            video, speech = looped(arguments.video, samples, seconds, Path(folder))
            command = [sys.executable, __file__, "--video", str(video), "--audio", str(speech)]
            command += ["--threads", str(arguments.threads), "--preset", arguments.preset]
            command += ["--once", str(Path(folder) / f"out{seconds:.0f}.mp4")]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[seconds] = json.loads(done.stdout.splitlines()[-1])
            made = media.probe(Path(folder) / f"out{seconds:.0f}.mp4")
            one = found[seconds]
            print(
                f"{seconds:5.0f} s: peak {one['peak_mb']:.0f} MB, "
                f"{one['seconds_per_second']:.2f} s and "
                f"{one['processor_s'] / one['duration_s']:.2f} processor seconds "
                f"per second of video, "
                f"picture {made.video.duration_s:.3f} s, sound {made.audio.duration_s:.3f} s"
            )
    short, long = found[SHORT_S]["peak_mb"], found[arguments.memory]["peak_mb"]
    print(f"{long - short:+.0f} MB for {arguments.memory / SHORT_S:.0f} times the length")


def looped(video, samples, seconds, folder):
    """A clip and a sound repeated to a length; the clip by its packets' pictures, re-encoded."""
    from heygem import media

    sound = media.AudioTrack(np.resize(samples, int(seconds * 16000))[:, None], 16000)
    out = folder / f"in{seconds:.0f}.mp4"
    info = media.probe(video).video
    step, shown = float(1 / info.rate), 0
    with media.VideoWriter(
        out,
        width=info.width,
        height=info.height,
        rate=info.rate,
        audio=sound,
        crf=23,
        preset="ultrafast",
    ) as writer:
        while shown * step < seconds:
            with media.VideoReader(video) as reader:
                for frame in reader:
                    if shown * step >= seconds:
                        break
                    writer.write(frame.image, shown * step)
                    shown += 1
    return out, out


if __name__ == "__main__":
    main()
