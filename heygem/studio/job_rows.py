"""Jobs of the queue as rows of the table, and how far all of them together are."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heygem.batch.item.live_file import take_picture
from heygem.batch.items import DETAILS
from heygem.batch.queue import PAUSED_BY_USER
from heygem.batch.queue.job import Job, State
from heygem.batch.queue.retry import DISK_FULL
from heygem.batch.queue.rows import StateTotals
from heygem.core.errors import HeygemError
from heygem.core.files import is_address
from heygem.core.i18n import Translate, stage_name
from heygem.studio.images import data_url
from heygem.studio.status import error_html

DRAWING = "render"  # the stage with frames to look at
RETRIED: tuple[State, ...] = ("failed", "cancelled")
ACTIONS = {  # allowed in each state of a job
    "pending": ["move", "cancel", "remove"],
    "running": ["cancel"],
    "done": ["play", "remove"],
    "failed": ["retry", "remove"],
    "cancelled": ["retry", "remove"],
}

#: What is shown in place of the reason of a pause, by that reason.
_PAUSES = {PAUSED_BY_USER: "paused_by_user", DISK_FULL: "paused_disk_full"}


def table_row(job: Job, translate: Translate, *, can_play: bool = False) -> dict[str, Any]:
    """A job as a row of `JobTable`.

    Parameters
    ----------
    job : Job
    translate : callable
    can_play : bool
        Whether its result can be shown on this page.
    """
    progress = job.progress
    fraction = _job_progress(job)
    status = translate("state_" + job.state)
    if job.state == "done":
        status += f" · {job.seconds:.0f} s"
    elif job.stopping:
        status = translate("stopping")
    elif progress.get("stage"):
        stage = stage_name(translate, progress["stage"])
        counts_steps = progress.get("total", 0) > 1
        status = f"{stage} {progress['done']}/{progress['total']}" if counts_steps else stage
        if progress.get("left_s", 0) >= 1:
            status += " · " + translate("left", seconds=progress["left_s"])
    failed = job.state == "failed"
    return {
        "id": job.id,
        "path": job.video,
        "video": _shown_name(job),
        "audio": job.spoken,
        "state": job.state,
        "progress": round(fraction, 3),
        "status": status,
        "error": error_html(_error(job), translate, with_traceback=False) if failed else "",
        "warnings": [html.escape(text) for text in job.warnings],
        "actions": [each for each in ACTIONS[job.state] if each != "play" or can_play],
    }


def live_pictures(running: Sequence[Job], before: Mapping[str, str]) -> dict[str, str]:
    """Data URLs of the frames that are being drawn, by job; the one before where none is newer.

    Parameters
    ----------
    running : sequence of Job
        On this machine or a shared disk; of others there is no picture.
    before : dict
        What this function returned last.
    """
    pictures = {}
    for job in running:
        if job.progress.get("stage") != DRAWING or job.stopping or is_address(job.output):
            continue
        jpeg = take_picture(Path(job.output).parent / DETAILS / job.name)
        if jpeg or job.id in before:
            pictures[job.id] = data_url(jpeg) or before[job.id]
    return pictures


def _shown_name(job: Job) -> str:
    """The name that a table gave the job, unless it only repeats that of the video."""
    is_own = job.title and not job.title.startswith(f"{Path(job.video).stem}-")
    return job.title if is_own else Path(job.video).name


def _error(job: Job) -> HeygemError:
    parts = {key: job.error[key] for key in ("seen", "remedy") if key in job.error}
    return HeygemError(job.error.get("what", ""), **parts)


def total_progress(totals: Mapping[State, StateTotals], running: Sequence[Job]) -> float:
    """Finished part of the queue, 0..1, weighted by the length of the speech."""
    total_s = sum(totals[state].length_s for state in ("pending", "running", "done"))
    done_s = totals["done"].length_s
    done_s += sum((job.length_s or 1.0) * _job_progress(job) for job in running)
    return done_s / total_s if total_s else 0.0


def _job_progress(job: Job) -> float:
    """Finished part of a job over all of its stages, 0..1."""
    return 1.0 if job.state == "done" else float(job.progress.get("fraction", 0.0))


def seconds_left(
    totals: Mapping[State, StateTotals], running: Sequence[Job], *, refused: Sequence[Job] = ()
) -> float | None:
    """Estimated time until all jobs are finished; None where nothing is measured yet.

    Finished jobs tell how long a second of speech takes; before that, the running ones do. Waiting
    jobs that are `refused` as soon as they begin take no time.
    """
    measured = [job for job in running if "left_s" in job.progress]
    left_s = sum(job.progress["left_s"] for job in measured)
    spent_s = totals["done"].seconds
    spent_s += sum(job.progress.get("elapsed_s", 0.0) + job.progress["left_s"] for job in measured)
    length_s = totals["done"].length_s if totals["done"].seconds else 0.0
    length_s += sum(job.length_s or 1.0 for job in measured)
    if not length_s:
        return None
    at_once = max(len(running), 1)
    waiting_s = totals["pending"].length_s - sum(job.length_s or 1.0 for job in refused)
    return float(left_s + spent_s / length_s * max(waiting_s, 0.0)) / at_once


def time_left(left_s: float | None, translate: Translate) -> str:
    """The time left in words; what is said where it is not known."""
    if left_s is None:
        return translate("queue_running")
    if left_s < 90:
        return translate("left", seconds=max(1.0, left_s))
    return translate("queue_left", minutes=left_s / 60)


def summary(
    totals: Mapping[State, StateTotals],
    is_working: bool,
    translate: Translate,
    *,
    left_s: float | None = None,
    paused: str = "",
) -> str:
    """One line: how many jobs are finished and failed, and the time left [s], if it is known."""
    count = sum(total.number for total in totals.values())
    if not count:
        return ""
    if paused:
        known = _PAUSES.get(paused)
        left = translate(known) if known else translate("queue_paused", reason=paused)
    elif not is_working:
        left = translate("queue_idle")
    else:
        left = time_left(left_s, translate)
    done, failed = totals["done"].number, totals["failed"].number
    return translate("queue_summary", done=done, total=count, failed=failed, left=left)
