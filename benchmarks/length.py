"""What a job costs by its length: a straight line, and memory that does not grow.

    python benchmarks/length.py [--seconds 10 60 300 900 1800] [--size 320x180] [--json F]

One person's video is looped to each length of sound, in a process of its own: processor time of
the process with all its threads, and peak memory with its children. A line is fitted to the
processor time; each length's distance from it is printed. Minutes of video at 1920x1080 take hours
on two cores, so the size is small unless another is given: what a minute adds beside the codec
(trajectory, plan, watermark, fingerprint, segments, sealing) does not depend on it.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from speed import ROOT, run

SCRIPT = Path(__file__).with_name("speed.py")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 60, 300, 900, 1800])
    parser.add_argument("--size", default="320x180", help="WIDTHxHEIGHT of the sample")
    parser.add_argument("--video", type=Path, help="a video of a face in place of the sample")
    parser.add_argument("--audio", type=Path, default=ROOT / "samples" / "speech_en.wav")
    parser.add_argument("--json", type=Path, help="write the results here")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="heygem-length-") as scratch:
        folder = Path(scratch)
        video = arguments.video
        if video is None:
            video = folder / "person.mp4"
            sample, size = ROOT / "samples" / "hopper.mp4", arguments.size.split("x")
            run("close_up", sample, *size, video, script=SCRIPT)
        print("seconds   CPU s   CPU ms a frame   peak MB", flush=True)
        for seconds in [arguments.seconds[0], *arguments.seconds]:  # the first fills the cache
            rows.append(measure(video.resolve(), arguments.audio.resolve(), seconds, folder))
            if len(rows) > 1:
                row = rows[-1]
                each_ms = 1e3 * row["cpu_s"] / row["frames"]
                print(
                    f"{seconds:7.0f} {row['cpu_s']:7.1f} {each_ms:12.2f} {row['peak_mb']:13.0f}",
                    flush=True,
                )
    report(rows[1:])
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows[1:], indent=1))


def measure(video, audio, seconds, folder):
    """One job: frames, processor time and peak memory."""
    sound, out = folder / "sound.wav", folder / "result.mp4"
    run("loop", audio, seconds, sound, script=SCRIPT)
    job = run("generate", video, sound, out, home=folder / "home", script=SCRIPT)
    return {"seconds": seconds, **{key: job[key] for key in ("frames", "cpu_s", "peak_mb")}}


def report(rows):
    """Print the fitted line, and how far each length is from it."""
    if len(rows) < 2:
        return
    minutes = np.array([row["seconds"] / 60 for row in rows])
    cpu_s = np.array([row["cpu_s"] for row in rows])
    # Weighted so that the short lengths count as much as the long ones.
    slope, start = np.polyfit(minutes, cpu_s, 1, w=1 / cpu_s)
    apart = ", ".join(f"{each:+.1%}" for each in cpu_s / (start + slope * minutes) - 1)
    print(f"a minute adds {slope:.1f} s of processor time, the start takes {start:.1f} s")
    print(f"apart from the line: {apart}")
    grown = rows[-1]["peak_mb"] - rows[0]["peak_mb"]
    print(
        f"peak memory: {grown:+.0f} MB from {rows[0]['seconds']:.0f} to {rows[-1]['seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
