"""The consent form of the fine-tuning page."""

import datetime
import html
from typing import TYPE_CHECKING

import ipywidgets as w

from heygem.core.errors import ConsentError
from heygem.core.i18n import Translate

if TYPE_CHECKING:
    from heygem.finetune.consent import Statement

BASES = ("own", "synthetic", "recorded")


class ConsentForm(w.VBox):
    """Whose likeness it is; for another person's, who agreed to what, until when, and the record.

    Parameters
    ----------
    translate : callable
    initial : dict, optional
        Initial values: basis, who, purpose, until (YYYY-MM-DD), reference.
    """

    def __init__(self, translate: Translate, initial: dict[str, str] | None = None) -> None:
        initial = dict(initial or {})
        self.basis = w.RadioButtons(
            options=[(translate("basis_" + basis), basis) for basis in BASES],
            value=initial.get("basis") or None,
            description=translate("basis"), layout=w.Layout(width="auto"),
        )  # fmt: skip
        until = initial.get("until", "")
        self.until = w.DatePicker(
            description=translate("until"),
            value=datetime.date.fromisoformat(until) if until else None,
        )  # fmt: skip
        self.texts = {
            key: w.Text(
                value=initial.get(key, ""), description=translate("consent_" + key),
                placeholder=translate("consent_" + key + "_help"),
            )
            for key in ("who", "purpose", "reference")
        }  # fmt: skip
        who, purpose, reference = self.texts.values()
        self.details = w.VBox([who, purpose, self.until, reference])
        for field in (self.basis, *self.texts.values(), self.until):
            field.add_class("hg-labelled-above")
        title = f'<span class="hg-field-title">{html.escape(translate("consent_why"))}</span>'
        question = w.HTML(title)
        super().__init__([question, self.basis, self.details])
        self.basis.observe(lambda _: self._update_layout(), "value")
        self._update_layout()

    def _update_layout(self) -> None:
        self.details.layout.display = "flex" if self.basis.value == "recorded" else "none"

    def statement(self) -> "Statement":
        """The answers as a consent statement.

        Raises
        ------
        ConsentError
            The basis or a detail is missing.
        """
        from heygem.finetune.consent import Statement

        if not self.basis.value:  # a page has no options of the command line to name
            raise ConsentError(
                "no basis for using this likeness is stated",
                remedy="say above whose likeness it is",
            )
        if self.basis.value != "recorded":
            return Statement(self.basis.value)
        until = self.until.value.isoformat() if self.until.value else ""
        texts = {key: text.value.strip() for key, text in self.texts.items()}
        fields = {self.texts[key].description: text for key, text in texts.items()}
        fields[self.until.description] = until
        if missing := [name for name, answer in fields.items() if not answer]:
            raise ConsentError(
                "a recorded consent is not complete",
                seen=f"without {', '.join(missing)}",
                remedy="fill in every field above",
            )
        return Statement("recorded", until=until, **texts)
