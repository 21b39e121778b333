"""The weights of Whisper's encoder, as CTranslate2 stores them.

A file of CTranslate2 is a row of variables, each a name, a shape, a type and its numbers. The
pinned asset is the stretch of one that holds the convolutions and the first layers of the encoder.
"""

import struct
from pathlib import Path

import numpy as np

from heygem.core.types import FloatArray

_HALF_PRECISION = 4  # CTranslate2's number of the type
_PARTS = {
    "ffn/layer_norm": "linear_norm",
    "ffn/linear_0": "linear_input",
    "ffn/linear_1": "linear_output",
    "self_attention/layer_norm": "attention_norm",
    "self_attention/linear_0": "attention_input",
    "self_attention/linear_1": "attention_output",
}
_KINDS = {"beta": "bias", "gamma": "weight", "bias": "bias", "weight": "weight"}


def read_encoder(path: Path) -> dict[str, FloatArray]:
    """Read a verified stretch of variables in half precision.

    Returns
    -------
    dict of str to float32 array
        `conv1.weight`, `layers.0.attention_input.bias` and so on.
    """
    content = path.read_bytes()
    weights: dict[str, FloatArray] = {}
    place = 0
    while place < len(content):
        (length,) = struct.unpack_from("<H", content, place)
        name = content[place + 2 : place + 1 + length].decode()  # ends with a zero byte
        place += 2 + length
        rank = content[place]
        shape = struct.unpack_from(f"<{rank}I", content, place + 1)
        kind, size = struct.unpack_from("<BI", content, place + 1 + 4 * rank)
        if kind != _HALF_PRECISION:
            raise ValueError(f"{name} in {path} is not in half precision")
        place += 6 + 4 * rank
        numbers = np.frombuffer(content, "<f2", size // 2, place).reshape(shape)
        weights[_own_name(name)] = numbers.astype(np.float32)
        place += size
    return weights


def _own_name(name: str) -> str:
    """`encoder/layer_0/ffn/linear_0/weight` is `layers.0.linear_input.weight` here."""
    _, layer, *inner, kind = name.split("/")
    if not inner:
        return f"{layer}.{_KINDS[kind]}"
    return f"layers.{layer.removeprefix('layer_')}.{_PARTS['/'.join(inner)]}.{_KINDS[kind]}"
