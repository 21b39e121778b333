"""Report of a day or a week: what was made, how long it took, what failed and why."""

import json
import math
import statistics
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heygem.batch.queue import JobQueue
from heygem.config.params import Params
from heygem.core import templating
from heygem.core.files import write_text
from heygem.core.own_files import OwnFiles
from heygem.experiments.batch_summary import percentile
from heygem.ops import log_view
from heygem.ops.work import WorkItem

SLOWEST = 5


@dataclass(frozen=True)
class Failure:
    """Failed items of one code.

    Attributes
    ----------
    code : str
    count : int
    items : tuple of str
        Names of the first ones.
    message, remedy : str
        Of the newest one.
    """

    code: str
    count: int
    items: tuple[str, ...]
    message: str
    remedy: str


@dataclass(frozen=True)
class Summary:
    """What a report says.

    Attributes
    ----------
    since, until : datetime
        UTC.
    made, already_there, failed, cancelled : int
        Items that were finished in that time.
    success_rate : float
        Made among made and failed, 0..1; NaN where there was neither.
    mean_s, median_s, p95_s : float
        Processing time of an item that was made; NaN without one.
    video_s, processing_s : float
        Length of what was made; time that all items took.
    real_time_factor : float
        Processing seconds for one second of video, of items that were made.
    gpu_hours, cpu_hours : float
        Processing time on each; what has no manifest counts as CPU.
    retried : int
        Items that took more than one attempt.
    with_warnings : int
    failures : tuple of Failure
        The most frequent first.
    stages : dict
        Mean seconds by stage.
    slowest : tuple of WorkItem
    owners : dict
        Items finished by owner; empty where all have the same.
    pending, running : int
        In the queue now.
    paused : str
        Why the queue is paused; "" where it is not.
    log_errors : int
        Records of level ERROR and above in that time.
    ledger : str
        "verified, N rows", or what is wrong.
    """

    since: datetime
    until: datetime
    made: int
    already_there: int
    failed: int
    cancelled: int
    success_rate: float
    mean_s: float
    median_s: float
    p95_s: float
    video_s: float
    processing_s: float
    real_time_factor: float
    gpu_hours: float
    cpu_hours: float
    retried: int
    with_warnings: int
    failures: tuple[Failure, ...]
    stages: dict[str, float]
    slowest: tuple[WorkItem, ...]
    owners: dict[str, int]
    pending: int
    running: int
    paused: str
    log_errors: int
    ledger: str

    def metrics(self) -> dict[str, float]:
        """The finite numbers, for MLflow."""
        values = {k: float(v) for k, v in vars(self).items() if isinstance(v, int | float)}
        values |= {f"failed_{failure.code}": float(failure.count) for failure in self.failures}
        return {key: value for key, value in values.items() if math.isfinite(value)}


def summarize(
    items: Sequence[WorkItem],
    *,
    since: datetime,
    until: datetime,
    queue: JobQueue | None = None,
    ledger: str = "",
) -> Summary:
    """Count items and time them.

    Parameters
    ----------
    items : sequence of WorkItem
        Finished in that time; see `heygem.ops.work`.
    since, until : datetime
        UTC.
    queue : JobQueue, optional
        For what is still to do.
    ledger : str
        See `Summary`.
    """
    made = [item for item in items if item.was_made]
    failed = [item for item in items if item.state == "failed"]
    seconds = [item.seconds for item in made]
    timed = [item for item in made if item.length_s > 0]
    video_s = sum(item.length_s for item in timed)
    by_device = {True: 0.0, False: 0.0}
    for item in items:
        by_device[item.device.startswith("cuda")] += item.seconds
    counts = queue.counts() if queue is not None else {}
    owners = Counter(item.owner for item in items)
    return Summary(
        since=since,
        until=until,
        made=len(made),
        already_there=sum(item.state == "done" for item in items) - len(made),
        failed=len(failed),
        cancelled=sum(item.state == "cancelled" for item in items),
        success_rate=len(made) / (len(made) + len(failed)) if made or failed else math.nan,
        mean_s=statistics.fmean(seconds) if seconds else math.nan,
        median_s=percentile(seconds, 50),
        p95_s=percentile(seconds, 95),
        video_s=video_s,
        processing_s=sum(item.seconds for item in items),
        real_time_factor=sum(i.seconds for i in timed) / video_s if timed else math.nan,
        gpu_hours=by_device[True] / 3600,
        cpu_hours=by_device[False] / 3600,
        retried=sum(item.attempts > 1 for item in items),
        with_warnings=sum(item.warnings > 0 for item in made),
        failures=_failures(failed),
        stages=_stage_means(made),
        slowest=tuple(sorted(made, key=lambda item: -item.seconds)[:SLOWEST]),
        owners=dict(owners.most_common()) if len(owners) > 1 else {},
        pending=counts.get("pending", 0),
        running=counts.get("running", 0),
        paused=queue.paused() if queue is not None else "",
        log_errors=_log_errors(since, until),
        ledger=ledger,
    )


