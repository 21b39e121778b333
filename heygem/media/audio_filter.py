"""Audio through FFmpeg's filters: blocks of samples in, blocks of samples out."""

from collections.abc import Iterable, Iterator

import av
import numpy as np

from heygem.core.types import FloatArray


def audio_frame(block: FloatArray, rate_hz: int, layout: str | av.AudioLayout) -> av.AudioFrame:
    """A PyAV frame of packed float samples, from float32 [k, channels]; without a time."""
    packed = np.ascontiguousarray(block, np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    frame.sample_rate = rate_hz
    return frame


def filter_blocks(
    blocks: Iterable[FloatArray],
    rate_hz: int,
    layout: str,
    filters: Iterable[tuple[str, str]],
    *,
    out_rate_hz: int | None = None,
    out_layout: str | None = None,
) -> Iterator[FloatArray]:
    """Run audio through FFmpeg filters.

    Parameters
    ----------
    blocks : iterable of float32 [k, channels]
    rate_hz : int
    layout : str
        FFmpeg's name of the channel layout.
    filters : iterable of (name, arguments)
    out_rate_hz, out_layout : optional
        Of the result, where they are not those of the blocks.

    Yields
    ------
    float32 [k, channels], the same total length in seconds
    """
    out_rate_hz, out_layout = out_rate_hz or rate_hz, out_layout or layout
    graph = av.filter.Graph()
    nodes = [graph.add_abuffer(format="flt", sample_rate=rate_hz, layout=layout)]
    nodes += [graph.add(name, arguments) for name, arguments in filters]
    nodes += [
        graph.add(
            "aformat", f"sample_fmts=flt:sample_rates={out_rate_hz}:channel_layouts={out_layout}"
        ),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    channels = av.AudioLayout(out_layout).nb_channels
    position = 0
    for block in blocks:
        frame = audio_frame(block, rate_hz, layout)
        frame.pts = position
        position += len(block)
        graph.push(frame)
        for filtered in finished_frames(graph):
            yield np.asarray(filtered.to_ndarray(), np.float32).reshape(-1, channels)
    graph.push(None)
    for filtered in finished_frames(graph):
        yield np.asarray(filtered.to_ndarray(), np.float32).reshape(-1, channels)


def finished_frames(graph: av.filter.Graph) -> Iterator[av.AudioFrame]:
    """Yield the audio frames that a filter graph has finished."""
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        assert isinstance(frame, av.AudioFrame)
        yield frame
