"""Who agreed to the use of a likeness, as it is kept with the avatar.

The ledger of an installation stays where it is; a taught avatar travels. So the folder says itself
what the agreement was, and wherever it is used the statement is taken into the ledger there, unless
that ledger knows better: a withdrawal, a block or a newer consent on record comes first.
"""

import datetime
from dataclasses import asdict, dataclass

from heygem.core.errors import ConsentError, ParameterError
from heygem.provenance import consent

BASES = ("own", "synthetic", "recorded")


@dataclass(frozen=True)
class Statement:
    """By what right somebody is taught to the model.

    Attributes
    ----------
    basis : str
        `own` (whoever runs this shows themselves), `synthetic` (no real person), `recorded`
        (somebody else, who agreed).
    who, purpose, reference : str
        Who agreed (a code is better than a name), to what, and where the agreement lies: needed
        for `recorded`. A reference, never a scan.
    until : str
        Last day, as YYYY-MM-DD; needed for `recorded`.

    Raises
    ------
    ConsentError
        Nobody answered, or something is missing.
    ParameterError
        The last day is no date.
    """

    basis: str
    who: str = ""
    purpose: str = ""
    until: str = ""
    reference: str = ""

    def __post_init__(self):
        if self.basis not in BASES:
            raise ConsentError(
                "nobody has said by what right this person is taught",
                seen=self.basis or None,
                remedy="give --consent own, synthetic or recorded (with --who, --purpose, --until "
                "and --reference)",
            )
        if self.basis != "recorded":
            return
        missing = [k for k in ("who", "purpose", "until", "reference") if not self.stated(k)]
        if missing:
            raise ConsentError(
                "a recorded consent is not complete",
                seen=f"without {', '.join(missing)}",
                remedy=f"give {', '.join('--' + k for k in missing)}",
            )
        try:
            datetime.date.fromisoformat(self.until)
        except ValueError as error:
            raise ParameterError(
                "the consent's last day is not a date",
                seen=self.until,
                remedy="write it as YYYY-MM-DD",
            ) from error

    @classmethod
    def on_record(cls, ledger, sha256):
        """The newest consent that the ledger holds for a recording.

        Raises
        ------
        ConsentError
            There is none.
        """
        rows = ledger.entries(kind="consent", subject=sha256)
        if not rows:
            raise ConsentError(
                "no consent is recorded for this video",
                seen=f"sha256 {sha256[:16]}",
                remedy="record it with `heygem consent add`",
            )
        keys = ("who", "purpose", "until", "reference")
        return cls("recorded", **{key: rows[-1].body[key] for key in keys})

    def stated(self, key):
        """Whether there is something in a field."""
        return bool(getattr(self, key).strip())

    @property
    def fields(self):
        """As plain values."""
        return asdict(self)


def require_consent(ledger, statement, sha256s, *, avatar):
    """Take a statement into the ledger, where nothing newer stands, and go on only if it holds.

    Parameters
    ----------
    ledger : heygem.provenance.ledger.Ledger
    statement : Statement
    sha256s : list of str
        Of all footage.
    avatar : str
        Name of the avatar, for the record.

    Raises
    ------
    ConsentError
        Blocked, withdrawn or expired.
    """
    for sha256 in sha256s:
        rows = [r.kind for r in ledger.entries(subject=sha256)]
        if statement.basis == "recorded" and not {"consent", "consent withdrawn"} & set(rows):
            details = {k: v for k, v in statement.fields.items() if k != "basis"}
            consent.record(ledger, sha256, **details)
        elif statement.basis != "recorded" and "likeness" not in rows:
            ledger.append("likeness", sha256, {"basis": statement.basis, "avatar": avatar})
        consent.require(ledger, sha256, "", basis=statement.basis)
