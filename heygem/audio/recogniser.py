"""PocketSphinx's phone recogniser, called so that other threads of Python run meanwhile.

Its own binding holds Python's global lock while it recognises, 40 ms for each second of sound.
Called through `ctypes`, from the same library file, it does not.
"""

import ctypes
import functools
from collections.abc import Iterator

import numpy as np

from heygem.core.types import IntArray

_BEAM = 1e-20
_LANGUAGE_WEIGHT = 2.0

_Pointer = ctypes.c_void_p
_SIGNATURES = {  # <pocketsphinx.h>: result, arguments
    "err_set_loglevel_str": (ctypes.c_char_p, [ctypes.c_char_p]),
    "ps_config_init": (_Pointer, [_Pointer]),
    "ps_config_set_str": (_Pointer, [_Pointer, ctypes.c_char_p, ctypes.c_char_p]),
    "ps_config_set_float": (_Pointer, [_Pointer, ctypes.c_char_p, ctypes.c_double]),
    "ps_init": (_Pointer, [_Pointer]),
    "ps_reinit_feat": (ctypes.c_int, [_Pointer, _Pointer]),
    "ps_start_utt": (ctypes.c_int, [_Pointer]),
    "ps_process_raw": (
        ctypes.c_int,
        [_Pointer, _Pointer, ctypes.c_size_t, ctypes.c_int, ctypes.c_int],
    ),
    "ps_end_utt": (ctypes.c_int, [_Pointer]),
    "ps_seg_iter": (_Pointer, [_Pointer]),
    "ps_seg_next": (_Pointer, [_Pointer]),
    "ps_seg_word": (ctypes.c_char_p, [_Pointer]),
    "ps_seg_frames": (None, [_Pointer, *[ctypes.POINTER(ctypes.c_int)] * 2]),
}


def recognise(samples: IntArray) -> Iterator[tuple[int, int, str]]:
    """First frame, last frame and name of each phone, and of each filler between phones.

    `samples` is int16 [n], 16 kHz mono; a frame is 10 ms. One call at a time, it has state.
    """
    library, decoder = _library(), _decoder()
    samples = np.ascontiguousarray(samples, np.int16)
    library.ps_reinit_feat(decoder, None)  # forget the noise floor of the last recording
    library.ps_start_utt(decoder)
    library.ps_process_raw(decoder, samples.ctypes.data, len(samples), 0, 1)  # a whole utterance
    library.ps_end_utt(decoder)
    first, last = ctypes.c_int(), ctypes.c_int()
    segment = library.ps_seg_iter(decoder)
    while segment:
        library.ps_seg_frames(segment, ctypes.byref(first), ctypes.byref(last))
        yield first.value, last.value, library.ps_seg_word(segment).decode()
        segment = library.ps_seg_next(segment)


@functools.cache
def _library() -> ctypes.CDLL:
    from pocketsphinx import _pocketsphinx

    library = ctypes.CDLL(_pocketsphinx.__file__)
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@functools.cache
def _decoder() -> int:
    import pocketsphinx

    library, folder = _library(), pocketsphinx.get_model_path()
    library.err_set_loglevel_str(b"FATAL")
    config = library.ps_config_init(None)
    for name, value in (("hmm", "en-us/en-us"), ("allphone", "en-us/en-us-phone.lm.bin")):
        library.ps_config_set_str(config, name.encode(), f"{folder}/{value}".encode())
    for name, number in (("beam", _BEAM), ("pbeam", _BEAM), ("lw", _LANGUAGE_WEIGHT)):
        library.ps_config_set_float(config, name.encode(), number)
    decoder = library.ps_init(config)
    if not decoder:
        raise RuntimeError(f"PocketSphinx cannot load its model from {folder}")
    return decoder
