"""Text to speech on the local machine, with pluggable voices.

The built-in voice is eSpeak NG (`heygem.audio.espeak`). A voice of your own is any object with
`Voice.synthesize`; name it as `module:function` or register it under the entry-point group
`heygem.voices`.
"""

import html
import importlib
import re
import unicodedata

import numpy as np

from heygem.audio.espeak import EspeakVoice
from heygem.audio.utterance import Utterance, Voice
from heygem.core import plugins
from heygem.core.errors import HeygemError, ParameterError

__all__ = ["ENTRY_POINTS", "EspeakVoice", "Utterance", "Voice", "clean", "find_voice", "synthesize"]

ENTRY_POINTS = "heygem.voices"


def clean(text: str) -> str:
    """Text without markup, control characters and repeated blanks.

    SSML and HTML tags are dropped and entities resolved, because a voice would read them aloud.
    """
    text = re.sub(r"<!--.*?-->|<[/!?]?[A-Za-z][^<>]*>", " ", text, flags=re.DOTALL)
    text = unicodedata.normalize("NFC", html.unescape(text))
    # Cc control, Cf format (bidirectional marks, soft hyphens), Cs lone surrogates, Co private.
    text = "".join(
        c if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") else " " for c in text
    )
    return " ".join(text.split())


def synthesize(text: str, language: str = "en-us", *, voice: str | Voice = "espeak") -> Utterance:
    """Speak a text.

    Parameters
    ----------
    text : str
        Plain text; tags and control characters are removed.
    language : str
        A tag that the voice supports: for the built-in voice `en-us`, `en-gb`, `cmn` (or `zh`),
        `de`, ...
    voice : str or Voice
        `espeak`, a name registered under `heygem.voices`, `module:function`, or a voice itself.

    Raises
    ------
    ParameterError
        The text holds no letter or digit; the language or the voice is unknown.
    AssetError
        The built-in voice's library is missing.
    """
    if not isinstance(text, str):
        raise ParameterError("text must be a string", seen=type(text).__name__)
    plain_text = clean(text)
    if not any(c.isalnum() for c in plain_text):
        raise ParameterError(
            "text has nothing to say", seen=repr(text[:40]), remedy="give words in `text`"
        )
    speaker = find_voice(voice) if isinstance(voice, str) else voice
    try:
        utterance = speaker.synthesize(plain_text, language)
    except HeygemError:
        raise
    except Exception as e:
        raise ParameterError(
            f"voice {voice!r} failed", seen=f"{type(e).__name__}: {e}", remedy="check that voice"
        ) from e
    samples = np.asarray(utterance.samples, np.float32)
    if samples.ndim != 1 or not np.isfinite(samples).all() or not np.abs(samples).max(initial=0):
        raise ParameterError(
            f"voice {voice!r} returned no usable audio",
            seen=f"samples {samples.shape}",
            remedy="check that the text is in the language asked for",
        )
    return Utterance(samples, int(utterance.rate_hz), utterance.phones)


def find_voice(name: str) -> Voice:
    """The voice of this name: built in, registered, or what `module:function` returns."""
    if name == "espeak":
        return EspeakVoice()
    registered = plugins.offered(ENTRY_POINTS)
    try:
        if name in registered:
            loaded = registered[name].load()
        elif ":" in name:
            module, _, attribute = name.partition(":")
            loaded = getattr(importlib.import_module(module), attribute)
        else:
            raise ParameterError(
                "unknown voice",
                seen=name,
                remedy=f"use one of {', '.join(['espeak', *registered])}, or `module:function`",
            )
        return _as_voice(loaded)
    except HeygemError:
        raise
    except Exception as e:
        raise ParameterError(
            f"voice {name!r} cannot be loaded",
            seen=f"{type(e).__name__}: {e}",
            remedy="name an importable `module:function` that returns a voice",
        ) from e


def _as_voice(loaded: object) -> Voice:
    """A voice itself, or what a class or function returns."""
    if isinstance(loaded, Voice) and not isinstance(loaded, type):
        return loaded
    if not callable(loaded):
        raise TypeError(f"{loaded!r} is neither a voice nor a function that returns one")
    voice = loaded()
    if not isinstance(voice, Voice):
        raise TypeError(f"{loaded!r} returned {type(voice).__name__}, which has no synthesize()")
    return voice
