"""Phones and their times, by an offline recogniser (PocketSphinx).

PocketSphinx contains an acoustic model trained on thousands of hours of English and a phone-loop
language model. A lips network trained on little data predicts better with phones as an additional
input. Other languages are recognised with the English phone set, which is close enough for lips.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextvars import copy_context

import numpy as np
from scipy.ndimage import convolve1d

from heygem.audio.features import HOP, RATE_HZ, WINDOW, voiced_rms
from heygem.audio.recogniser import recognise
from heygem.core.interrupts import raise_if_cancelled, wait_for
from heygem.core.types import FloatArray

# CMU phone set; fillers of the recogniser (silence, noise, unclassified speech) are SIL.
PHONES = tuple(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W "
    "Y Z ZH SIL".split()
)
SMOOTHING = 9  # frames of the Hann window over the edges of each phone
MAX_PIECE_S = 30.0  # recognised at once, so that memory and search stay bounded
CUT_SEARCH_S = 5.0  # a piece ends at the quietest moment of its last seconds
INPUT_RMS = 0.05  # level of the recogniser's input
MAX_STARTED = 4  # sounds that are kept for `activity`

_INDEX = {name: i for i, name in enumerate(PHONES)}
_lock = threading.Lock()
#: The last sounds that `start` was called for, by their identity, and their activity.
_started: "dict[int, tuple[FloatArray, Future[FloatArray]]]" = {}


def segments(samples: FloatArray) -> list[tuple[int, int, str]]:
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
    phones = []
    with _lock:  # all calls share one decoder, which has state
        for start, stop in _pieces(samples):
            raise_if_cancelled()
            piece = np.clip(samples[start:stop] * (INPUT_RMS / rms), -1, 1)
            first = start // HOP
            for begin, end, word in recognise((piece * 32767).astype(np.int16)):
                name = word if word in _INDEX else "SIL"
                phones.append((first + begin, first + end + 1, name))
    return phones


def start(samples: FloatArray) -> None:
    """Begin with the `activity` of a sound in another thread, unless that is so already.

    `samples` : float32 [n], 16 kHz mono; the array that will be given to `activity`
    """
    if id(samples) in _started:
        return
    for key in list(_started)[: 1 - MAX_STARTED]:  # nobody asks for that of a cancelled job
        _started.pop(key, None)
    recognised: Future[FloatArray] = Future()
    _started[id(samples)] = samples, recognised

    def work() -> None:
        try:
            recognised.set_result(_activity(samples))
        except BaseException as error:
            recognised.set_exception(error)

    in_context = copy_context().run  # with it, what cancels this job
    threading.Thread(target=in_context, args=(work,), name="phones", daemon=True).start()


def activity(samples: FloatArray) -> FloatArray:
    """Smoothed one-hot phones.

    Parameters
    ----------
    samples : float32 [n], 16 kHz mono

    Returns
    -------
    float32 [1 + n // 160, len(PHONES)]
        0..1 at 100 Hz.
    """
    started = _started.pop(id(samples), None)
    if started is not None:
        _, recognised = started
        wait_for(recognised)
        if recognised.exception() is None:  # else it may fail again, here, where it is told
            return recognised.result()
    return _activity(samples)


def _activity(samples: FloatArray) -> FloatArray:
    one_hot = np.zeros((1 + len(samples) // HOP, len(PHONES)), np.float32)
    for start, stop, name in segments(samples):
        one_hot[start:stop, _INDEX[name]] = 1
    window = np.hanning(SMOOTHING)
    window /= window.sum()
    return convolve1d(one_hot, window.astype(np.float32), axis=0, mode="constant")


def _pieces(samples: FloatArray) -> Iterator[tuple[int, int]]:
    """Cut long speech at quiet moments and whole frames: yields (start, stop) in samples."""
    longest, search = int(MAX_PIECE_S * RATE_HZ), int(CUT_SEARCH_S * RATE_HZ)
    start = 0
    while start < len(samples):
        stop = len(samples)
        if stop - start > longest:
            tail = samples[start + longest - search : start + longest]
            power = np.square(tail[: len(tail) // HOP * HOP].reshape(-1, HOP)).mean(1)
            quietest = np.convolve(power, np.ones(10), "valid").argmin() + 5
            stop = start + longest - search + int(quietest) * HOP
        if stop - start >= WINDOW * 2:
            yield start, stop
        start = stop
