"""Findings about inputs: a code with numbers, which becomes a sentence in any language.

A page shows a finding in Chinese, and a script looks for its code instead of a sentence. The
sentences are in `heygem/core/locales`, section `findings`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heygem.core.i18n import LANGUAGES, phrases


@dataclass(frozen=True)
class Finding:
    """One observation about the quality of an input.

    Attributes
    ----------
    level : {"info", "warning", "error"}
    code : str
        A key of the section `findings` of the locales.
    values : dict
        Numbers that fill the placeholders of the sentence.
    """

    level: str
    code: str
    values: dict[str, Any] = field(default_factory=dict)

    def text(self, lang: str = "en") -> str:
        """The sentence in "en" or "zh"."""
        return phrases("findings", lang)[self.code].format(**self.values)

    @property
    def message(self) -> str:
        """The sentence in English."""
        return self.text()

    def plain(self) -> dict[str, Any]:
        """As a dictionary, for a report on disk."""
        return {"level": self.level, "code": self.code, "values": dict(self.values)}


def of_report(report: Mapping[str, Any]) -> list[Finding]:
    """The findings in `heygem.avatar.Avatar.report`; codes of later releases are left out.

    A report from before findings had codes holds English sentences under `advice` only.
    """
    if "findings" not in report:
        return [Finding("warning", "ADVICE", {"text": text}) for text in report.get("advice", ())]
    codes = phrases("findings", LANGUAGES[0])
    return [Finding(**finding) for finding in report["findings"] if finding["code"] in codes]
