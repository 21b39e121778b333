"""Layers of neural networks in NumPy, for networks small enough that loading PyTorch costs more.

Rows are instants: arrays are float32 [..., T, channels].
"""

import numpy as np
from scipy.special import erf

from heygem.core.types import FloatArray

_NORM_EPSILON = 1e-5  # PyTorch's default


def taps_of(kernel: FloatArray) -> FloatArray:
    """A convolution's weights in PyTorch, [out, in, taps], as float32 [taps, in, out]."""
    return np.ascontiguousarray(kernel.transpose(2, 1, 0))


def convolve(
    x: FloatArray,
    taps: FloatArray,
    bias: FloatArray,
    *,
    stride: int = 1,
    dilation: int = 1,
    causal: bool = False,
) -> FloatArray:
    """A convolution over time with zeros around, so that only `stride` shortens.

    Parameters
    ----------
    x : float32 [..., T, in]
    taps : float32 [taps, in, out]
        From `taps_of`; an odd number of them.
    bias : float32 [out]
    stride, dilation : int
        Rows between results, and between taps.
    causal : bool
        Whether the last tap, not the middle one, belongs to the row itself.

    Returns
    -------
    float32 [..., ceil(T / stride), out]
    """
    rows = x.shape[-2]
    reach = (len(taps) - 1) * dilation
    after = 0 if causal else reach // 2
    padded = np.pad(x, [*[(0, 0)] * (x.ndim - 2), (reach - after, after), (0, 0)])
    out = bias
    for k, tap in enumerate(taps):
        out = out + padded[..., k * dilation : k * dilation + rows : stride, :] @ tap
    return out


def layer_norm(x: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    """Bring the channels of each instant to mean 0 and spread 1, then to a weight and a bias."""
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(_NORM_EPSILON))
    return centred / deviation * weight + bias


def gelu(x: FloatArray) -> FloatArray:
    """Gaussian error linear unit, the exact one."""
    y = x * np.float32(0.5**0.5)
    erf(y, out=y)
    y += 1
    y *= x
    y *= np.float32(0.5)
    return np.asarray(y)
