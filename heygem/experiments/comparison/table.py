"""What differs between runs, as plain rows: one per setting or metric, one column per run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from heygem.experiments.runs import Run

#: Settings that say where files are, not how the result looks.
_BOOKKEEPING = (
    "inputs.output", "inputs.videos", "inputs.audios", "inputs.combine", "inputs.pairs",
    "mlflow.", "tracking.", "sweep",
)  # fmt: skip
#: Metrics of which lower is better, and higher; of the others neither.
LOWER_IS_BETTER = (
    "timings.seconds_per_second", "warnings", "skipped_frames.", "measures.silence_leakage",
)  # fmt: skip
HIGHER_IS_BETTER = ("measures.av_corr",)
_SYSTEM_METRICS = "system/"
_MIN_DIFFERENCE = 0.05  # relative; a best value closer to the next is not marked


@dataclass(frozen=True)
class Row:
    """One setting or metric.

    Attributes
    ----------
    key : str
    values : tuple
        In the order of the runs; None for a run without it.
    best : int or None
        Index of the run with the best value, if that is defined and significant.
    """

    key: str
    values: tuple[str | float | None, ...]
    best: int | None = None

    @property
    def differs(self) -> bool:
        """Whether the runs have different values."""
        return len(set(self.values)) > 1


def settings_table(runs: Sequence[Run], *, include_equal: bool = False) -> list[Row]:
    """Settings that differ between runs; with `include_equal`, also those that do not."""
    # Video and audio are tags, not settings of the recipe, but the first question of a reader.
    rows = [
        Row(title, tuple(run.tags.get(tag) for run in runs))
        for title, tag in (("video", "heygem.video"), ("sound", "heygem.sound"))
    ]
    rows += [
        Row(key, tuple(run.params.get(key) for run in runs))
        for key in _union_of_keys(run.params for run in runs)
        if not key.startswith(_BOOKKEEPING) and key not in ("inputs.audio", "inputs.text")
    ]
    return [row for row in rows if row.differs or (include_equal and any(row.values))]


def metrics_table(runs: Sequence[Run]) -> list[Row]:
    """Metrics of runs: timings, counts, agreement of mouth and sound; without system metrics."""
    rows = []
    for key in _union_of_keys(run.metrics for run in runs):
        if not key.startswith(_SYSTEM_METRICS):
            values = tuple(run.metrics.get(key) for run in runs)
            rows.append(Row(key, values, _best(key, values)))
    return rows


def _union_of_keys(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    return sorted({key for mapping in mappings for key in mapping})


def _best(key: str, values: Sequence[float | None]) -> int | None:
    ranking = sorted((value, k) for k, value in enumerate(values) if value is not None)
    if key.startswith(HIGHER_IS_BETTER):
        ranking.reverse()
    elif not key.startswith(LOWER_IS_BETTER):
        return None
    if len(ranking) < 2:
        return None
    best, second = ranking[0][0], ranking[1][0]
    return None if abs(best - second) <= _MIN_DIFFERENCE * abs(second) else ranking[0][1]


def run_letters(count: int) -> list[str]:
    """Short names for runs: A, B, C ..., then A1, B1 ..."""
    return [chr(65 + k % 26) + (str(k // 26) if k >= 26 else "") for k in range(count)]
