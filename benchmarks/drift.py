"""Drift between audio and video of a long result, measured by tracking it again.

    python benchmarks/drift.py [--video V] [--audio A] [--seconds 600] [--windows 5]

The audio is repeated up to the given length and the video generated as `heygem generate` does. In
windows of the encoded file, the tracked lip aperture is compared with the aperture predicted from
the file's own audio, decoded again. Their lag in each window is the offset; the difference between
the last and the first window is the drift.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from pipeline import ROOT, limit_threads

from heygem.face.backends import make_backend
from heygem.face.pose import aperture, fit_pose, to_canonical

WINDOW_S = 30.0
BEFORE_S = 1.0  # audio before a window, so that its first syllable is not cut


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--video", type=Path, default=ROOT / "samples" / "hopper.mp4")
    parser.add_argument("--audio", type=Path, default=ROOT / "samples" / "speech_en.wav")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="threads of each library")
    parser.add_argument("--out", type=Path, help="JSON file that receives the numbers")
    arguments = parser.parse_args()
    limit_threads(arguments.threads)
    with tempfile.TemporaryDirectory(prefix="heygem-drift-") as folder:
        video = make(arguments.video, arguments.audio, arguments.seconds, Path(folder))
        results = measure(video, arguments.windows)
    print(f"picture {results['picture_s']:.3f} s, sound {results['sound_s']:.3f} s")
    print("| window s | lag ms | r |\n| --- | --- | --- |")
    for row in results["windows"]:
        print(f"| {row['start_s']:.0f}–{row['end_s']:.0f} | {row['lag_ms']:.1f} | {row['r']:.2f} |")
    print(f"drift, last window over first: {results['drift_ms']:+.1f} ms")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


def make(video, audio, seconds, folder):
    """Generate a result of this length; returns its path."""
    from heygem import media, pipeline

    sound = media.read_audio(audio)
    count = round(seconds * sound.rate_hz)
    samples = np.resize(sound.samples, (count, sound.channels))
    long = folder / "long.mkv"
    # An audio file through heygem's own writer: no other encoder is needed.
    with media.VideoWriter(
        long,
        label=media.RecordedFrames(),
        width=16,
        height=16,
        rate=1,
        audio=media.AudioTrack(samples, sound.rate_hz),
    ) as writer:
        for second in range(int(seconds)):
            writer.write(np.zeros((16, 16, 3), np.uint8), float(second))
    return pipeline.generate(video, long, folder / "long.mp4").path


def measure(video, windows):
    """Lengths of the streams, the lag in each window, and the drift."""
    import heygem.audio
    from heygem import lips, media
    from heygem.config.params import Params
    from heygem.evaluation import motion_metrics
    from heygem.face import tracking

    info = media.probe(video)
    samples = heygem.audio.load(video).samples
    model, controls = lips.LipsModel.load(), Params().lips
    backend = make_backend(Params().face)
    rows = []
    for start_s in np.linspace(0, info.video.duration_s - WINDOW_S, windows):
        tracker, points, times_s = tracking.Tracker(backend), [], []
        with media.VideoReader(video, start_s=start_s, end_s=start_s + WINDOW_S) as reader:
            for frame in reader:
                mesh = tracker(frame.image)[0]
                if mesh is not None:
                    points.append(mesh)
                    times_s.append(frame.time_s)
        points, times_s = np.array(points), np.array(times_s)
        pose, _ = fit_pose(points)
        tracked = aperture(to_canonical(points, pose))
        first_s = max(0.0, start_s - BEFORE_S)
        window = samples[int(first_s * 16000) : int((start_s + WINDOW_S + BEFORE_S) * 16000)]
        motion = lips.apply_controls(
            model.predict(window), controls, heygem.audio.voice_activity(window)
        )
        predicted = np.interp(times_s - first_s, motion.times_s, motion.aperture())
        peak = motion_metrics.best_lag(tracked, predicted, times_s)
        rows.append(
            {"start_s": start_s, "end_s": start_s + WINDOW_S, "lag_ms": peak.lag_ms, "r": peak.corr}
        )
    return {
        "picture_s": info.video.duration_s,
        "sound_s": info.audio.duration_s,
        "windows": rows,
        "drift_ms": rows[-1]["lag_ms"] - rows[0]["lag_ms"],
    }


if __name__ == "__main__":
    main()
