"""Consents of the people shown, and takedowns, as rows of the ledger.

The Deep Synthesis Provisions (China) require that a person whose face or voice is edited is
informed and agrees separately. A consent belongs to one recording, identified by its content hash;
it states who agreed, to what, until when, and where the document is filed. A takedown blocks a
recording or an audio file from being used again. Neither is ever erased: a later row supersedes an
earlier one. What is refused leaves a row too.
"""

import contextlib
import datetime
from collections.abc import Iterator, Sequence

from heygem.core.approval import require_approval
from heygem.core.errors import ConsentError, HeygemError, ParameterError
from heygem.provenance.ledger import Entry, Ledger, current_user


def record(
    ledger: Ledger, sha256: str, *, who: str, purpose: str, until: str, reference: str
) -> Entry:
    """Append a consent to the ledger.

    Parameters
    ----------
    ledger
    sha256
        Of the recording, see `heygem.core.files.hash_input`.
    who, purpose, reference
        Who agreed (a code is better than a name), to what, and where the agreement is filed.
    until
        Last valid day, as YYYY-MM-DD.

    Raises
    ------
    ParameterError
        The day is not a date, or another field is empty.
    """
    try:
        datetime.date.fromisoformat(until)
    except ValueError as error:
        raise ParameterError(
            "the consent's last day is not a date", seen=until, remedy="write it as YYYY-MM-DD"
        ) from error
    for name, value in (("who", who), ("purpose", purpose), ("reference", reference)):
        if not value.strip():
            raise ParameterError(f"a consent needs {name}", seen=repr(value))
    body = {"who": who, "purpose": purpose, "until": until, "reference": reference}
    return ledger.append("consent", sha256, body)


def withdraw(ledger: Ledger, sha256: str, *, reason: str) -> Entry:
    """Append the withdrawal of a consent."""
    return ledger.append("consent withdrawn", sha256, {"reason": reason})


def block(ledger: Ledger, sha256: str, *, reason: str) -> Entry:
    """Append a takedown: the recording or audio file must not be used again."""
    return ledger.append("blocked", sha256, {"reason": reason})


def unblock(ledger: Ledger, sha256: str, *, reason: str, requester: str, approver: str) -> Entry:
    """Append the end of a takedown, which two different people answer for.

    Raises
    ------
    ConsentError
        One of them is not named, or both are the same person.
    """
    require_approval("lifting a block", requester, approver)
    body = {"reason": reason, "requester": requester, "approver": approver}
    return ledger.append("unblocked", sha256, body | {"user": current_user()})


def require(
    ledger: Ledger,
    video_sha256: str,
    audio_sha256: str,
    *,
    basis: str | None,
    today: datetime.date | None = None,
) -> dict[str, object]:
    """Check that a recording and an audio file may be used.

    Parameters
    ----------
    ledger
    video_sha256, audio_sha256
    basis
        `label.consent`: `own`, `synthetic` or `recorded`; None: the installation's default, see
        `heygem.provenance.installation`. Only `recorded` requires a consent; a block, a withdrawal
        and an expiry are enforced for all three.
    today
        UTC, by default the current day.

    Returns
    -------
    dict
        What the permission is based on, for the ledger.

    Raises
    ------
    ConsentError
        A file is blocked, the consent is missing, withdrawn or expired, or this installation
        does not accept the basis. The refusal is recorded.
    """
    with _recorded_refusal(ledger, video_sha256, sound=audio_sha256, basis=basis):
        return _permission(ledger, video_sha256, audio_sha256, basis, today)


def require_unblocked(ledger: Ledger, name: str, sha256: str) -> None:
    """Refuse a file under a takedown, and record that; `name` says what it is.

    Raises
    ------
    ConsentError
    """
    with _recorded_refusal(ledger, sha256):
        _require_unblocked(ledger, name, sha256)


@contextlib.contextmanager
def _recorded_refusal(ledger: Ledger, subject: str, **facts: str | None) -> Iterator[None]:
    """Append a row for a ConsentError that the block raises; the error itself propagates."""
    try:
        yield
    except ConsentError as refusal:
        body = {"user": current_user(), "reason": str(refusal), **facts}
        with contextlib.suppress(HeygemError):  # refused all the same
            ledger.append("refused", subject, body)
        raise


def _permission(
    ledger: Ledger,
    video_sha256: str,
    audio_sha256: str,
    basis: str | None,
    today: datetime.date | None,
) -> dict[str, object]:
    basis = ledger.consent_basis(basis)
    today = today or datetime.datetime.now(datetime.UTC).date()
    _require_unblocked(ledger, "video", video_sha256)
    _require_unblocked(ledger, "sound", audio_sha256)
    row = _latest(ledger, video_sha256, ("consent", "consent withdrawn"))
    if row is None:
        if basis == "recorded":
            raise ConsentError(
                "no consent is recorded for this video",
                seen=f"sha256 {video_sha256[:16]}",
                remedy="record it with `heygem consent add`, or set label.consent",
            )
        return {"basis": basis}
    if row.kind == "consent withdrawn":
        raise ConsentError(
            "the consent for this video was withdrawn",
            seen=f"{row.body['reason']} (ledger row {row.number})",
            remedy="use another video",
        )
    if datetime.date.fromisoformat(row.body["until"]) < today:
        raise ConsentError(
            "the consent for this video has expired",
            seen=f"on {row.body['until']} (ledger row {row.number})",
            remedy="obtain a new consent and record it with `heygem consent add`",
        )
    return {"basis": basis, "ledger_row": row.number, "reference": row.body["reference"]}


def _require_unblocked(ledger: Ledger, name: str, sha256: str) -> None:
    row = _latest(ledger, sha256, ("blocked", "unblocked"))
    if row is not None and row.kind == "blocked":
        raise ConsentError(
            f"this {name} is blocked",
            seen=f"{row.body['reason']} (ledger row {row.number}, {row.time_utc[:10]})",
            remedy="use another one, or lift the block with `heygem consent unblock`",
        )


def _latest(ledger: Ledger, sha256: str, kinds: Sequence[str]) -> Entry | None:
    rows = [row for row in ledger.entries(subject=sha256) if row.kind in kinds]
    return rows[-1] if rows else None
