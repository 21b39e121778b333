"""Which speech sounds are heard when, by an offline recogniser.

PocketSphinx brings an acoustic model of thousands of hours of English and a phone loop over it;
a network that learns lips from minutes hears better with its help. Other languages are heard with
English ears: near enough for lips.
"""

import functools
import threading

import numpy as np
from scipy.ndimage import convolve1d

from heygem.audio.features import HOP, RATE_HZ, WINDOW, voiced_rms

# CMU phone set; the recogniser's fillers (silence, noise, speech it cannot name) come last.
PHONES = tuple(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W "
    "Y Z ZH SIL".split()
)
SMOOTHING = 9  # frames of the Hann window over each phone's edges
LONGEST_S = 30.0  # recognised at once: memory and search stay bounded
CUT_WITHIN_S = 5.0  # a piece is cut at the quietest place in its last seconds
LEVEL = 0.05  # RMS the recogniser hears

_INDEX = {name: i for i, name in enumerate(PHONES)}
_lock = threading.Lock()


@functools.cache
def _decoder():
    import pocketsphinx

    folder = pocketsphinx.get_model_path()
    return pocketsphinx.Decoder(
        hmm=f"{folder}/en-us/en-us",
        allphone=f"{folder}/en-us/en-us-phone.lm.bin",
        lm=None,
        beam=1e-20,
        pbeam=1e-20,
        lw=2.0,
        loglevel="FATAL",
    )


def segments(samples):
    """Phones in time order.

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono

    Returns
    -------
    list of (start_frame, stop_frame, name)
        Frames of 10 ms; `name` is one of `PHONES`.
    """
    samples = np.asarray(samples, np.float32)
    rms = voiced_rms(samples)
    if rms == 0:
        return [(0, 1 + len(samples) // HOP, "SIL")]
    found = []
    with _lock:  # the decoder is one object with a state
        for start, stop in _pieces(samples):
            piece = np.clip(samples[start:stop] * (LEVEL / rms), -1, 1)
            decoder = _decoder()
            decoder.reinit_feat()  # forget the last recording's noise floor
            decoder.start_utt()
            decoder.process_raw((piece * 32767).astype(np.int16).tobytes(), full_utt=True)
            decoder.end_utt()
            first = start // HOP
            for s in decoder.seg() or ():
                name = s.word if s.word in _INDEX else "SIL"
                found.append((first + s.start_frame, first + s.end_frame + 1, name))
    return found


def activity(samples):
    """Phones as soft flags.

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono

    Returns
    -------
    float32 [1 + n // 160, len(PHONES)]
        0..1 at 100 Hz.
    """
    flags = np.zeros((1 + len(samples) // HOP, len(PHONES)), np.float32)
    for start, stop, name in segments(samples):
        flags[start:stop, _INDEX[name]] = 1
    window = np.hanning(SMOOTHING)
    window /= window.sum()
    return convolve1d(flags, window.astype(np.float32), axis=0, mode="constant")


def _pieces(samples):
    """Cut long speech at quiet places, at whole frames."""
    longest, search = int(LONGEST_S * RATE_HZ), int(CUT_WITHIN_S * RATE_HZ)
    start = 0
    while start < len(samples):
        stop = len(samples)
        if stop - start > longest:
            tail = samples[start + longest - search : start + longest]
            blocks = np.square(tail[: len(tail) // HOP * HOP].reshape(-1, HOP))
            quiet = np.convolve(blocks.mean(1), np.ones(10), "valid").argmin() + 5
            stop = start + longest - search + int(quiet) * HOP
        if stop - start >= WINDOW * 2:
            yield start, stop
        start = stop