def to_markdown(summary: Summary) -> str:
    """The report as Markdown."""
    return _render("report.md", summary)


def to_html(summary: Summary) -> str:
    """The report as one page without scripts; all values are escaped."""
    return _render("report.html", summary)


def save(summary: Summary, folder: Path) -> list[Path]:
    """Write report-DAY.html, .md and .json; an earlier report of that day is replaced.

    Raises
    ------
    OutputError
        A file of the user has such a name, or it cannot be written.
    """
    days = round((summary.until - summary.since).total_seconds() / 86400)
    last_day = f"{summary.until.astimezone():%Y-%m-%d}"
    stem = f"report-{last_day}" + (f"-{days}-days" if days > 1 else "")
    texts = {
        f"{stem}.html": to_html(summary),
        f"{stem}.md": to_markdown(summary),
        f"{stem}.json": json.dumps(summary.metrics(), indent=1, sort_keys=True) + "\n",
    }
    own = OwnFiles(folder)
    own.check(*texts)
    for name, text in texts.items():
        with own.writing(name) as staged:
            write_text(staged, text, mode=0o600)  # it names items
    return [folder / name for name in texts]


def record(summary: Summary, params: Params) -> str:
    """Store a report as an MLflow run of the experiment `EXPERIMENT-report`; returns its id."""
    from heygem.experiments import store

    settings = {
        "since": summary.since.isoformat(timespec="seconds"),
        "until": summary.until.isoformat(timespec="seconds"),
    }
    with tempfile.TemporaryDirectory() as folder:
        save(summary, Path(folder))
        (Path(folder) / ".heygem-files.json").unlink()
        return store.record_run(
            params,
            kind="report",
            name=f"{summary.until:%Y-%m-%d}",
            settings=settings,
            metrics=summary.metrics(),
            folder=folder,
        )


def ledger_state() -> str:
    """Whether this installation's ledger verifies, in a few words; "" where there is none."""
    from heygem.provenance import keys, ledger

    if not ledger.default_path().is_file():
        return ""
    opened = ledger.Ledger(keys=keys.load_for_reading())
    faults = opened.verify()
    if not faults:
        newest = opened.newest()
        return f"verified, {newest.number if newest else 0} rows"
    return f"{len(faults)} faults, first: row {faults[0].number}: {faults[0].problem}"


def _failures(failed: Sequence[WorkItem]) -> tuple[Failure, ...]:
    groups = Counter(item.code for item in failed)
    failures = []
    for code, count in groups.most_common():
        items = [item for item in failed if item.code == code]
        names = tuple(item.name for item in items[:3])
        failures.append(Failure(code, count, names, items[-1].message, items[-1].remedy))
    return tuple(failures)


def _stage_means(made: Sequence[WorkItem]) -> dict[str, float]:
    stages: dict[str, list[float]] = {}
    for item in made:
        for key, seconds in item.timings.items():
            if key.endswith("_s"):
                stages.setdefault(key.removesuffix("_s"), []).append(seconds)
    return {stage: statistics.fmean(values) for stage, values in stages.items()}


def _log_errors(since: datetime, until: datetime) -> int:
    errors = log_view.Filter("ERROR", since=since)
    return sum(1 for r in log_view.read(errors) if r.time is not None and r.time < until)


def _render(name: str, summary: Summary) -> str:
    filters: dict[str, Any] = {"clock": templating.clock, "number": number, "cell": _cell}
    now = datetime.now(UTC)
    return templating.render("heygem.ops", name, filters=filters, report=summary, now=now)


def number(value: float, digits: int = 2) -> str:
    """A number for a reader; a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _cell(text: object) -> str:
    """Text for a cell of a Markdown table: one line, nothing that ends the cell or starts a tag."""
    line = log_view.printable(" ".join(str(text).split()))
    for mark in "\\|`*_[]<":
        line = line.replace(mark, f"\\{mark}")
    return line
