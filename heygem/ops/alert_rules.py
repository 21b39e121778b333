"""What calls for an operator: texts in the log, and states of disk, queue, results and ledger."""

import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from heygem.batch.queue import PAUSED_BY_USER, JobQueue
from heygem.batch.queue.job import Job
from heygem.core.disk import format_size
from heygem.core.errors import HeygemError
from heygem.ops import log_view, machine, report, work
from heygem.ops.alert_settings import AlertSettings, Pattern, Severity

LOGGER = "heygem.ops.alerts"  # its own records never cause an alert


@dataclass(frozen=True)
class Alert:
    """Something that an operator should know.

    Attributes
    ----------
    rule : str
        Its name; an alert of one rule is sent once in a cool-down.
    severity : str
    message : str
        What is the matter, one line, without names of folders.
    remedy : str
        What to do.
    """

    rule: str
    severity: Severity
    message: str
    remedy: str

    def to_dict(self) -> dict[str, str]:
        """As JSON has it."""
        return dict(vars(self))


def find(
    settings: AlertSettings, memory: dict[str, Any], *, results: Path | None = None
) -> list[Alert]:
    """Every alert that holds now.

    Parameters
    ----------
    settings : AlertSettings
    memory : dict
        What the rules remember from one look to the next; changed in place.
    results : path, optional
        Folder on the disk of the results; default: the current one.
    """
    now = datetime.now(UTC)
    try:
        alerts = _patterns(settings.patterns, now)
    except OSError as error:
        message = f"the log cannot be read: {error.strerror}"
        alerts = [Alert("log", "warning", message, "look at the folder of the log and its disk")]
    if settings.disk_low.enabled:
        alerts += _disks(settings, results)
    try:
        queue = work.open_queue()
        if queue is not None:
            if settings.error_rate.enabled:
                alerts += _error_rate(settings, queue)
            if settings.stalled_queue.enabled:
                alerts += _stalled(settings, queue, memory)
            queue.close()
    except HeygemError as error:
        alerts.append(Alert("queue", "critical", error.what, error.remedy or "look at the queue"))
    if settings.ledger.enabled:
        alerts += _ledger(settings, memory)
    return alerts


def _patterns(patterns: tuple[Pattern, ...], now: datetime) -> list[Alert]:
    if not patterns:
        return []
    longest = max(pattern.within_min for pattern in patterns)
    recent = log_view.Filter(since=now - timedelta(minutes=longest))
    counts: dict[str, list[log_view.Record]] = {}
    expressions = {pattern.name: re.compile(pattern.pattern) for pattern in patterns}
    for record in log_view.read(recent):
        if record.logger == LOGGER or record.time is None:
            continue
        text = f"{record.message}\n{record.data.get('code', '')}\n{record.exception}"
        for pattern in patterns:
            is_recent = record.time >= now - timedelta(minutes=pattern.within_min)
            if is_recent and expressions[pattern.name].search(text):
                counts.setdefault(pattern.name, []).append(record)
    alerts = []
    for pattern in patterns:
        records = counts.get(pattern.name, [])
        if len(records) >= pattern.at_least:
            items = sorted({record.item for record in records if record.item})
            about = f" ({', '.join(items[:3])})" if items else ""
            message = f"{len(records)} records in {pattern.within_min:g} minutes match{about}: "
            remedy = f"heygem logs --level warning --since {pattern.within_min:g}m"
            newest = log_view.printable(records[-1].message)[:300]
            alerts.append(Alert(pattern.name, pattern.severity, message + newest, remedy))
    return alerts


def _disks(settings: AlertSettings, results: Path | None) -> list[Alert]:
    alerts = []
    limits = settings.disk_low
    for disk in machine.disks(results):
        percent = 100 * disk.free_bytes / max(disk.total_bytes, 1)
        if disk.free_bytes < limits.free_gb * 1e9 or percent < limits.free_percent:
            message = f"{format_size(disk.free_bytes)} ({percent:.1f} %) are free for {disk.place}"
            remedy = "free some space: heygem retention --dry-run shows what may go"
            alerts.append(Alert(f"disk_low_{disk.place}", "critical", message, remedy))
    return alerts


