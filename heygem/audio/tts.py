"""Text to speech on this machine, behind an interface that takes a better voice.

The built-in voice is eSpeak NG (formant synthesis: robotic, but clear, tiny, in a hundred languages
and with exact phone times), called in its shared library, which the `espeakng-loader` package
brings. A voice of one's own is any object with :meth:`Voice.synthesize`; name it as
`module:function` or register it under the entry-point group `heygem.voices`.
"""

import _ctypes
import ctypes
import html
import importlib
import importlib.metadata
import os
import re
import shutil
import tempfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from heygem.core.errors import AssetError, HeygemError, ParameterError

ENTRY_POINTS = "heygem.voices"


@dataclass(frozen=True)
class Utterance:
    """Spoken text.

    Attributes
    ----------
    samples : float32 [n]
        Mono, -1..1.
    rate_hz : int
    phones : list of (start_s, end_s, symbol) or None
        What is said when, in the International Phonetic Alphabet, without gaps; a pause is the
        symbol `""`. None where the voice does not know.
    """

    samples: np.ndarray
    rate_hz: int
    phones: list[tuple[float, float, str]] | None = None

    @property
    def duration_s(self):
        return len(self.samples) / self.rate_hz


@runtime_checkable
class Voice(Protocol):
    """Anything that speaks."""

    def synthesize(self, text: str, language: str) -> Utterance:
        """Speak `text`, which is cleaned and not empty, in `language` (as `en-us` or `cmn`)."""
        ...


def clean(text):
    """Text without markup, control characters and runs of blanks.

    SSML and HTML tags are dropped and entities resolved, because a voice would read them aloud.
    """
    text = re.sub(r"<!--.*?-->|<[/!?]?[A-Za-z][^<>]*>", " ", text, flags=re.DOTALL)
    text = unicodedata.normalize("NFC", html.unescape(text))
    # Cc control, Cf format (bidirectional marks, soft hyphens), Cs lone surrogates, Co private.
    text = "".join(
        c if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") else " " for c in text
    )
    return " ".join(text.split())


def synthesize(text, language="en-us", *, voice="espeak"):
    """Speak a text.

    Parameters
    ----------
    text : str
        Plain text; tags and control characters are removed.
    language : str
        A tag the voice knows: for the built-in voice `en-us`, `en-gb`, `cmn` (or `zh`), `de`, ...
    voice : str or Voice
        `espeak`, a name registered under `heygem.voices`, `module:function`, or a voice itself.

    Returns
    -------
    Utterance

    Raises
    ------
    ParameterError
        Nothing to say, unknown language or voice.
    AssetError
        The built-in voice's library is missing.
    """
    if not isinstance(text, str):
        raise ParameterError("text must be a string", seen=type(text).__name__)
    words = clean(text)
    if not any(c.isalnum() for c in words):
        raise ParameterError(
            "text has nothing to say", seen=repr(text[:40]), remedy="give words in `text`"
        )
    speaker = find_voice(voice) if isinstance(voice, str) else voice
    try:
        said = speaker.synthesize(words, language)
    except HeygemError:
        raise
    except Exception as e:
        raise ParameterError(
            f"voice {voice!r} failed", seen=f"{type(e).__name__}: {e}", remedy="check that voice"
        ) from e
    samples = np.asarray(said.samples, np.float32)
    if samples.ndim != 1 or not np.isfinite(samples).all() or not np.abs(samples).max(initial=0):
        raise ParameterError(
            f"voice {voice!r} gave no usable sound",
            seen=f"samples {samples.shape}",
            remedy="check that the text is in the language asked for",
        )
    return Utterance(samples, int(said.rate_hz), said.phones)


def find_voice(name):
    """The voice called `name`: built in, registered, or what `module:function` returns."""
    if name == "espeak":
        return EspeakVoice()
    registered = {p.name: p for p in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    try:
        if name in registered:
            found = registered[name].load()
        elif ":" in name:
            module, _, attribute = name.partition(":")
            found = getattr(importlib.import_module(module), attribute)
        else:
            raise ParameterError(
                "unknown voice",
                seen=name,
                remedy=f"use one of {', '.join(['espeak', *registered])}, or `module:function`",
            )
        return _as_voice(found)
    except HeygemError:
        raise
    except Exception as e:
        raise ParameterError(
            f"voice {name!r} cannot be loaded",
            seen=f"{type(e).__name__}: {e}",
            remedy="name an importable `module:function` that returns a voice",
        ) from e


def _as_voice(found):
    """A voice, from itself or from what makes one."""
    if isinstance(found, Voice) and not isinstance(found, type):
        return found
    made = found()
    if not isinstance(made, Voice):
        raise TypeError(f"{found!r} returned {type(made).__name__}, which has no synthesize()")
    return made


# eSpeak NG's speak_lib.h.
_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: sound comes through the callback, nothing is played
_PHONEME_EVENTS, _IPA, _DONT_EXIT = 0x0001, 0x0002, 0x8000
_UTF8 = 1
_EVENT_END, _EVENT_PHONEME = 0, 7
_RATE, _PITCH, _RANGE = 1, 3, 4
_HOME_CHARS = 140  # the library keeps its data folder's name in a buffer of 160 bytes


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),  # of a union; not always terminated
    ]


