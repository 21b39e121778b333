"""What differs between runs, as plain rows: one per setting or measure, one column per run."""

from dataclasses import dataclass

#: Settings that say where things are and not how they look.
_BOOKKEEPING = ("inputs.output", "inputs.videos", "inputs.pairs", "mlflow.", "tracking.")
#: Measures in which less is better; of the others more is better, or it depends.
LOWER_IS_BETTER = (
    "timings.seconds_per_second", "warnings", "skipped_frames.", "measures.silence_leakage",
)  # fmt: skip
HIGHER_IS_BETTER = ("measures.av_corr",)
_MACHINE = "system/"
_TELLING = 0.05  # a best value that is nearer to the next is not called so


@dataclass(frozen=True)
class Row:
    """One setting or measure.

    Attributes
    ----------
    key : str
    values : tuple
        In the order of the runs; None where a run does not have it.
    best : int or None
        Whose value is best, where that is known and it stands out.
    """

    key: str
    values: tuple
    best: int | None = None

    @property
    def differs(self) -> bool:
        """Whether the runs do not all say the same."""
        return len(set(self.values)) > 1


def settings(runs, *, all_of_them=False) -> list[Row]:
    """Settings that differ between runs.

    Parameters
    ----------
    runs : list of heygem.experiments.runs.Run
    all_of_them : bool
        Equal ones too.
    """
    # Person and sound are no settings of a recipe, but the first thing one asks.
    rows = [
        Row(title, tuple(run.tags.get(tag) for run in runs))
        for title, tag in (("video", "heygem.video"), ("sound", "heygem.sound"))
    ]
    rows += [
        Row(key, tuple(run.params.get(key) for run in runs))
        for key in _keys(run.params for run in runs)
        if not key.startswith(_BOOKKEEPING) and key not in ("inputs.audio", "inputs.text")
    ]
    return [row for row in rows if row.differs or (all_of_them and any(row.values))]


def measures(runs) -> list[Row]:
    """Measures of runs: timings, counts, how mouth and sound agree. Not the machine's own."""
    rows = []
    for key in _keys(run.metrics for run in runs):
        if not key.startswith(_MACHINE):
            values = tuple(run.metrics.get(key) for run in runs)
            rows.append(Row(key, values, _best(key, values)))
    return rows


def _keys(trees):
    found = {}
    for tree in trees:
        found |= dict.fromkeys(tree)
    return sorted(found)


def _best(key, values):
    known = sorted((value, k) for k, value in enumerate(values) if value is not None)
    if key.startswith(HIGHER_IS_BETTER):
        known.reverse()
    elif not key.startswith(LOWER_IS_BETTER):
        return None
    if len(known) < 2 or abs(known[0][0] - known[1][0]) <= _TELLING * abs(known[1][0]):
        return None
    return known[0][1]


def letters(runs) -> list[str]:
    """A short name for each: A, B, C ..., then A1, B1 ..."""
    return [chr(65 + k % 26) + (str(k // 26) if k >= 26 else "") for k in range(len(runs))]
