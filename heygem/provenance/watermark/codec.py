"""The mark's code: 64 bits made to survive, and made recognisable.

A CRC of 24 bits tells an id from noise; a convolutional code of rate 1/3 and constraint length 9
(generators 557, 663, 711 octal, the standard ones of that size) lets the reader use how sure it
is of every bit. It is decoded by the Viterbi algorithm (IEEE Trans. Inf. Theory 13(2), 1967).
"""

import numpy as np

ID_BITS = 64
CRC_BITS = 24
_MEMORY = 8
_GENERATORS = (0o557, 0o663, 0o711)
_CRC_POLYNOMIAL = 0x864CFB  # CRC-24 of RFC 4880
STEPS = ID_BITS + CRC_BITS + _MEMORY
CODE_BITS = STEPS * len(_GENERATORS)


def _crc(bits):
    register = 0xB704CE
    for bit in bits:
        register ^= int(bit) << 23
        register <<= 1
        if register & 0x1000000:
            register ^= 0x1000000 | _CRC_POLYNOMIAL
    return register & 0xFFFFFF


def _bits(number, count):
    return np.array([(number >> (count - 1 - i)) & 1 for i in range(count)], np.uint8)


def _parity(number):
    return bin(number).count("1") & 1


# Output of every state (8 bits of the past) for the next bit 0 and 1, as -1 or +1: [256, 2, 3].
_OUTPUT = np.array(
    [
        [[2 * _parity(((bit << _MEMORY) | state) & g) - 1 for g in _GENERATORS] for bit in (0, 1)]
        for state in range(1 << _MEMORY)
    ],
    np.float32,
)


def encode(mark_id):
    """The code word of an id.

    Parameters
    ----------
    mark_id : int
        0 .. 2**64 - 1.

    Returns
    -------
    float32 [CODE_BITS], -1 or +1
    """
    payload = _bits(mark_id, ID_BITS)
    bits = np.concatenate([payload, _bits(_crc(payload), CRC_BITS), np.zeros(_MEMORY, np.uint8)])
    word = np.empty((STEPS, len(_GENERATORS)), np.float32)
    state = 0
    for step, bit in enumerate(bits):
        word[step] = _OUTPUT[state, bit]
        state = (int(bit) << (_MEMORY - 1)) | (state >> 1)
    return word.reshape(-1)


def decode(soft):
    """The id of the likeliest code word, or None where its CRC does not hold.

    Parameters
    ----------
    soft : float32 [CODE_BITS]
        Likelier +1 the higher, 0 where nothing is known; any scale.
    """
    states = np.arange(1 << _MEMORY)
    # A new state holds the new bit on top; its two origins differ in the bit that fell out.
    bit = states >> (_MEMORY - 1)
    origin = np.stack([(states << 1) & 0xFF, ((states << 1) & 0xFF) | 1])  # [2, 256]
    output = _OUTPUT[origin, bit]  # [2, 256, 3]
    gains = np.einsum("osg,tg->tos", output, np.asarray(soft, np.float32).reshape(STEPS, -1))
    score = np.full(1 << _MEMORY, -np.inf, np.float32)
    score[0] = 0.0
    came = np.empty((STEPS, 1 << _MEMORY), np.uint8)
    for step in range(STEPS):
        both = score[origin] + gains[step]
        came[step] = both[1] > both[0]
        score = np.maximum(both[0], both[1])
    state = 0  # the trailing zeros lead back here
    bits = np.empty(STEPS, np.uint8)
    for step in range(STEPS - 1, -1, -1):
        bits[step] = bit[state]
        state = int(origin[came[step, state], state])
    payload, crc = bits[:ID_BITS], bits[ID_BITS : ID_BITS + CRC_BITS]
    if not (_bits(_crc(payload), CRC_BITS) == crc).all():
        return None
    return int("".join(map(str, payload)), 2)
