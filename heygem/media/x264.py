"""Settings of x264: its own presets, and `balanced`, chosen by measurement on labelled films.

The watermark alternates every 0.2 s. An encoder whose reference frames reach back over a whole
period predicts it from the frame that carries the same signs: five frames of reference do more for
the size of a labelled film than the finer motion search of `medium`, and take less time. They are
used as far as level 4 of H.264 allows, so that every player can keep them. A talking head moves
little: the smallest motion search is enough, one reference serves a whole macroblock, and B frames
need no blocks of 8x8; up to 1280x720 nothing is lost without intra blocks of 4x4, and planning over
40 frames gains more than all that costs. The figures are in `docs/performance.md`;
`benchmarks/encoder.py` measures them.
"""

BALANCED = "balanced"
_REFERENCES = 5
_LEVEL_4_MACROBLOCKS = 32768  # that a decoder of level 4 to 4.1 keeps; ITU-T H.264, table A-1
_MACROBLOCK = 16  # pixels across and down
_SEARCH = "aq-mode=2:me=dia:mixed-refs=0"
#: Added to crf, so that a film has the size that `medium` gives it at that crf.
_CRF_OFFSET = -0.5


def x264_options(preset: str, crf: float, width: int, height: int) -> dict[str, str]:
    """Options of libx264.

    Parameters
    ----------
    preset : str
        `balanced`, or one of x264's own.
    crf : float
        For `balanced`: the film is about as large, and as good, as with `medium` at this value.
    width, height : int
        Of the frames, pixels.
    """
    if preset != BALANCED:
        return {"preset": preset, "crf": f"{crf:g}"}
    macroblocks = -(-width // _MACROBLOCK) * -(-height // _MACROBLOCK)
    fitting = _LEVEL_4_MACROBLOCKS // macroblocks
    if fitting >= _REFERENCES:
        base = "faster"
        more = f"partitions=p8x8,i8x8:ref={_REFERENCES}:rc-lookahead=40"
    else:  # without those references only the finer search is as good
        base = "medium"
        references = max(1, min(4, fitting))
        # Planning over 40 frames would be as good at equal size; each is 7 MB at 1080p.
        more = f"partitions=p8x8,i8x8,i4x4:ref={references}:rc-lookahead=20"
    value = max(0.0, crf + _CRF_OFFSET) if crf else 0.0  # 0 is lossless
    return {"preset": base, "crf": f"{value:g}", "x264-params": f"{_SEARCH}:{more}"}
