"""Error-correcting code of the watermark."""

import numpy as np

from heygem.provenance.watermark.codec import CODE_BITS, decode, encode


def test_an_id_survives_noise_and_noise_alone_is_rejected():
    rng = np.random.default_rng(1)
    word = encode(0x0123456789ABCDEF)
    assert decode(word + rng.normal(0, 0.9, CODE_BITS)) == 0x0123456789ABCDEF
    assert all(decode(rng.normal(size=CODE_BITS)) is None for _ in range(50))
