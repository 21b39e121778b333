"""Tone mapping of HLG and PQ video to standard dynamic range, by a 3D LUT that FFmpeg applies.

PyAV's wheels contain no zscale, and swscale's own mapping darkens faces (it fits the whole 10,000
nits in). The LUT: display light after ITU-R BT.2100; HDR reference white of 203 nits (BT.2408)
becomes the white of standard range; light up to half of it is unchanged, the rest is compressed so
that 1000 nits reach full scale, with hue preserved; BT.2020 to BT.709 primaries (BT.2407,
out-of-gamut colours clipped); BT.1886 display gamma.
"""

from fractions import Fraction

import av
import numpy as np

from heygem.core.types import FloatArray, Image

WHITE_NITS = 203.0  # BT.2408 reference white
PEAK_NITS = 1000.0  # the common mastering peak; brighter is clipped
KNEE = 0.5  # of reference white, linear light; faces lie below it
_LEVEL = 8  # of the Hald CLUT: 64 entries per side
_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)  # BT.2087


def display_nits(signal: FloatArray, transfer: str) -> FloatArray:
    """Display light of a BT.2100 RGB signal.

    Parameters
    ----------
    signal : float [..., 3], 0..1
    transfer : {"PQ", "HLG"}

    Returns
    -------
    float64 [..., 3], nits
    """
    e = np.clip(np.asarray(signal, np.float64), 0, 1)
    if transfer == "PQ":
        m1, m2 = 2610 / 16384, 2523 / 32
        c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
        p = e ** (1 / m2)
        return 10_000 * (np.maximum(p - c1, 0) / (c2 - c3 * p)) ** (1 / m1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(e <= 0.5, e**2 / 3, (np.exp((e - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return PEAK_NITS * scene * np.maximum(luminance, 1e-9)[..., None] ** 0.2  # OOTF, 1000 nits


def hdr_to_sdr(signal: FloatArray, transfer: str) -> FloatArray:
    """BT.2100 RGB signal, float [..., 3] in 0..1, to BT.709 RGB signal, same shape and range."""
    light = np.maximum(display_nits(signal, transfer) @ _TO_709.T / WHITE_NITS, 0)
    brightest = light.max(-1, keepdims=True)
    x = np.maximum(brightest - KNEE, 0) / (1 - KNEE)
    x_peak = (PEAK_NITS / WHITE_NITS - KNEE) / (1 - KNEE)
    rolled = KNEE + (1 - KNEE) * x * (1 + x / x_peak**2) / (1 + x)  # extended Reinhard
    target = np.where(brightest > KNEE, rolled, brightest)
    light = light * (target / np.maximum(brightest, 1e-9))
    return np.clip(light, 0, 1) ** (1 / 2.4)


class ToneMap:
    """Maps decoded ``rgb48le`` frames of one size and transfer function to 8-bit RGB."""

    def __init__(self, size: tuple[int, int], transfer: str) -> None:
        self.key = (size, transfer)
        side = _LEVEL**2
        axis = np.linspace(0, 1, side)
        blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")  # red runs fastest
        cube = hdr_to_sdr(np.stack([red, green, blue], -1), transfer)
        clut_image = np.round(cube * 65535).astype(np.uint16).reshape(_LEVEL**3, _LEVEL**3, 3)
        self._graph = graph = av.filter.Graph()
        tick = Fraction(1, 1000)
        fmt = av.VideoFormat("rgb48le")
        self._source = graph.add_buffer(width=size[0], height=size[1], format=fmt, time_base=tick)
        clut = graph.add_buffer(width=_LEVEL**3, height=_LEVEL**3, format=fmt, time_base=tick)
        hald, to8 = graph.add("haldclut", "clut=first"), graph.add("format", "rgb24")
        self._sink = graph.add("buffersink")
        self._source.link_to(hald, 0, 0)
        clut.link_to(hald, 0, 1)
        graph.link_nodes(hald, to8, self._sink).configure()
        frame = av.VideoFrame.from_ndarray(clut_image, format="rgb48le")
        frame.pts, frame.time_base = 0, tick
        clut.push(frame)
        clut.push(None)
        self._count = 0

    def __call__(self, frame: av.VideoFrame) -> Image:
        """Map one ``rgb48le`` frame to uint8 [H, W, 3]."""
        frame.pts, frame.time_base = self._count, Fraction(1, 1000)
        self._count += 1
        self._source.push(frame)
        mapped = self._sink.pull()
        assert isinstance(mapped, av.VideoFrame)
        return np.asarray(mapped.to_ndarray(), np.uint8)
