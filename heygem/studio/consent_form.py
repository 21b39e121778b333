"""By what right somebody is taught: the form, and what it says as a statement."""

import datetime
import html

import ipywidgets as w

BASES = ("own", "synthetic", "recorded")


class ConsentForm(w.VBox):
    """Whose likeness it is; for somebody else's, who agreed to what, until when, and where it lies.

    Parameters
    ----------
    say : callable
    given : dict, optional
        basis, who, purpose, until (YYYY-MM-DD), reference: what is known already.
    """

    def __init__(self, say, given=None):
        given = dict(given or {})
        wide = w.Layout(width="100%", max_width="520px")
        style = {"description_width": "170px"}
        self.basis = w.RadioButtons(
            options=[(say("basis_" + basis), basis) for basis in BASES],
            value=given.pop("basis", None) or None,
            description=say("basis"), layout=w.Layout(width="auto"), style=style,
        )  # fmt: skip
        until = given.pop("until", "")
        self.until = w.DatePicker(
            description=say("until"), layout=wide, style=style,
            value=datetime.date.fromisoformat(until) if until else None,
        )  # fmt: skip
        self.texts = {
            key: w.Text(
                value=given.get(key, ""), description=say("consent_" + key),
                placeholder=say("consent_" + key + "_help"), layout=wide, style=style,
            )
            for key in ("who", "purpose", "reference")
        }  # fmt: skip
        who, purpose, reference = self.texts.values()
        self.details = w.VBox([who, purpose, self.until, reference])
        super().__init__([w.HTML(html.escape(say("consent_why"))), self.basis, self.details])
        self.basis.observe(lambda _: self._arrange(), "value")
        self._arrange()

    def _arrange(self):
        self.details.layout.display = "flex" if self.basis.value == "recorded" else "none"

    def statement(self):
        """What the form says as a heygem.finetune.consent.Statement.

        Raises
        ------
        ConsentError
            Nobody has answered, or something is missing.
        """
        from heygem.finetune.consent import Statement

        if self.basis.value != "recorded":
            return Statement(self.basis.value or "")
        until = self.until.value.isoformat() if self.until.value else ""
        texts = {key: text.value.strip() for key, text in self.texts.items()}
        return Statement("recorded", until=until, **texts)
