"""Messages of errors in the language of the interface.

The code raises errors in English, which logs and the command line show. A page looks up the message
in `locales/errors.LANG.json`: by the English text, in which `{}` stands for each inserted value.
"""

import functools
import json
import re

from heygem.core.i18n import LANGUAGES, LOCALES


@functools.cache
def catalogue(lang: str) -> dict[str, str]:
    """All translated messages by their English text; empty for English."""
    if lang == LANGUAGES[0]:
        return {}
    return dict(json.loads((LOCALES / f"errors.{lang}.json").read_text(encoding="utf-8")))


@functools.cache
def _patterns(lang: str) -> list[tuple[re.Pattern[str], str]]:
    """Patterns of the English texts, those with the most fixed text first."""
    texts = catalogue(lang)
    fixed = {text: [re.escape(part) for part in text.split("{}")] for text in texts}
    ordered = sorted(texts, key=lambda text: sum(map(len, fixed[text])), reverse=True)
    return [(re.compile("(.+?)".join(fixed[t]), re.DOTALL), texts[t]) for t in ordered]


def localized(text: str, lang: str) -> str:
    """A message or remedy of an error in a language; as it is where there is no translation."""
    for pattern, translation in _patterns(lang):
        if match := pattern.fullmatch(text):
            return translation.format(*match.groups())
    return text
