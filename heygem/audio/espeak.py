"""The built-in voice: eSpeak NG, called through its shared library.

Formant synthesis: it sounds robotic, but is intelligible, small, speaks a hundred languages and
reports exact phone times. The package `espeakng-loader` contains the library and its data.
"""

import _ctypes
import contextlib
import ctypes
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heygem.audio.utterance import Utterance
from heygem.core import disk
from heygem.core.errors import AssetError, HeygemError, OutputError, ParameterError
from heygem.core.leftovers import temporary_folder
from heygem.core.types import IntArray

# From eSpeak NG's speak_lib.h.
_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples go to the callback, nothing is played
_PHONEME_EVENTS, _IPA, _DONT_EXIT = 0x0001, 0x0002, 0x8000
_UTF8 = 1
_EVENT_END, _EVENT_PHONEME = 0, 7
_RATE, _PITCH, _RANGE = 1, 3, 4
_COPY = "libespeak-ng"
_MAX_DATA_PATH = 140  # bytes; the library copies the path into a buffer of 160


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),  # member of a union; not always terminated
    ]


class _VoiceFile(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.POINTER(ctypes.c_ubyte)),  # (priority, tag, NUL)..., NUL
        ("identifier", ctypes.c_char_p),  # its file
    ]  # the structure continues; heygem reads no further


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class _Library:
    """A private copy of the shared library, for one text.

    The library keeps its state in globals, some of which survive its termination: the same text
    synthesised twice would differ by a few samples, and two threads would mix their voices. A copy
    under another name is loaded as another library with its own globals, in 5 ms.
    """

    def __enter__(self) -> "_Library":
        remedy = "install it: pip install espeakng-loader"
        self._cleanup = contextlib.ExitStack()
        try:
            import espeakng_loader

            data = Path(espeakng_loader.get_data_path())
            folder = self._copy_of(Path(espeakng_loader.get_library_path()))
            self.library = ctypes.CDLL(os.fspath(folder / _COPY))
        except OutputError:
            raise
        except Exception as e:
            self._cleanup.close()
            raise AssetError("the eSpeak NG library is missing", seen=e, remedy=remedy) from e
        if len(os.fsencode(data)) > _MAX_DATA_PATH:
            link = folder / data.name
            link.symlink_to(data, target_is_directory=True)
            data = link
        self.data = data
        self.rate_hz = self.library.espeak_Initialize(
            _SYNCHRONOUS, 0, os.fsencode(data), _PHONEME_EVENTS | _IPA | _DONT_EXIT
        )
        if self.rate_hz <= 0:
            self.__exit__()
            raise AssetError("eSpeak NG cannot read its data", seen=data, remedy=remedy)
        if hasattr(self.library, "espeak_ng_SetRandSeed"):  # else breath noise differs per process
            self.library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._callback = _Callback(self._collect)  # the library stores only the bare pointer
        self.library.espeak_SetSynthCallback(self._callback)
        return self

    def __exit__(self, *_: object) -> None:
        self.library.espeak_Terminate()
        unload = getattr(_ctypes, "dlclose" if hasattr(_ctypes, "dlclose") else "FreeLibrary")
        unload(self.library._handle)
        self._cleanup.close()

    def _copy_of(self, library: Path) -> Path:
        """A temporary folder with a copy of the library; kept until `_cleanup`."""
        folder = self._cleanup.enter_context(temporary_folder())
        try:
            shutil.copy(library, folder / _COPY)
        except OSError as error:
            if not disk.is_disk_error(error):
                raise
            refusal = disk.write_error(
                error,
                folder,
                what="the voice cannot be set up in the temporary folder",
                place="temporary",
                needed_bytes=library.stat().st_size,
            )
            self._cleanup.close()
            raise refusal from error
        return folder

    def _collect(self, wave: Any, count: int, events: Any) -> int:
        """Synthesis callback: store samples and phone starts; 0 means continue."""
        if wave and count > 0:
            self.chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        i = 0
        while events[i].type != _EVENT_END:
            if events[i].type == _EVENT_PHONEME:
                self.phone_starts.append(
                    (events[i].sample, events[i].string.decode("utf-8", "ignore"))
                )
            i += 1
        return 0

    def voice_for(self, tag: str) -> str | None:
        """File of the voice for a language, or for its main form (`fr` for `fr-ca`), or None."""
        self.library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceFile))
        voices = self.library.espeak_ListVoices(None)
        by_tag: dict[str, tuple[int, str]] = {}  # (priority, file), the lowest priority first
        i = 0
        while voices[i]:
            start, languages = 0, voices[i].contents.languages
            while languages[start]:
                end = start + 1
                while languages[end]:
                    end += 1
                voice_tag = bytes(languages[start + 1 : end]).decode()
                entry = languages[start], voices[i].contents.identifier.decode()
                by_tag[voice_tag] = min(entry, by_tag.get(voice_tag, entry))
                start = end + 1
            i += 1
        best = by_tag.get(tag) or by_tag.get(tag.split("-")[0])
        return best[1] if best else None

    def speak(
        self, text: str, voice_name: str, rate_wpm: int, pitch: int, pitch_range: int
    ) -> tuple[IntArray, list[tuple[int, str]]]:
        """Samples int16 [n], and the first sample and symbol of each phone."""
        if self.library.espeak_SetVoiceByName(voice_name.encode()) != 0:
            raise ParameterError("eSpeak NG cannot load this voice", seen=voice_name)
        for parameter, value in ((_RATE, rate_wpm), (_PITCH, pitch), (_RANGE, pitch_range)):
            self.library.espeak_SetParameter(parameter, int(value), 0)
        self.chunks: list[IntArray] = []
        self.phone_starts: list[tuple[int, str]] = []
        encoded = text.encode("utf-8") + b"\0"
        status = self.library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded)), 0, 1, 0, _UTF8, None, None
        )
        if status != 0:
            raise HeygemError("eSpeak NG could not speak the text", seen=f"status {status}")
        return np.concatenate(self.chunks or [np.zeros(0, np.int16)]), self.phone_starts