def _error_rate(settings: AlertSettings, queue: JobQueue) -> list[Alert]:
    rule = settings.error_rate
    since = time.time() - 60 * rule.within_min
    ended = [job for job in queue.jobs(states=("done", "failed")) if job.finished >= since]
    failed = [job for job in ended if job.state == "failed"]
    if len(ended) < rule.at_least or len(failed) / len(ended) <= rule.above:
        return []
    codes = sorted({job.error.get("code", work.UNKNOWN) for job in failed})
    message = (
        f"{len(failed)} of {len(ended)} items failed in {rule.within_min:g} minutes: "
        f"{', '.join(codes)}"
    )
    return [Alert("error_rate", "warning", message, "heygem report --since 2h names the reasons")]


def _stalled(settings: AlertSettings, queue: JobQueue, memory: dict[str, Any]) -> list[Alert]:
    after_s = 60 * settings.stalled_queue.after_min
    paused = queue.paused()
    jobs = queue.jobs(states=("pending", "running"))
    if not jobs:
        memory.pop("progress", None)
        return []
    if paused:
        if paused == PAUSED_BY_USER:
            return []
        remedy = "mend the reason; it resumes by itself, or with heygem queue resume"
        return [Alert("queue_paused", "critical", f"the queue has paused: {paused}", remedy)]
    unchanged = _unchanged_s(jobs, memory)
    stuck = [job for job in jobs if unchanged[job.id] >= after_s]
    running = [job for job in jobs if job.state == "running"]
    minutes = f"{settings.stalled_queue.after_min:g} minutes"
    hung = [job for job in stuck if job.state == "running"]
    if hung:
        names = ", ".join(job.name for job in hung[:3])
        message = f"{len(hung)} running items make no progress for {minutes}: {names}"
        return [Alert("stalled_item", "critical", message, "heygem queue cancel, then retry")]
    due = [job for job in stuck if job.not_before <= time.time()]
    if due and not running:
        message = f"{len(due)} items wait, and nobody has taken one for {minutes}"
        return [Alert("stalled_queue", "critical", message, "start a worker: heygem worker")]
    return []


def _unchanged_s(jobs: list[Job], memory: dict[str, Any]) -> dict[str, float]:
    """For how long each job looks as it does now, as far as this watch has seen it [s].

    A pending job that nobody has seen before counts from when it was added, because a single
    `heygem alerts check` knows no more.
    """
    now = time.time()
    before: dict[str, Any] = memory.get("progress", {})
    current: dict[str, tuple[str, float]] = {}
    seconds: dict[str, float] = {}
    for job in jobs:
        appearance = json.dumps([job.state, job.attempts, job.worker, job.progress], sort_keys=True)
        previous = before.get(job.id)
        since = previous[1] if previous is not None and previous[0] == appearance else now
        if job.state == "pending" and previous is None and not job.attempts:
            since = job.created
        current[job.id] = (appearance, min(since, now))
        seconds[job.id] = now - current[job.id][1]
    memory["progress"] = current
    return seconds


def _ledger(settings: AlertSettings, memory: dict[str, Any]) -> list[Alert]:
    now = time.time()
    checked = memory.get("ledger")
    if checked is None or not 0 <= now - checked[0] < 60 * settings.ledger.every_min:
        try:
            state = report.ledger_state()
        except HeygemError as error:
            state = str(error)
        checked = memory["ledger"] = [now, state]
    state = checked[1]
    if not state or state.startswith("verified"):
        return []
    remedy = "heygem ledger verify names the rows; keep the file, and restore a backup beside it"
    return [Alert("ledger", "critical", f"the ledger does not verify: {state}", remedy)]
