"""Consent to the use of a likeness, as it is stored in an avatar bundle.

The ledger belongs to an installation, but a bundle is copied between them. So the bundle states the
consent itself, and where it is used, the statement is recorded in the ledger there, unless that
ledger has a withdrawal, a block or another consent, which take precedence.
"""

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from heygem.core.errors import ConsentError, ParameterError
from heygem.provenance import consent
from heygem.provenance.ledger import Ledger

BASES = ("own", "synthetic", "recorded")


@dataclass(frozen=True)
class Statement:
    """On what basis a model is fine-tuned to a person.

    Attributes
    ----------
    basis : str
        `own` (the user), `synthetic` (no real person), `recorded` (somebody else, who agreed).
    who, purpose, reference : str
        Who agreed (a code is better than a name), to what, and where the agreement is filed:
        required for `recorded`. A reference, never a scan.
    until : str
        Last valid day, as YYYY-MM-DD; required for `recorded`.

    Raises
    ------
    ConsentError
        No basis is given, or a field is missing.
    ParameterError
        The last day is no date.
    """

    basis: str
    who: str = ""
    purpose: str = ""
    until: str = ""
    reference: str = ""

    def __post_init__(self) -> None:
        if self.basis not in BASES:
            raise ConsentError(
                "no basis for using this likeness is stated",
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
    def on_record(cls, ledger: Ledger, sha256: str) -> "Statement":
        """The newest consent in the ledger for a recording.

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

    def stated(self, key: str) -> bool:
        """Whether a field is not empty."""
        return bool(getattr(self, key).strip())

    @property
    def fields(self) -> dict[str, str]:
        """As plain values."""
        return asdict(self)


def check_consent(ledger: Ledger, statement: Statement, sha256s: Sequence[str]) -> None:
    """Check what the ledger says of footage, before anything is read; nothing is recorded.

    Parameters
    ----------
    ledger : heygem.provenance.ledger.Ledger
    statement : Statement
        Takes the place of a consent that is not in the ledger yet.
    sha256s : sequence of str
        Of all footage.

    Raises
    ------
    ConsentError
        Blocked, withdrawn or expired.
    """
    for sha256 in sha256s:
        if statement.basis == "recorded" and not _has_consent_row(ledger, sha256):
            consent.require_unblocked(ledger, "video", sha256)
        else:
            consent.require(ledger, sha256, "", basis=statement.basis)


def require_consent(
    ledger: Ledger, statement: Statement, sha256s: Sequence[str], *, avatar: str
) -> None:
    """Record a statement in the ledger, unless it has one, and check that it holds.

    Parameters
    ----------
    ledger : heygem.provenance.ledger.Ledger
    statement : Statement
    sha256s : sequence of str
        Of all footage.
    avatar : str
        Name of the avatar, for the record.

    Raises
    ------
    ConsentError
        Blocked, withdrawn or expired.
    """
    for sha256 in sha256s:
        if statement.basis == "recorded" and not _has_consent_row(ledger, sha256):
            details = {k: v for k, v in statement.fields.items() if k != "basis"}
            consent.record(ledger, sha256, **details)
        elif statement.basis != "recorded" and not ledger.entries(kind="likeness", subject=sha256):
            ledger.append("likeness", sha256, {"basis": statement.basis, "avatar": avatar})
        consent.require(ledger, sha256, "", basis=statement.basis)


def _has_consent_row(ledger: Ledger, sha256: str) -> bool:
    kinds = {row.kind for row in ledger.entries(subject=sha256)}
    return bool({"consent", "consent withdrawn"} & kinds)
