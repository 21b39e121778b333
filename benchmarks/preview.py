"""Latency from moving a control to the finished preview of three seconds: the median of ten moves.

    python benchmarks/preview.py [--video V ...] [--audio A] [--moves 10] [--cores 2]

Without `--video`, a sample at its own size and, cut close to the face, at 1280x720 and 1920x1080:
the cost grows with the size of the face. Measured from the move of the control to the finished
file, including the pause that waits for the slider to rest; the median of ten moves. The machine's
load affects the result and is printed with it.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
SIZES = ((1280, 720), (1920, 1080))
CONTROL = "lips.openness_gain"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--video", type=Path, action="append", help="may be given several times")
    parser.add_argument("--audio", type=Path, default=ROOT / "samples" / "speech_en.wav")
    parser.add_argument("--moves", type=int, default=10)
    parser.add_argument("--cores", type=int, default=2, help="cores this process may use")
    arguments = parser.parse_args()
    limit_cores(arguments.cores)
    print("picture     frames  picture s  clip s  CPU s  curve ms  first s  load before and after")
    with tempfile.TemporaryDirectory(prefix="heygem-") as scratch:
        sample = ROOT / "samples" / "hopper.mp4"
        videos = arguments.video or [sample, *(close_up(sample, s, scratch) for s in SIZES)]
        for video in videos:
            print(measure(video, arguments.audio, arguments.moves, Path(scratch)), flush=True)


def limit_cores(count):
    """Bind the process, and with it every library's threads, to some cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])
    os.environ["OMP_NUM_THREADS"] = str(count)
    import cv2
    import torch

    cv2.setNumThreads(count)
    torch.set_num_threads(count)


def close_up(video, size, folder):
    """A video cut to the shape of `size` around the face, and drawn as large."""
    import cv2

    from heygem import media

    width, height = size
    path = Path(folder) / f"{width}x{height}.mp4"
    with media.VideoReader(video) as reader:
        info = reader.info.video
        high = round(info.width * height / width)
        top = round((info.height - high) * 0.3)  # the face is above the middle
        with media.VideoWriter(
            path, label=media.RecordedFrames(), width=width, height=height, rate=info.rate
        ) as writer:
            for frame in reader:
                cut = frame.image[top : top + high]
                writer.write(cv2.resize(cut, size, interpolation=cv2.INTER_CUBIC), frame.time_s)
    return path


def measure(video, sound, moves, scratch):
    """One row of the table."""
    before = os.getloadavg()[0]
    curve, spent, first, pictures = [], [], [], []
    lists = {"curve": curve, "spent": spent, "first": first, "pictures": pictures}
    latency = latencies(video, sound, moves, scratch, **lists)
    page, first_s = first
    track, frames = page.preview.session.avatar.track, page.preview.clip.frames
    return (
        f"{track.width}x{track.height:<5} {frames:8d} {median(pictures):9.2f}"
        f" {median(latency):7.2f} {median(spent):6.2f}"
        f" {1000 * median(curve):9.1f} {first_s:8.1f}  {before:.1f}, {os.getloadavg()[0]:.1f}"
    )


def latencies(video, sound, moves, scratch, *, curve=None, spent=None, first=None, pictures=None):
    """Seconds from each move to the finished preview.

    Into the lists go, of each move, the seconds until the curve is drawn, the processor time, and
    the seconds until the page shows the first labelled frame; and the page with the seconds that
    its first preview took.
    """
    os.environ["HEYGEM_SERVER_ROOT"] = str(scratch)
    from heygem.studio.pages.tuning import TuningPage

    began = time.perf_counter()
    page = TuningPage(video=video, audio=sound, out=scratch / "previews", recipes_folder=scratch)
    task = page.preview.task
    task.wait()
    if task.error is not None:
        raise SystemExit(str(task.error))
    if first is not None:
        first += [page, time.perf_counter() - began]
    control = page.controls[CONTROL]
    latency, shown = [], []
    page.preview.player.observe(
        lambda change: shown.append(time.perf_counter()) if change["new"] else None, "live"
    )
    for k in range(moves):
        shown.clear()
        began, cpu = time.perf_counter(), time.process_time()
        control.value = 1.1 + 0.05 * k
        if curve is not None:
            curve.append(time.perf_counter() - began)
        task.wait()
        latency.append(time.perf_counter() - began)
        if pictures is not None:
            pictures.append(shown[0] - began)
        if spent is not None:
            spent.append(time.process_time() - cpu)
    return latency


if __name__ == "__main__":
    main()
