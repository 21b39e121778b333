"""Who may be shown: consents and takedowns, as rows of the ledger.

The Deep Synthesis Provisions (China) ask that whoever's face or voice is edited is told and agrees
to it separately. A consent belongs to one recording, known by its content; it says who agreed, to
what, until when, and where the paper lies. A takedown blocks a recording or a sound from being used
again. Neither is ever erased: a later row lifts an earlier one.
"""

import datetime

from heygem.core.errors import ConsentError, ParameterError


def record(ledger, sha256, *, who, purpose, until, reference):
    """Write down a consent.

    Parameters
    ----------
    ledger : heygem.provenance.ledger.Ledger
    sha256 : str
        Of the recording, see `heygem.provenance.ledger.file_hash`.
    who, purpose, reference : str
        Who agreed (a code is better than a name), to what, and where the agreement lies.
    until : str
        Last day, as YYYY-MM-DD.
    """
    try:
        datetime.date.fromisoformat(until)
    except ValueError as e:
        raise ParameterError(
            "the consent's last day is not a date", seen=until, remedy="write it as YYYY-MM-DD"
        ) from e
    for name, value in (("who", who), ("purpose", purpose), ("reference", reference)):
        if not value.strip():
            raise ParameterError(f"a consent needs {name}", seen=repr(value))
    body = {"who": who, "purpose": purpose, "until": until, "reference": reference}
    return ledger.append("consent", sha256, body)


def withdraw(ledger, sha256, *, reason):
    """Write down that a consent no longer holds."""
    return ledger.append("consent withdrawn", sha256, {"reason": reason})


def block(ledger, sha256, *, reason):
    """Forbid a recording or a sound from being used again."""
    return ledger.append("blocked", sha256, {"reason": reason})


def unblock(ledger, sha256, *, reason):
    """Lift a block."""
    return ledger.append("unblocked", sha256, {"reason": reason})


def require(ledger, video_sha256, audio_sha256, *, basis, today=None):
    """Go on only where this person and this sound may be used.

    Parameters
    ----------
    ledger : heygem.provenance.ledger.Ledger
    video_sha256, audio_sha256 : str
    basis : str
        `label.consent`: `own`, `synthetic` or `recorded`. Only the last needs a consent; a block,
        a withdrawal and an expiry hold for all.
    today : datetime.date, optional

    Returns
    -------
    dict
        What the permission rests on, for the ledger.

    Raises
    ------
    ConsentError
    """
    today = today or datetime.datetime.now(datetime.UTC).date()
    for name, sha256 in (("video", video_sha256), ("sound", audio_sha256)):
        row = _last(ledger, sha256, ("blocked", "unblocked"))
        if row is not None and row.kind == "blocked":
            raise ConsentError(
                f"this {name} is blocked",
                seen=f"{row.body['reason']} (ledger row {row.number}, {row.time_utc[:10]})",
                remedy="use another one, or lift the block with `heygem consent unblock`",
            )
    row = _last(ledger, video_sha256, ("consent", "consent withdrawn"))
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
            remedy="agree anew and record it with `heygem consent add`",
        )
    return {"basis": basis, "ledger_row": row.number, "reference": row.body["reference"]}


def _last(ledger, sha256, kinds):
    rows = [row for row in ledger.entries(subject=sha256) if row.kind in kinds]
    return rows[-1] if rows else None
