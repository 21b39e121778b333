"""What a whole batch comes to: counts, times, times per second of video, and mean measures."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

STATUSES = ("done", "skipped", "failed", "cancelled")


class EndedItem(Protocol):
    """What the summary needs of an item; `heygem.experiments.run_records.ItemOutcome` is one."""

    @property
    def status(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def manifest(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class ItemFacts:
    """Of one item: "done", "failed", "skipped" or "cancelled"; seconds; length of the result.

    `measures` and `timings` are those of its manifest, under the names of metrics.
    """

    status: str
    seconds: float
    duration_s: float | None
    measures: Mapping[str, float] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)


def facts(outcome: EndedItem) -> ItemFacts:
    """What the summary needs of an item."""
    duration_s = (outcome.manifest.get("output") or {}).get("duration_s")
    return item_facts(outcome.status, outcome.seconds, duration_s, outcome.manifest)


def item_facts(
    status: str, seconds: float, duration_s: float | None, manifest: Mapping[str, Any]
) -> ItemFacts:
    """What the summary needs of an item with a manifest."""
    values = manifest_metrics(manifest)
    measures, timings = (
        {key: value for key, value in values.items() if key.startswith(f"{section}.")}
        for section in ("measures", "timings")
    )
    return ItemFacts(status, seconds, duration_s, measures, timings)


def metrics(items: Sequence[ItemFacts], elapsed_s: float) -> dict[str, float]:
    """The summary under the names of metrics.

    Parameters
    ----------
    items : sequence of ItemFacts
    elapsed_s : float
        Of the batch, by the clock on the wall.

    Returns
    -------
    dict of str to float
        `items.total` and one count for each of `STATUSES`, zeros too, because the run of a batch
        that is made again has the counts of before; `success_rate` of items that came to an end
        (0..1); `seconds.mean` and `seconds.p95` of items that were made now;
        `real_time_factor`, their seconds per second of video (below 1: faster than it plays);
        `elapsed_s`; and under the names that items have them: means of `measures.*` of all
        finished items, and of `timings.*` of those that were made now.
    """
    counts = Counter(item.status for item in items)
    result = {f"items.{status}": float(counts[status]) for status in STATUSES}
    result |= {"items.total": float(len(items)), "elapsed_s": elapsed_s}
    successes = counts["done"] + counts["skipped"]
    if successes + counts["failed"]:
        result["success_rate"] = successes / (successes + counts["failed"])
    finished = [item for item in items if item.status == "done"]
    if finished:
        seconds = np.array([item.seconds for item in finished])
        result["seconds.mean"] = float(seconds.mean())
        result["seconds.p95"] = percentile(seconds, 95)
        video_s = sum(item.duration_s or 0.0 for item in finished)
        if video_s:
            result["real_time_factor"] = float(seconds.sum()) / video_s
    result |= _means([item.measures for item in items if item.status in ("done", "skipped")])
    return result | _means([item.timings for item in finished])


def percentile(values: ArrayLike, percent: float) -> float:
    """The smallest value that at least this share of the values do not exceed; NaN without any.

    It is always one of the values, so that "95 % within 12 s" is true of those that were measured.
    """
    values = np.asarray(values, np.float64)
    return float(np.percentile(values, percent, method="inverted_cdf")) if len(values) else math.nan


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each value over the rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


def manifest_metrics(manifest: Mapping[str, Any]) -> dict[str, float]:
    """Finite numbers of a manifest under dotted names: timings, counts, measures."""
    if not manifest:
        return {}
    metrics = {"warnings": float(len(manifest.get("warnings", ())))}
    for section in ("timings", "skipped_frames", "measures"):
        for key, value in (manifest.get(section) or {}).items():
            if isinstance(value, int | float) and math.isfinite(value):
                metrics[f"{section}.{_metric_name(key)}"] = float(value)
    for key in ("frames", "duration_s", "bytes"):
        value = manifest.get("output", {}).get(key)
        if value is not None:
            metrics[f"output.{key}"] = float(value)
    return metrics


def _metric_name(text: str) -> str:
    """A name that MLflow accepts."""
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in str(text))
