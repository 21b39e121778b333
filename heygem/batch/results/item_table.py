"""The items of a batch as rows of facts: for the gallery, and as a CSV file for spreadsheets."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heygem.batch.items import Item
from heygem.batch.outcome import Outcome

_MEASURES = ("av_corr", "av_offset_ms", "silence_leakage")
_COLUMNS = (
    "name", "state", "video", "audio", "text", "variant", "result", "seconds", "duration_s",
    "real_time_factor", "frames", "bytes", *_MEASURES, "warnings", "code", "error", "seen",
    "remedy", "sha256", "id",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One item; see `rows`.

    Attributes
    ----------
    outcome : Outcome
    group, variant : str
        See `heygem.batch.items.Item`.
    error : dict of str to str
        `what`, `seen` and `remedy` of a failed item.
    seconds : float
        Processing time: of an item that an earlier run has made, the time that it took then.
    """

    outcome: Outcome
    group: str = ""
    variant: str = ""
    error: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def duration_s(self) -> float | None:
        """Length of the result."""
        return self._output("duration_s")

    @property
    def real_time_factor(self) -> float | None:
        """Processing time per second of the result."""
        return self.seconds / self.duration_s if self.duration_s and self.seconds else None

    def cells(self) -> dict[str, Any]:
        """The row of the CSV file."""
        outcome = self.outcome
        inputs = outcome.params.inputs if outcome.params is not None else None
        spoken = inputs is not None and inputs.audio is None
        measures = outcome.manifest.get("measures") or {}
        return {
            "name": outcome.name,
            "state": outcome.status,
            "video": outcome.source,
            "audio": "" if spoken else outcome.speech,
            "text": outcome.speech if spoken else "",
            "variant": self.variant,
            "result": outcome.result,
            "seconds": round(self.seconds, 2),
            "duration_s": self.duration_s,
            "real_time_factor": self.real_time_factor and round(self.real_time_factor, 2),
            "frames": self._output("frames"),
            "bytes": self._output("bytes"),
            **{key: measures.get(key) for key in _MEASURES},
            "warnings": "; ".join(outcome.warnings),
            "code": outcome.code,
            "error": self.error.get("what", outcome.error),
            "seen": self.error.get("seen", ""),
            "remedy": self.error.get("remedy", ""),
            "sha256": self._output("sha256"),
            "id": outcome.manifest.get("id", ""),
        }

    def _output(self, key: str) -> Any:
        return (self.outcome.manifest.get("output") or {}).get(key)


def rows(outcomes: Sequence[Outcome], items: Sequence[Item] = ()) -> list[Row]:
    """The outcomes with what the plan knows of them.

    Parameters
    ----------
    outcomes : sequence of Outcome
    items : sequence of Item
        From `heygem.batch.items.plan_items`; tells which outcomes belong together.
    """
    planned = {item.name: item for item in items}
    listed = []
    for outcome in outcomes:
        item = planned.get(outcome.name)
        error = dict(outcome.reason)
        if outcome.error and not error:
            error = {"what": outcome.error}
        # What the item itself took, without the wait for its models.
        timings = outcome.manifest.get("timings") or {}
        earlier_s = sum(v for k, v in timings.items() if k.endswith("_s"))
        seconds = earlier_s if outcome.status == "skipped" else outcome.seconds
        group = item.group if item is not None else outcome.name
        variant = item.variant if item is not None else ""
        listed.append(Row(outcome, group, variant, error, seconds))
    return listed


def write_csv(table: Sequence[Row], path: Path) -> None:
    """One line an item, with a byte order mark, without which spreadsheets expect no UTF-8."""
    with path.open("w", newline="", encoding="utf-8-sig", errors="backslashreplace") as stream:
        out = csv.DictWriter(stream, _COLUMNS)
        out.writeheader()
        for row in table:
            out.writerow({key: _cell(value) for key, value in row.cells().items()})


def _cell(value: Any) -> Any:
    """A cell that a spreadsheet does not take for a formula."""
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value