@dataclass(frozen=True)
class EspeakVoice:
    """The built-in voice: eSpeak NG.

    Attributes
    ----------
    rate_wpm : int, 80..450
        Words per minute.
    pitch : int, 0..99
    pitch_range : int, 0..99
        0 is monotone.
    variant : str
        Speaker variant of eSpeak NG, as `f3` (female) or `m2` (male); empty for the default.
    """

    rate_wpm: int = 160
    pitch: int = 50
    pitch_range: int = 50
    variant: str = ""

    def synthesize(self, text: str, language: str) -> Utterance:
        """See `heygem.audio.utterance.Voice`; phones are in IPA."""
        tag = str(language).strip().lower().replace("_", "-")
        with _Library() as library:
            name = library.voice_for(tag) if re.fullmatch(r"[a-z0-9-]+", tag) else None
            if name is None:
                raise ParameterError(
                    "the built-in voice does not know this language",
                    seen=repr(language),
                    remedy="give a tag such as en-us, en-gb, cmn, de, fr, ja, ru",
                )
            if self.variant:  # eSpeak NG ignores an unknown one silently
                if self.variant not in os.listdir(library.data / "voices" / "!v"):
                    raise ParameterError(
                        "the built-in voice has no such variant",
                        seen=repr(self.variant),
                        remedy="give one such as f2, f3, m3, or none",
                    )
                name = f"{name}+{self.variant}"
            rate_hz = library.rate_hz
            samples, phone_starts = library.speak(
                text, name, self.rate_wpm, self.pitch, self.pitch_range
            )
        phones = _phone_intervals(phone_starts, len(samples), rate_hz)
        return Utterance(samples.astype(np.float32) / 32768, rate_hz, phones)


def _phone_intervals(
    phone_starts: list[tuple[int, str]], count: int, rate_hz: int
) -> list[tuple[float, float, str]]:
    """(start_s, end_s, symbol) without gaps, from (first sample, symbol) of `count` samples."""
    phone_starts = [(0, ""), *phone_starts]
    ends = [start for start, _ in phone_starts[1:]] + [count]
    return [
        (start / rate_hz, end / rate_hz, symbol.strip("\0 _:"))
        for (start, symbol), end in zip(phone_starts, ends, strict=True)
        if end > start
    ]
