"""The queue of the earlier version, a folder of JSON files, is read once and then left alone."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from heygem.batch.items import plan_items
from heygem.batch.queue import new_jobs
from heygem.batch.queue import rows as queue_rows
from heygem.batch.queue.job import plain
from heygem.batch.queue.queue import JobQueue, default_path
from heygem.config.params import Params
from heygem.core.errors import HeygemError

_STATES = {
    "waiting": "pending",
    "running": "pending",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}


def import_earlier(queue: JobQueue) -> int:
    """Import the folders in which the earlier version of the studio had its queue, if any."""
    if queue.path != default_path():
        return 0
    runs = queue.path.parent
    places = (runs, runs.parent / "notebooks" / "runs", Path.cwd() / "runs")
    folders = {(place / "studio" / "line").resolve() for place in places}
    return sum(import_folder(queue, folder) for folder in sorted(folders) if folder.is_dir())


def import_folder(queue: JobQueue, folder: Path) -> int:
    """Add the jobs of a folder, once; returns how many.

    A file that is damaged, or whose recipe does not fit any more, is left out; a job that is done
    stays done if its video is there.
    """
    folder = folder.resolve()
    files = [_read(path) for path in folder.glob("*.job")]
    read = sorted((job for job in files if job), key=lambda job: float(job.get("order", 0)))
    rows = [row for job in read if (row := _row(job)) is not None]
    key = f"imported:{folder}"

    def insert(db: sqlite3.Connection) -> int:
        if queue_rows.fact(db, key):
            return 0
        queue_rows.set_fact(db, key, "1")
        for row, changes, owner in rows:
            common = {"owner": owner, "priority": 0, "batch": ""}
            (job,) = new_jobs.insert(db, [row], common)
            queue_rows.update(db, job.id, changes)
        if files:
            text = f"{len(rows)} of {len(files)} jobs were read from the earlier queue in {folder}"
            queue_rows.add_event(db, "", "notice", text)
        return len(rows)

    return queue.change(insert)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("state") in _STATES else None


def _row(job: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], str] | None:
    """Columns of a new job, what is changed in them afterwards, and the owner."""
    with contextlib.suppress(HeygemError, OSError, ValueError, TypeError, KeyError):
        (item,) = plan_items(Params.from_dict(job["params"]))
        row = new_jobs.new_row(item, float(job.get("length_s") or 0.0))
        state = _STATES[job["state"]]
        if state == "done" and not Path(str(job.get("output"))).is_file():
            state = "pending"
        error = {"code": "EARLIER", **dict(job.get("reason") or {"what": job.get("error", "")})}
        changes = {
            "state": state,
            "seconds": float(job.get("seconds") or 0.0),
            "warnings": plain([str(text) for text in job.get("warnings", ())]),
            "error": plain(error) if state == "failed" else "",
        }
        if state == "done":
            changes["output"] = str(job["output"])
        return row, changes, str(job.get("user") or "")
    return None
