"""The Markdown of heygem's notebooks in the language of the interface.

The notebooks' files are in English and can be read anywhere. `locales/notebooks.LANG.json` holds
each of their Markdown cells in another language, by its English text.
"""

import re
from typing import Any

from heygem.core.error_texts import catalogue
from heygem.core.i18n import LANGUAGES, language


def notebook_language(notebook: Any) -> str:
    """The language that a notebook's parameter `lang` chooses; else the interface's."""
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", ()):
            chosen = re.findall(
                r"^lang\s*=\s*[\"'](\w*)[\"']", "".join(cell["source"]), re.MULTILINE
            )
            if chosen and chosen[-1] in LANGUAGES:
                return str(chosen[-1])
    return language()


def localize(notebook: Any, lang: str) -> Any:
    """Put the Markdown cells of a notebook into a language, in place; returns the notebook.

    Parameters
    ----------
    notebook : dict
        As of the notebook format 4. Cells that heygem's notebooks do not have stay as they are.
    lang : str
        One of `LANGUAGES`; English brings back what the files hold.
    """
    english = {
        translated: text
        for other in LANGUAGES
        for text, translated in catalogue(other, "notebooks").items()
    }
    translations = catalogue(lang, "notebooks")
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])  # a string, or a list of lines
            original = english.get(text, text)
            cell["source"] = translations.get(original, original)
    return notebook
