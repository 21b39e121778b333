"""Errors, findings of a trace and notes of a fine-tuning, in the language of the interface.

The code makes them in English, which logs and the command line show. A page looks them up in
`locales/errors.LANG.json`, `trace.LANG.json` and `finetune.LANG.json`: by the English text, in
which `{}` stands for each inserted value.
"""

import functools
import json
import re

from heygem.core.i18n import LANGUAGES, LOCALES


@functools.cache
def catalogue(lang: str, name: str = "errors") -> dict[str, str]:
    """All translated texts by their English text; empty for English."""
    if lang == LANGUAGES[0]:
        return {}
    return dict(json.loads((LOCALES / f"{name}.{lang}.json").read_text(encoding="utf-8")))


@functools.cache
def _patterns(lang: str, name: str) -> list[tuple[re.Pattern[str], str]]:
    """Patterns of the English texts, those with the most fixed text first."""
    texts = catalogue(lang, name)
    fixed = {text: [re.escape(part) for part in text.split("{}")] for text in texts}
    ordered = sorted(texts, key=lambda text: sum(map(len, fixed[text])), reverse=True)
    return [(re.compile("(.+?)".join(fixed[t]), re.DOTALL), texts[t]) for t in ordered]


def localized(text: str, lang: str) -> str:
    """A message or remedy of an error in a language; as it is where there is no translation."""
    for pattern, translation in _patterns(lang, "errors"):
        if match := pattern.fullmatch(text):
            return translation.format(*match.groups())
    return text


def localized_finding(text: str, lang: str, name: str = "trace") -> str:
    """A text of the catalogue `name` in a language, with the texts that it is composed of.

    Names, hashes and numbers stay as they are.
    """
    for pattern, translation in _patterns(lang, name):
        if match := pattern.fullmatch(text):
            inner = [localized_finding(part, lang, name) for part in match.groups()]
            return translation.format(*inner)
    for separator, mark in (("; ", "；"), (", ", "，")):
        parts = text.split(separator)
        if len(parts) > 1:
            translated = [localized_finding(part, lang, name) for part in parts]
            if translated != parts:
                return mark.join(translated)
    return localized(text, lang)
