"""Four eyes: what one person alone may not decide needs a second, different person."""

import unicodedata

from heygem.core.errors import ConsentError


def approval_problem(requester: str | None, approver: str | None) -> str | None:
    """Why two names do not stand for two people; None if they do.

    Names are stated, not authenticated: this prevents a slip, and leaves two names on record.
    """
    for role, name in (("requester", requester), ("approver", approver)):
        if not _normalized(name or ""):
            return f"no {role} is named"
    if _normalized(requester or "") == _normalized(approver or ""):
        return "requester and approver are the same person"
    return None


def require_approval(action: str, requester: str | None, approver: str | None) -> None:
    """Refuse an action that two different people have not been named for.

    Raises
    ------
    ConsentError
    """
    problem = approval_problem(requester, approver)
    if problem is not None:
        raise ConsentError(
            f"{action} needs two people: {problem}",
            seen=f"requester {requester!r}, approver {approver!r}",
            remedy="name who asks for it and, as approver, another person who agrees to it",
        )


def _normalized(name: str) -> str:
    """A name without case, spacing, punctuation and compatibility forms."""
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(c for c in text if c.isalnum())
