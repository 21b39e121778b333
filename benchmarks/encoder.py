"""Size, picture and processor time of x264 settings, against the labelled frames before encoding.

    python benchmarks/encoder.py --video V --audio A [--video V --audio A ...] [--json F]

Each video is made once with `crf: 0`, which is lossless: its decoded planes are the frames that the
encoder got. They are then encoded with every preset and crf, and compared with what comes out: PSNR
and SSIM of the luma (FFmpeg's filters). Processor time is that of the whole process while it
encodes, all threads of x264 included, and does not depend on what else the machine does.
"""

import argparse
import io
import json
import tempfile
import time
from pathlib import Path

import av
import numpy as np

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "balanced")
CRFS = (16, 17, 18, 19, 20, 21)
REFERENCE = ("medium", 18)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--video", type=Path, action="append", required=True)
    parser.add_argument("--audio", type=Path, action="append", required=True)
    parser.add_argument("--frames", type=int, default=120, help="of each video")
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--crfs", nargs="+", type=float, default=CRFS)
    parser.add_argument("--options", default="", help="of x264, such as aq-mode=3:deblock=-1,-1")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for video, audio in zip(arguments.video, arguments.audio, strict=True):
        frames, rate = labelled_frames(video, audio, arguments.frames)
        rows += compare(video.name, frames, rate, arguments)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1))


def labelled_frames(video, audio, count):
    """The frames that the encoder of a generated video gets, and their rate."""
    from heygem import pipeline
    from heygem.config.params import Params

    params = Params.from_dict({"media": {"preset": "ultrafast", "crf": 0}})
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "lossless.mp4"
        pipeline.generate(video, audio, out, params)
        with av.open(out) as container:
            rate = container.streams.video[0].average_rate
            frames = []
            for frame in container.decode(video=0):
                frames.append(frame)
                if len(frames) == count:
                    break
    return frames, rate


def compare(name, frames, rate, arguments):
    """Rows of one video, the reference first."""
    print(f"{name}, {len(frames)} frames of {frames[0].width}x{frames[0].height}")
    print("preset      crf  CPU ms   kbit/s    size  PSNR dB   diff    SSIM      diff")
    settings = [(p, c) for p in arguments.presets for c in arguments.crfs]
    rows, reference = [], None
    for preset, crf in [REFERENCE, *settings]:
        options = "" if reference is None else arguments.options
        coded, cpu_s = encode(frames, rate, preset, crf, options)
        psnr, ssim = quality(frames, coded)
        row = {
            "video": name,
            "preset": preset,
            "crf": crf,
            "cpu_ms": cpu_s / len(frames) * 1e3,
            "kbit_s": len(coded.getvalue()) * 8e-3 / (len(frames) / float(rate)),
            "psnr_db": psnr,
            "ssim": ssim,
        }
        reference = reference or row
        rows.append(row)
        size = row["kbit_s"] / reference["kbit_s"]
        ok = size <= 1 and ssim >= reference["ssim"]
        print(
            f"{preset:10s} {crf:4g} {row['cpu_ms']:7.2f} {row['kbit_s']:8.0f} {size:7.3f}"
            f" {psnr:8.2f} {psnr - reference['psnr_db']:+6.2f} {ssim:8.5f}"
            f" {ssim - reference['ssim']:+9.5f}{'  no worse' if ok else ''}",
            flush=True,
        )
    return rows


def encode(frames, rate, preset, crf, options=""):
    """Encode frames to MP4 in memory; returns it, and the processor time in seconds."""
    from heygem.media.x264 import x264_options

    coded = io.BytesIO()
    began = time.process_time()
    with av.open(coded, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_type = "FRAME"  # as the writer
        stream.options = x264_options(preset, crf, stream.width, stream.height)
        if options:
            stream.options = {**stream.options, "x264-params": options}
        for k, frame in enumerate(frames):
            copy = av.VideoFrame(frame.width, frame.height, "yuv420p")
            for ours, theirs in zip(copy.planes, frame.planes, strict=True):
                plane = np.frombuffer(theirs, np.uint8).reshape(-1, theirs.line_size)
                padded = np.frombuffer(ours, np.uint8).reshape(-1, ours.line_size)
                padded[:, : ours.width] = plane[:, : ours.width]
            copy.pts = k
            container.mux(stream.encode(copy))
        container.mux(stream.encode(None))
    spent = time.process_time() - began
    coded.seek(0)
    return coded, spent


def quality(frames, coded):
    """Mean PSNR [dB] and SSIM of the luma over the frames."""
    ssim, squares = [], []
    with av.open(coded) as container:
        graph = None
        for theirs, ours in zip(frames, container.decode(video=0), strict=False):
            pair = [_luma(theirs), _luma(ours)]
            squares.append(np.mean((pair[0].astype(np.float32) - pair[1]) ** 2))
            if graph is None:
                graph = _ssim_graph(ours.width, ours.height)
            for source, luma in zip(graph[1:3], pair, strict=True):
                grey = av.VideoFrame.from_ndarray(luma, format="gray")
                grey.pts = len(squares)
                source.push(grey)
            result = graph[3].pull()
            ssim.append(float(result.metadata["lavfi.ssim.Y"]))
    return float(10 * np.log10(255**2 / np.mean(squares))), float(np.mean(ssim))


def _luma(frame):
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return np.ascontiguousarray(rows[: frame.height, : frame.width])


def _ssim_graph(width, height):
    graph = av.filter.Graph()
    size = {"width": width, "height": height, "format": "gray", "time_base": "1/25"}
    first, second = (graph.add_buffer(**size) for _ in range(2))
    ssim, sink = graph.add("ssim"), graph.add("buffersink")
    first.link_to(ssim, 0, 0)
    second.link_to(ssim, 0, 1)
    ssim.link_to(sink)
    graph.configure()
    return graph, first, second, sink


if __name__ == "__main__":
    main()
