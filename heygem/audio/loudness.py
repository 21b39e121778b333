"""Loudness of a recording (ITU-R BS.1770-4), and the gain that brings it to a target."""

import av
import numpy as np

TRUE_PEAK_DB = -1.0  # dBTP, EBU R 128's ceiling


def gain_for_db(source, target_lufs: float) -> tuple[float, str]:
    """Gain that brings ``source`` to ``target_lufs``, and what to say about it.

    Integrated loudness and true peak after ITU-R BS.1770-4, as FFmpeg's ``ebur128`` measures
    them over the stream.
    """
    loudness, peak_db = measure(source)
    if loudness <= -70:
        return 0.0, "loudness left alone: the sound is silent"
    gain_db = target_lufs - loudness
    if gain_db + peak_db > TRUE_PEAK_DB:
        gain_db = TRUE_PEAK_DB - peak_db
        return gain_db, (
            f"loudness {loudness:.1f} brought to {loudness + gain_db:.1f} LUFS, not "
            f"{target_lufs:.1f}: the true peak would pass {TRUE_PEAK_DB:.0f} dBTP"
        )
    return gain_db, f"loudness {loudness:.1f} brought to {target_lufs:.1f} LUFS"


def measure(source) -> tuple[float, float]:
    """Integrated loudness in LUFS (-70 for silence) and true peak in dBTP of a whole sound."""
    layout = getattr(source, "layout", None) or {1: "mono", 2: "stereo"}[source.channels]
    graph = av.filter.Graph()
    nodes = [
        graph.add_abuffer(format="flt", sample_rate=source.rate_hz, layout=layout),
        graph.add("ebur128", "metadata=1:peak=true"),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    loudness, peak, fed = -70.0, 0.0, 0
    for block in _then_none(source.blocks()):
        if block is None:
            graph.push(None)
        else:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block, np.float32).reshape(1, -1), format="flt", layout=layout
            )
            frame.sample_rate, frame.pts = source.rate_hz, fed
            fed += len(block)
            graph.push(frame)
        while True:
            try:
                out = graph.pull()
            except (av.BlockingIOError, av.EOFError):
                break
            tags = out.metadata
            loudness = float(tags.get("lavfi.r128.I", loudness))
            peak = max(
                [peak]
                + [float(v) for k, v in tags.items() if k.startswith("lavfi.r128.true_peaks_ch")]
            )
    return loudness, 20 * float(np.log10(max(peak, 1e-6)))


def _then_none(blocks):
    yield from blocks
    yield None
