"""Error-correcting code of the watermark: 64 bits to a code word of 288, and back.

A CRC of 24 bits distinguishes an id from noise; a convolutional code of rate 1/3 and constraint
length 9 (generators 557, 663, 711 octal, the standard ones of that size) allows soft decisions. The
Viterbi algorithm decodes it (IEEE Trans. Inf. Theory 13(2), 1967).
"""

import numpy as np
from numpy.typing import NDArray

from heygem.core.types import FloatArray, IntArray

ID_BITS = 64
CRC_BITS = 24
_MEMORY = 8
_GENERATORS = (0o557, 0o663, 0o711)
_CRC_POLYNOMIAL = 0x864CFB  # CRC-24 of RFC 4880
STEPS = ID_BITS + CRC_BITS + _MEMORY
CODE_BITS = STEPS * len(_GENERATORS)


def _crc(bits: IntArray) -> int:
    register = 0xB704CE
    for bit in bits:
        register ^= int(bit) << 23
        register <<= 1
        if register & 0x1000000:
            register ^= 0x1000000 | _CRC_POLYNOMIAL
    return register & 0xFFFFFF


def _bits(number: int, count: int) -> NDArray[np.uint8]:
    return np.array([(number >> (count - 1 - i)) & 1 for i in range(count)], np.uint8)


def _parity(number: int) -> int:
    return bin(number).count("1") & 1


# Output of every state (the last 8 bits) for the next bit 0 and 1, as -1 or +1: [256, 2, 3].
_OUTPUT = np.array(
    [
        [[2 * _parity(((bit << _MEMORY) | state) & g) - 1 for g in _GENERATORS] for bit in (0, 1)]
        for state in range(1 << _MEMORY)
    ],
    np.float32,
)


def encode(watermark_id: int) -> FloatArray:
    """The code word of an id.

    Parameters
    ----------
    watermark_id
        0 .. 2**64 - 1.

    Returns
    -------
    float32 [CODE_BITS], -1 or +1
    """
    payload = _bits(watermark_id, ID_BITS)
    bits = np.concatenate([payload, _bits(_crc(payload), CRC_BITS), np.zeros(_MEMORY, np.uint8)])
    word = np.empty((STEPS, len(_GENERATORS)), np.float32)
    state = 0
    for step, bit in enumerate(bits):
        word[step] = _OUTPUT[state, bit]
        state = (int(bit) << (_MEMORY - 1)) | (state >> 1)
    return word.reshape(-1)


def decode(soft: FloatArray) -> int | None:
    """The id of the most likely code word, or None if its CRC is wrong.

    Parameters
    ----------
    soft
        Soft bits, float32 [CODE_BITS]: the higher, the more likely +1; 0 is undecided; any scale.
    """
    states = np.arange(1 << _MEMORY)
    # A state holds the newest bit on top; its two predecessors differ in the bit that drops out.
    bit = states >> (_MEMORY - 1)
    predecessor = np.stack([(states << 1) & 0xFF, ((states << 1) & 0xFF) | 1])  # [2, 256]
    output = _OUTPUT[predecessor, bit]  # [2, 256, 3]
    gains = np.einsum("osg,tg->tos", output, np.asarray(soft, np.float32).reshape(STEPS, -1))
    score = np.full(1 << _MEMORY, -np.inf, np.float32)
    score[0] = 0.0
    choice = np.empty((STEPS, 1 << _MEMORY), np.uint8)
    for step in range(STEPS):
        candidates = score[predecessor] + gains[step]
        choice[step] = candidates[1] > candidates[0]
        score = np.maximum(candidates[0], candidates[1])
    state = 0  # the trailing zeros end in this state
    bits = np.empty(STEPS, np.uint8)
    for step in range(STEPS - 1, -1, -1):
        bits[step] = bit[state]
        state = int(predecessor[choice[step, state], state])
    payload, crc = bits[:ID_BITS], bits[ID_BITS : ID_BITS + CRC_BITS]
    if not (_bits(_crc(payload), CRC_BITS) == crc).all():
        return None
    return int("".join(map(str, payload)), 2)