class _VoiceFile(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.POINTER(ctypes.c_ubyte)),  # (priority, tag, NUL)..., NUL
        ("identifier", ctypes.c_char_p),  # its file
    ]  # and more, not read here


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class _Library:
    """A private copy of the shared library, for one text.

    The library keeps its state in globals, some of which survive its own termination: the same
    text spoken twice would differ by a few samples, and two threads would mix their voices. A
    copy under another name is loaded as another library, with globals of its own, in 5 ms.
    """

    def __enter__(self):
        remedy = "install it: pip install espeakng-loader"
        self._folder = tempfile.TemporaryDirectory(prefix="espeak-", ignore_cleanup_errors=True)
        try:
            import espeakng_loader

            data = Path(espeakng_loader.get_data_path())
            copy = shutil.copy(espeakng_loader.get_library_path(), self._folder.name)
            self.library = ctypes.CDLL(copy)
        except Exception as e:
            self._folder.cleanup()
            raise AssetError("the eSpeak NG library is missing", seen=e, remedy=remedy) from e
        if len(os.fsencode(data)) > _HOME_CHARS:
            link = Path(self._folder.name) / data.name
            link.symlink_to(data, target_is_directory=True)
            data = link
        self.data = data
        self.rate_hz = self.library.espeak_Initialize(
            _SYNCHRONOUS, 0, os.fsencode(data), _PHONEME_EVENTS | _IPA | _DONT_EXIT
        )
        if self.rate_hz <= 0:
            self.__exit__()
            raise AssetError("eSpeak NG cannot read its data", seen=data, remedy=remedy)
        if hasattr(self.library, "espeak_ng_SetRandSeed"):  # breath seeded by process otherwise
            self.library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._keep = _Callback(self._collect)  # the library holds only the bare pointer
        self.library.espeak_SetSynthCallback(self._keep)
        return self

    def __exit__(self, *_):
        self.library.espeak_Terminate()
        unload = getattr(_ctypes, "dlclose", None) or _ctypes.FreeLibrary
        unload(self.library._handle)
        self._folder.cleanup()

    def _collect(self, wave, count, events):
        if wave and count > 0:
            self.chunks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        i = 0
        while events[i].type != _EVENT_END:
            if events[i].type == _EVENT_PHONEME:
                self.marks.append((events[i].sample, events[i].string.decode("utf-8", "ignore")))
            i += 1
        return 0

    def voice_for(self, tag):
        """File of the voice for a language, or for its main form (`fr` for `fr-ca`), or None."""
        self.library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceFile))
        listed = self.library.espeak_ListVoices(None)
        found = {}  # tag: (priority, file)
        i = 0
        while listed[i]:
            at, languages = 0, listed[i].contents.languages
            while languages[at]:
                end = at + 1
                while languages[end]:
                    end += 1
                speaks = bytes(languages[at + 1 : end]).decode()
                offer = languages[at], listed[i].contents.identifier.decode()
                found[speaks] = min(offer, found.get(speaks, offer))
                at = end + 1
            i += 1
        best = found.get(tag) or found.get(tag.split("-")[0])
        return best and best[1]

    def speak(self, text, voice_name, rate_wpm, pitch, pitch_range):
        """Samples int16 [n], and marks (first sample, symbol)."""
        if self.library.espeak_SetVoiceByName(voice_name.encode()) != 0:
            raise ParameterError("eSpeak NG cannot load this voice", seen=voice_name)
        for parameter, value in ((_RATE, rate_wpm), (_PITCH, pitch), (_RANGE, pitch_range)):
            self.library.espeak_SetParameter(parameter, int(value), 0)
        self.chunks, self.marks = [], []
        coded = text.encode("utf-8") + b"\0"
        status = self.library.espeak_Synth(
            coded, ctypes.c_size_t(len(coded)), 0, 1, 0, _UTF8, None, None
        )
        if status != 0:
            raise HeygemError("eSpeak NG could not speak the text", seen=f"status {status}")
        return np.concatenate(self.chunks or [np.zeros(0, np.int16)]), self.marks


@dataclass(frozen=True)
class EspeakVoice:
    """The built-in voice.

    Attributes
    ----------
    rate_wpm : int, 80..450
        Words per minute.
    pitch : int, 0..99
    pitch_range : int, 0..99
        0 is monotone.
    variant : str
        A speaker of eSpeak NG's, as `f3` (female) or `m2` (male); empty for its own.
    """

    rate_wpm: int = 160
    pitch: int = 50
    pitch_range: int = 50
    variant: str = ""

    def synthesize(self, text, language):
        """See :class:`Voice`; phones are in IPA."""
        tag = str(language).strip().lower().replace("_", "-")
        with _Library() as library:
            name = library.voice_for(tag) if re.fullmatch(r"[a-z0-9-]+", tag) else None
            if name is None:
                raise ParameterError(
                    "the built-in voice does not know this language",
                    seen=repr(language),
                    remedy="give a tag such as en-us, en-gb, cmn, de, fr, ja, ru",
                )
            if self.variant:  # an unknown one would be passed over in silence
                if self.variant not in os.listdir(library.data / "voices" / "!v"):
                    raise ParameterError(
                        "the built-in voice has no such variant",
                        seen=repr(self.variant),
                        remedy="give one such as f2, f3, m3, or none",
                    )
                name = f"{name}+{self.variant}"
            rate_hz = library.rate_hz
            samples, marks = library.speak(text, name, self.rate_wpm, self.pitch, self.pitch_range)
        return Utterance(
            samples.astype(np.float32) / 32768,
            rate_hz,
            _phones(marks, len(samples), rate_hz),
        )


def _phones(marks, count, rate_hz):
    """Intervals from marks (first sample, symbol)."""
    marks = [(0, ""), *marks]
    ends = [start for start, _ in marks[1:]] + [count]
    out = []
    for (start, symbol), end in zip(marks, ends, strict=True):
        if end > start:
            out.append((start / rate_hz, end / rate_hz, symbol.strip("\0 _:")))
    return out
