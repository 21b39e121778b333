"""Translations of the studio's interface, of findings about inputs, and of a batch's pages.

The phrases are data: `locales/en.json` and `locales/zh.json`, each with the sections `interface`,
`findings` and `pages`. Both hold the same keys, and the same placeholders in each phrase.
"""

import functools
import json
import os
from pathlib import Path
from typing import Protocol

from heygem.core.errors import ParameterError

LANGUAGES = ("en", "zh")
LOCALES = Path(__file__).with_name("locales")


class Translate(Protocol):
    """Gives a phrase of the interface by its key, with values filled in."""

    def __call__(self, key: str, /, **values: object) -> str: ...


@functools.cache
def phrases(section: str, lang: str) -> dict[str, str]:
    """All phrases of a section in one language, by key; with `{placeholders}` for values.

    Parameters
    ----------
    section : str
        "interface", "findings", or "pages": of the files that a batch leaves.
    lang : str
        "en" or "zh".
    """
    locale = json.loads((LOCALES / f"{lang}.json").read_text(encoding="utf-8"))
    return dict(locale[section])


def language(wish: str = "") -> str:
    """The interface's language: `wish`, else `$HEYGEM_LANG`, else English.

    Raises
    ------
    ParameterError
        There is no translation into it.
    """
    lang = wish or os.environ.get("HEYGEM_LANG") or LANGUAGES[0]
    if lang not in LANGUAGES:
        raise ParameterError("no such language", seen=lang, remedy=f"use one of {LANGUAGES}")
    return lang


def translator(lang: str = "", section: str = "interface") -> Translate:
    """A function `translate(key, **values)` that gives phrases in one language.

    Parameters
    ----------
    lang : str
        "en", "zh", or empty for what `language` chooses.
    section : str
        As of `phrases`.

    Raises
    ------
    ParameterError
        For any other language.
    """
    texts = phrases(section, language(lang))

    def translate(key: str, /, **values: object) -> str:
        return texts[key].format(**values) if values else texts[key]

    translate.lang = language(lang)  # type: ignore[attr-defined]
    return translate


def language_of(translate: Translate) -> str:
    """The language that a function made by `translator` gives."""
    return str(getattr(translate, "lang", "")) or language()


def stage_name(translate: Translate, stage: str) -> str:
    """The phrase for a stage of work; the stage's own name where there is none."""
    key = f"stage_{stage}"
    return translate(key) if key in phrases("interface", LANGUAGES[0]) else stage
