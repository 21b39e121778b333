"""The table of docs/performance.md: each target, what was measured, and whether it is met.

    python benchmarks/speed.py [--json OUT.json] [--video V --audio A] [--parts job start ...]
    python benchmarks/speed.py --compare A.json B.json

Each part runs in processes of its own. *CPU* is the processor time of a process with all its
threads and children, which hardly depends on what else the machine does; *wall* is the time on the
clock, which does: measure it on a quiet machine. Ratios are of two measurements in one run. Without
`--video`, a sample is cut close to the face and drawn at 1280x720 and at 1920x1080; whole jobs are
measured at the usual framing too, with the sample's face in the middle of a wide picture.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}
CLIPS = [size + framing for framing in ("", "_usual") for size in SIZES]  # of whole jobs
PARTS = ("job", "stages", "cold", "start", "preview", "memory", "items")
SHORT_S, LONG_S = 20.0, 120.0  # of the comparison of memory
ITEMS, ITEM_S = 10, 5.0
JOB_S = 40.0  # of whole jobs: the start of the process weighs little
#: name: (unit, target or None, what it is)
TARGETS = {
    "720p.job_over_transcode": ("x", 1.6, "whole job over a plain transcode, 720p, wall"),
    "1080p.job_over_transcode": ("x", 1.6, "whole job over a plain transcode, 1080p, wall"),
    "720p_usual.job_over_transcode": ("x", 1.6, "the same, usual framing, 720p"),
    "1080p_usual.job_over_transcode": ("x", 1.6, "the same, usual framing, 1080p"),
    "720p.job_over_transcode_cpu": ("x", None, "the same in CPU, 720p"),
    "1080p.job_over_transcode_cpu": ("x", None, "the same in CPU, 1080p"),
    "720p.job_wall_per_s": ("s/s", 0.6, "whole job, avatar cached, 720p, per second of video"),
    "720p_usual.job_wall_per_s": ("s/s", 0.6, "the same, usual framing"),
    **{
        f"{clip}.{kind}_cpu_ms": ("ms", None, f"{what}, {clip.replace('_', ', ')}, CPU per frame")
        for clip in CLIPS
        for kind, what in (("job", "whole job"), ("transcode", "plain transcode"))
    },
    "cold.wall_per_s": ("s/s", 1.0, "whole job, tracking included, 720p, per second of video"),
    "stages.face_px": ("px", None, "width of the face in the next rows"),
    "stages.decode_ms": ("ms", None, "decode, CPU per frame of 720p"),
    "stages.render_ms": ("ms", 12, "renderer, CPU per frame"),
    "stages.paste_ms": ("ms", None, "paste into the planes, CPU per frame"),
    "stages.label_ms": ("ms", None, "watermark, label and fingerprint, CPU per frame"),
    "stages.track_ms": ("ms", 4, "face tracking, CPU per frame of 720p"),
    "start.import_s": ("s", 0.3, "import heygem"),
    "start.help_s": ("s", 0.3, "heygem --help"),
    "start.first_frame_s": ("s", 2, "start of the process to the first rendered frame, warm"),
    "preview.picture_s": ("s", 0.25, "first picture after a control moved, 720p"),
    "preview.latency_s": ("s", 0.7, "preview of three seconds after a control moved, 720p"),
    "memory.short_mb": ("MB", 1000, f"peak memory at 1080p, {SHORT_S:.0f} s"),
    "memory.added_mb": ("MB", 200, f"more for {LONG_S:.0f} s (--long: 600 s)"),
    "items.speedup": (
        "x",
        1.6,
        f"{ITEMS} items of {ITEM_S:.0f} s by `heygem generate`: one each, over one for all",
    ),
}
LOWER_IS_WORSE = {"items.speedup", "stages.face_px"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("A", "B"))
    parser.add_argument("--video", type=Path, help="a video of a face in place of the sample")
    parser.add_argument("--audio", type=Path, default=ROOT / "samples" / "speech_en.wav")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--long", type=float, default=LONG_S, help="seconds of the long video")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, *rest = arguments.child
        print(json.dumps(CHILDREN[name](*rest)))
    elif arguments.compare:
        compare(*(json.loads(path.read_text()) for path in arguments.compare))
    else:
        measure(arguments)


def measure(arguments):
    """Run the parts, print the table, and write the JSON."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="heygem-speed-") as folder:
        bench = Bench(Path(folder), arguments)
        for part in arguments.parts:
            began = time.perf_counter()
            results.update(getattr(bench, part)())
            print(f"  {part}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    table(results)
    if arguments.json is not None:
        facts = {"commit": commit(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
        arguments.json.write_text(json.dumps({"facts": facts, "results": results}, indent=1))


def table(results):
    """Print each result beside its target."""
    print(f"{'':64s} {'measured':>10s} {'target':>8s}  met")
    for name, (unit, target, what) in TARGETS.items():
        if name in results:
            value = results[name]
            met = "" if target is None else ("no", "yes")[is_met(name, value, target)]
            aim = "" if target is None else f"{target:g}"
            print(f"{what:64s} {value:8.2f} {unit:3s} {aim:>6s}  {met}")


def is_met(name, value, target):
    return value >= target if name in LOWER_IS_WORSE else value <= target


def compare(before, after):
    """Print two runs side by side."""
    print(f"{'':64s} {before['facts']['commit']:>9s} {after['facts']['commit']:>9s}  change")
    for name, (unit, _, what) in TARGETS.items():
        if name in before["results"] and name in after["results"]:
            a, b = before["results"][name], after["results"][name]
            change = f"{b / a - 1:+8.1%}" if a else ""
            print(f"{what:64s} {a:9.2f} {b:9.2f} {unit:3s} {change}")


def commit():
    run = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT
    )
    return run.stdout.strip() or "unknown"


class Bench:
    """The parts; each returns its results by name."""

    def __init__(self, folder, arguments):
        self.folder, self.arguments = folder, arguments
        self.audio = arguments.audio.resolve()
        self.home = folder / "home"

    def video(self, clip="720p"):
        """The person's video; the sample is enlarged once for each of `CLIPS`."""
        if self.arguments.video is not None:
            return self.arguments.video.resolve()
        path = self.folder / f"{clip}.mp4"
        if not path.exists():
            size, _, usual = clip.partition("_")
            framing = "usual_framing" if usual else "close_up"
            run(framing, ROOT / "samples" / "hopper.mp4", *SIZES[size], path)
        return path

    def long_video(self, clip="720p"):
        """The person's video; the sample is repeated to `JOB_S`."""
        if self.arguments.video is not None:
            return self.video()
        path = self.folder / f"{clip}-long.mp4"
        if not path.exists():
            run("repeat", self.video(clip), JOB_S, path)
        return path

    def long_sound(self):
        """Sound of `JOB_S`."""
        path = self.folder / "job.wav"
        if not path.exists():
            run("loop", self.audio, JOB_S, path)
        return path

    def job(self):
        """Whole jobs and plain transcodes in turn, so that both meet the same machine."""
        results = {}
        for clip in CLIPS if self.arguments.video is None else CLIPS[:1]:
            video, sound, out = self.long_video(clip), self.long_sound(), self.folder / "job.mp4"
            run("generate", video, sound, out, home=self.home)  # fills the cache
            jobs, copies = [], []
            for _ in range(self.arguments.repeats):
                jobs.append(run("generate", video, sound, out, home=self.home))
                copies.append(run("transcode", video, jobs[-1]["frames"], self.folder / "copy.mp4"))
            job = {k: median(one[k] for one in jobs) for k in ("wall_s", "cpu_s")}
            copy = {k: median(one[k] for one in copies) for k in ("wall_s", "cpu_s")}
            frames, length = jobs[0]["frames"], jobs[0]["length_s"]
            results |= {
                f"{clip}.job_over_transcode": job["wall_s"] / copy["wall_s"],
                f"{clip}.job_over_transcode_cpu": job["cpu_s"] / copy["cpu_s"],
                f"{clip}.job_wall_per_s": job["wall_s"] / length,
                f"{clip}.job_cpu_ms": job["cpu_s"] / frames * 1e3,
                f"{clip}.transcode_cpu_ms": copy["cpu_s"] / frames * 1e3,
            }
        return results

    def stages(self):
        """The steps of a frame alone, in CPU."""
        return run("stages", self.video(), self.audio, home=self.home)["stages"]

    def cold(self):
        """A job that tracks the face first."""
        out = self.folder / "cold.mp4"
        video, sound = self.long_video(), self.long_sound()
        one = run("generate", video, sound, out, home=self.folder / "cold")
        return {"cold.wall_per_s": one["wall_s"] / one["length_s"]}

    def start(self):
        """Start of the process."""
        run("first_frame", self.video(), self.audio, home=self.home)  # fills caches
        commands = {
            "start.import_s": [sys.executable, "-c", "import heygem"],
            "start.help_s": [sys.executable, "-m", "heygem.cli.main", "--help"],
        }
        results = {name: timed(command) for name, command in commands.items()}
        frames = [run("first_frame", self.video(), self.audio, home=self.home) for _ in range(3)]
        return results | {"start.first_frame_s": median(one["since_start_s"] for one in frames)}

    def preview(self):
        """A control is moved in the studio."""
        seconds = run("preview", self.video(), self.audio, self.folder)
        return {"preview.picture_s": seconds["picture_s"], "preview.latency_s": seconds["s"]}

    def memory(self):
        """Peak memory of a job's process, for two lengths at 1080p."""
        peaks = []
        for seconds in (SHORT_S, self.arguments.long):
            sound = self.folder / f"{seconds:.0f}.wav"
            run("loop", self.audio, seconds, sound)
            out = self.folder / "long.mp4"
            peaks.append(
                run("generate", self.video("1080p"), sound, out, home=self.home)["peak_mb"]
            )
        return {"memory.short_mb": peaks[0], "memory.added_mb": peaks[1] - peaks[0]}

    def items(self):
        """Short items made by one `heygem generate`, and by one each; with all that users get."""
        sound = self.folder / "item.wav"
        run("loop", self.audio, ITEM_S, sound)
        videos = [self.folder / f"item{k}.mp4" for k in range(ITEMS)]
        for video in videos:
            shutil.copy(self.video(), video)
        self.generate_by_command(videos[:1], sound)  # fills the cache
        one = median(self.generate_by_command([video], sound) for video in videos[:3])
        return {"items.speedup": one * ITEMS / self.generate_by_command(videos, sound)}

    def generate_by_command(self, videos, sound):
        """Seconds that `heygem generate` takes, the start of its process included."""
        out = tempfile.mkdtemp(dir=self.folder)  # a new one: what is there would be skipped
        named = [word for video in videos for word in ("--video", video)]
        command = [sys.executable, "-m", "heygem.cli.main", "generate", *named]
        command += ["--audio", sound, "--out", out]
        began = time.perf_counter()
        subprocess.run(
            list(map(str, command)),
            check=True,
            capture_output=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **home_variables(self.home)},
        )
        return time.perf_counter() - began


def run(name, *arguments, home=None, script=__file__):
    """Run a child of a script; its JSON, and the time it took with its start."""
    environment = dict(os.environ)
    if home is not None:
        environment |= home_variables(home)
    command = [sys.executable, script, "--child", name, *map(str, arguments)]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    return {**json.loads(done.stdout.splitlines()[-1]), "whole_s": time.perf_counter() - began}


def home_variables(home):
    """A home of its own, with the models of the usual one."""
    models = Path.home() / ".cache" / "heygem" / "models"
    return {
        "HEYGEM_HOME": str(home),
        "HEYGEM_RECORDS": str(home / "records"),
        "HEYGEM_MODELS": os.environ.get("HEYGEM_MODELS", str(models)),
    }


def timed(command):
    """Median wall time of five runs of a command."""
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        seconds.append(time.perf_counter() - began)
    return median(seconds)


# --- children ---


def close_up(video, width, height, path):
    from preview import close_up

    size = (int(width), int(height))
    made = close_up(Path(video), size, Path(path).parent)
    made.rename(path)
    return {}


def usual_framing(video, width, height, path):
    """A video as high as the frame before its own blurred picture, so that the face is smaller."""
    import cv2

    from heygem import media

    width, height = int(width), int(height)
    with media.VideoReader(video) as reader:
        info = reader.info.video
        own = round(info.width * height / info.height)
        middle = slice((width - own) // 2, (width - own) // 2 + own)
        with media.VideoWriter(
            path, label=media.RecordedFrames(), width=width, height=height, rate=info.rate
        ) as writer:
            for frame in reader:
                picture = cv2.blur(cv2.resize(frame.image, (width, height)), (99, 99))
                person = cv2.resize(frame.image, (own, height), interpolation=cv2.INTER_CUBIC)
                picture[:, middle] = person
                writer.write(picture, frame.time_s)
    return {}


def repeat(video, seconds, path):
    from heygem import media

    with media.VideoReader(video) as reader:
        info, frames = reader.info.video, 0
        with media.VideoWriter(
            path, label=media.RecordedFrames(), width=info.width, height=info.height, rate=info.rate
        ) as writer:
            while frames < float(seconds) * info.rate:
                for frame in reader:
                    writer.write(frame.image, frames / float(info.rate))
                    frames += 1
    return {}


def loop(audio, seconds, path):
    import numpy as np

    from heygem import audio as sound
    from heygem import media

    samples = sound.load(audio).samples
    media.write_wav(path, np.resize(samples, int(float(seconds) * 16000)), 16000)
    return {}


def generate(video, audio, out):
    """A job in this process; its peak memory includes its children."""
    began = time.perf_counter()
    from heygem import pipeline

    peak = Peak()
    with peak:
        Path(out).unlink(missing_ok=True)
        result = pipeline.generate(video, audio, out)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "wall_s": time.perf_counter() - began,
        "cpu_s": used.ru_utime + used.ru_stime,
        "frames": result.frames,
        "length_s": result.duration_s,
        "peak_mb": peak.mb,
    }


class Peak:
    """Peak memory of this process and its children [MB], sampled ten times a second."""

    def __enter__(self):
        self.mb, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self):
        import psutil

        own = psutil.Process()
        while not self._stop.wait(0.1):
            total = own.memory_info().rss
            for child in own.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.mb = max(self.mb, total / 2**20)

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def transcode(video, frames, out):
    """Decode and encode as many frames as a job, with its settings: back and forth as it does."""
    began = time.perf_counter()
    import av

    from heygem.config.params import Params
    from heygem.media.x264 import x264_options

    settings = Params().media
    remaining = int(frames)
    with av.open(out, "w") as container:
        stream, number = None, 0
        while remaining > 0:
            with av.open(video) as source:
                picture = source.streams.video[0]
                picture.thread_type = "AUTO"
                if stream is None:
                    stream = container.add_stream("libx264", rate=picture.average_rate)
                    stream.width, stream.height = picture.width, picture.height
                    stream.pix_fmt = "yuv420p"
                    size = picture.width, picture.height
                    stream.options = x264_options(settings.preset, settings.crf, *size)
                    stream.codec_context.thread_type = "FRAME"  # as the writer, and ffmpeg
                for frame in source.decode(picture):
                    if remaining == 0:
                        break
                    frame.pict_type, frame.pts, frame.time_base = (
                        0,
                        number,
                        1 / picture.average_rate,
                    )
                    container.mux(stream.encode(frame))
                    number, remaining = number + 1, remaining - 1
        container.mux(stream.encode(None))
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"wall_s": time.perf_counter() - began, "cpu_s": used.ru_utime + used.ru_stime}


