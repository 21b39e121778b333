"""Loudness of a recording (ITU-R BS.1770-4), and the gain that brings it to a target."""

import av
import numpy as np

from heygem.media.audio_filter import audio_frame, finished_frames
from heygem.media.audio_io import AudioFile, AudioSource

MAX_TRUE_PEAK_DB = -1.0  # dBTP, the ceiling of EBU R 128
SILENCE_LUFS = -70.0  # absolute gate of BS.1770-4


def normalization_gain_db(source: AudioSource, target_lufs: float) -> tuple[float, str]:
    """Gain that brings a recording to a loudness, limited by the true peak, and a note on it."""
    loudness, peak_db = measure_loudness(source)
    if loudness <= SILENCE_LUFS:
        return 0.0, "loudness not changed: the audio is silent"
    gain_db = target_lufs - loudness
    if gain_db + peak_db > MAX_TRUE_PEAK_DB:
        gain_db = MAX_TRUE_PEAK_DB - peak_db
        return gain_db, (
            f"loudness {loudness:.1f} brought to {loudness + gain_db:.1f} LUFS, not "
            f"{target_lufs:.1f}: the true peak would exceed {MAX_TRUE_PEAK_DB:.0f} dBTP"
        )
    return gain_db, f"loudness {loudness:.1f} brought to {target_lufs:.1f} LUFS"


def measure_loudness(source: AudioSource) -> tuple[float, float]:
    """Integrated loudness in LUFS (-70 for silence) and true peak in dBTP.

    As FFmpeg's ``ebur128`` filter measures them over the whole stream.
    """
    if isinstance(source, AudioFile):
        layout = source.layout
    else:
        layout = {1: "mono", 2: "stereo"}[source.channels]
    graph = av.filter.Graph()
    nodes = [
        graph.add_abuffer(format="flt", sample_rate=source.rate_hz, layout=layout),
        graph.add("ebur128", "metadata=1:peak=true"),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    loudness, peak, position = SILENCE_LUFS, 0.0, 0
    for block in source.blocks():
        frame = audio_frame(block, source.rate_hz, layout)
        frame.pts = position
        position += len(block)
        graph.push(frame)
        loudness, peak = _read_measurements(graph, loudness, peak)
    graph.push(None)
    loudness, peak = _read_measurements(graph, loudness, peak)
    return loudness, 20 * float(np.log10(max(peak, 1e-6)))


def _read_measurements(graph: av.filter.Graph, loudness: float, peak: float) -> tuple[float, float]:
    """Loudness so far and highest peak so far, from the frames that the filter has finished."""
    for frame in finished_frames(graph):
        tags = frame.metadata
        loudness = float(tags.get("lavfi.r128.I", loudness))
        peaks = [float(v) for k, v in tags.items() if k.startswith("lavfi.r128.true_peaks_ch")]
        peak = max([peak, *peaks])
    return loudness, peak
