"""What every voice returns, and the interface of a voice."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from heygem.core.types import FloatArray


@dataclass(frozen=True)
class Utterance:
    """Synthetic speech.

    Attributes
    ----------
    samples : float32 [n]
        Mono, -1..1.
    rate_hz : int
    phones : list of (start_s, end_s, symbol) or None
        Phones in the International Phonetic Alphabet with their times, without gaps; a pause is
        the symbol `""`. None where the voice does not report them.
    """

    samples: FloatArray
    rate_hz: int
    phones: list[tuple[float, float, str]] | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate_hz


@runtime_checkable
class Voice(Protocol):
    """A speech synthesiser."""

    def synthesize(self, text: str, language: str) -> Utterance:
        """Speak `text`, which is cleaned and not empty, in `language` (as `en-us` or `cmn`)."""
        ...
