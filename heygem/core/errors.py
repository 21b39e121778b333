"""Errors of heygem: what failed, the offending value, and what the user can do."""

from typing import Any


class HeygemError(Exception):
    """Root of all errors this package raises on purpose.

    Parameters
    ----------
    what : str
        What failed, naming the file or the key.
    seen : object, optional
        The offending value.
    remedy : str, optional
        What the user can do about it.
    """

    code = "ERROR"

    def __init__(self, what: str, *, seen: object = None, remedy: str | None = None) -> None:
        self.what = what
        self.seen = seen
        self.remedy = remedy
        texts = [str(what)]
        if seen is not None:
            texts.append(f"seen: {seen}")
        if remedy is not None:
            texts.append(str(remedy))
        # One line that can be printed, even where a file name holds line breaks or is not UTF-8.
        line = "; ".join(texts).replace("\r", "\\r").replace("\n", "\\n")
        super().__init__(line.encode("utf-8", "backslashreplace").decode())

    @property
    def parts(self) -> dict[str, str]:
        """`what`, `seen` and `remedy` as text, where they are given; for a record."""
        parts = {"what": self.what, "seen": self.seen, "remedy": self.remedy}
        return {key: str(value) for key, value in parts.items() if value is not None}

    def __reduce__(self) -> tuple[Any, ...]:  # default pickling loses keyword-only arguments
        return (_rebuild, (type(self), self.what, self.seen, self.remedy))


def _rebuild(kind: type[HeygemError], what: str, seen: object, remedy: str | None) -> HeygemError:
    return kind(what, seen=None if seen is None else str(seen), remedy=remedy)


class InputError(HeygemError):
    """A file the user gave cannot be used; another try with the same file fails too."""

    code = "BAD_INPUT"


class LimitError(HeygemError):
    """An input is longer or larger than this installation's settings allow."""

    code = "OVER_LIMIT"


class NoFaceError(InputError):
    """No frame of the video holds a face that can be used."""

    code = "NO_FACE"


class ParameterError(HeygemError):
    """A parameter is unknown, of the wrong type or out of range."""

    code = "BAD_PARAMETER"


class ConsentError(HeygemError):
    """This person or this content must not be used: no consent, expired, withdrawn or blocked."""

    code = "CONSENT"


class PolicyError(HeygemError):
    """The rules of this installation, which serves several users, do not allow it."""

    code = "POLICY"


class AssetError(HeygemError):
    """A pretrained file is missing, or is not the file it should be."""

    code = "ASSET"


class OutputError(HeygemError):
    """The result cannot be written."""

    code = "OUTPUT"


class DiskFullError(OutputError):
    """A disk, or a quota on it, has no room; once there is, the same work succeeds."""

    code = "DISK_FULL"


class DiskLostError(OutputError):
    """A disk or network folder does not answer, or is gone; it may come back."""

    code = "DISK_LOST"


class OutOfMemoryError(HeygemError):
    """Memory of the machine or of the GPU did not suffice."""

    code = "OUT_OF_MEMORY"


class Cancelled(HeygemError):
    """The user stopped the work; nothing is left half-written."""

    code = "CANCELLED"


class Notice(UserWarning):
    """Something the user should know that is no error; shown once, in one line."""