def stages(video, audio):
    """CPU of each step of a frame, median, in ms."""
    import cv2
    import numpy as np
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    from heygem import pipeline, provenance
    from heygem.avatar.timeline import planes_in_order
    from heygem.config.params import Params
    from heygem.face.tracking import Tracker
    from heygem.provenance import keys
    from heygem.rendering.compose import paste

    params = Params()
    models = pipeline.Models(params)
    person = pipeline.load_person(video, params.face, backend=models.faces)
    encoded = models.encode_audio(audio, params.audio)
    timeline = pipeline.build_timeline(person, encoded.speech.duration_s, params.media)
    renderer = pipeline.make_renderer(person, params, models)
    motion = pipeline.articulate(encoded.predicted, encoded.voice, person, models.lips, params.lips)
    renderer.plan(motion, encoded.speech.samples, timeline)
    size = person.track.width, person.track.height
    labeller = provenance.Labeller(params.label, *size, keys=keys.ensure())
    tracker = Tracker(models.faces)
    images = planes_in_order(person, timeline.order[:120], person.info.video.coding)
    laps = {name: [] for name in ("decode", "render", "paste", "label")}
    tracked = []
    for k in range(min(120, len(timeline))):
        clock = [time.process_time()]
        image = next(images)
        clock.append(time.process_time())
        patch = renderer.render(image, k)
        clock.append(time.process_time())
        finished = paste(image, patch)
        clock.append(time.process_time())
        labeller.label_frame(finished, float(timeline.times_s[k]))
        clock.append(time.process_time())
        for name, lap in zip(laps, np.diff(clock), strict=True):
            laps[name].append(lap * 1e3)
        rgb, began = image.rgb(), time.process_time()
        tracker(rgb)
        tracked.append((time.process_time() - began) * 1e3)
    points = person.track.points[person.track.detected][..., :2]
    results = {f"stages.{name}_ms": float(median(values)) for name, values in laps.items()}
    results["stages.track_ms"] = float(median(tracked))
    results["stages.face_px"] = float(np.median(np.ptp(points, axis=1)[:, 0]))
    return {"stages": results}


def first_frame(video, audio):
    """Seconds from the start of this process to the first rendered frame."""
    from heygem import pipeline
    from heygem.core.errors import Cancelled

    stop = threading.Event()
    first = []

    def progress(stage, done, total):
        if stage == "render" and done >= 1 and not first:
            first.append(since_start_s())
            stop.set()

    with tempfile.TemporaryDirectory() as folder:
        try:
            pipeline.generate(video, audio, Path(folder) / "o.mp4", progress=progress, cancel=stop)
        except Cancelled:
            pass
    return {"since_start_s": first[0]}


def since_start_s():
    """Age of this process [s].

    The kernel counts it from the machine's start; the time of day of that is known to a second.
    """
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def preview(video, audio, folder):
    """Median latency of a moved control."""
    from preview import latencies

    pictures = []
    seconds = latencies(Path(video), Path(audio), 5, Path(folder), pictures=pictures)
    return {"s": median(seconds), "picture_s": median(pictures)}


CHILDREN = {
    f.__name__: f
    for f in (
        close_up,
        usual_framing,
        repeat,
        loop,
        generate,
        transcode,
        stages,
        first_frame,
        preview,
    )
}


if __name__ == "__main__":
    main()
