"""New jobs: what of an item goes into the queue's rows, and under which name its result."""

import contextlib
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heygem.batch.queue import recorded_batches
from heygem.batch.queue import rows as queue_rows
from heygem.batch.queue.job import Job, plain, storable
from heygem.core.errors import HeygemError, InputError
from heygem.core.files import absolute, is_address, safe_name

if TYPE_CHECKING:
    from heygem.batch.items import Item

LETTERS_PER_S = 15.0  # of text read aloud, about
_INSERTED = (
    "id", "batch", "owner", "priority", "position", "created", "state", "name", "title", "video",
    "audio", "text", "output", "folder", "length_s",
)  # fmt: skip


def lengths_s(items: "Sequence[Item]") -> list[float]:
    """Length of each speech [s]; 0 where the file cannot be read (the job will report it)."""
    from heygem import media  # workers do without it

    lengths: dict[str, float] = {}
    for item in items:
        if item.speech not in lengths:
            inputs = item.params.inputs
            lengths[item.speech] = len(inputs.text or "") / LETTERS_PER_S
            if inputs.audio is not None:
                with contextlib.suppress(HeygemError):
                    lengths[item.speech] = float(media.probe(inputs.audio).duration_s or 0.0)
    return [lengths[item.speech] for item in items]


def new_row(item: "Item", length_s: float) -> dict[str, Any]:
    """The columns of a new job. Inputs get absolute paths; they are no part of the identity."""
    inputs = item.params.inputs
    if not str(item.video).strip() or not (inputs.audio or inputs.text):
        raise InputError("a job needs a video and a sound", seen=f"{item.video}, {inputs.audio!r}")
    # A cluster takes addresses of stores as well, which a `Path` does not hold unchanged.
    addresses = [video for video in inputs.videos if is_address(video)]
    video = absolute(addresses[0] if addresses else item.video)
    audio = inputs.audio and absolute(inputs.audio)
    is_named = bool(item.variant) or not item.name.startswith(safe_name(item.video.stem))
    recipe = item.params.tree()
    recipe["inputs"] |= {
        "pairs": None,
        "videos": [video],
        "audio": audio,
        "output": absolute(inputs.output),
    }
    recipe["mlflow"]["folder"] = str(Path(item.params.mlflow.folder).absolute())
    return {
        "id": uuid.uuid4().hex[:10],
        "name": item.name,
        "title": item.name if is_named else "",
        "video": storable(video),
        "audio": storable(audio or ""),
        "text": inputs.text or "",
        "output": storable(item.location),
        "folder": storable(os.getcwd()),
        "length_s": round(length_s, 2),
        "params": plain(recipe),
    }


def insert(
    db: sqlite3.Connection, rows: Sequence[dict[str, Any]], common: dict[str, Any]
) -> list[Job]:
    """Append new jobs; a result whose name another job's result has gets a folder of its own."""
    position = db.execute("SELECT coalesce(max(position), 0) FROM jobs").fetchone()[0]
    now = time.time()
    added = []
    for number, row in enumerate(rows, start=1):
        params = row["params"]
        if _name_is_taken(db, row):
            row, params = _with_own_folder(row)
        row = {**row, **common, "position": position + number, "created": now, "state": "pending"}
        queue_rows.add_row(db, {key: row[key] for key in _INSERTED}, params)
        queue_rows.add_event(db, row["id"], "added", common["batch"])
        added.append(row["id"])
    jobs = [queue_rows.get(db, job_id) for job_id in added]
    recorded_batches.mark(db, jobs)
    return jobs


def retry(db: sqlite3.Connection, job: Job) -> bool:
    """Put a failed or cancelled job into the queue again; its batch continues."""
    if not queue_rows.retry(db, job):
        return False
    if job.batch:
        recorded_batches.mark(db, [queue_rows.get(db, job.id)])
    return True


def _name_is_taken(db: sqlite3.Connection, row: dict[str, Any]) -> bool:
    """Whether another job's result has this name, and is made of something else.

    A finished job of the same video and speech is followed by this one, whatever its settings; one
    that is not finished must be the same in everything.
    """
    query = """SELECT 1 FROM jobs LEFT JOIN recipes USING (number) WHERE output = ?
        AND ((video, audio, text) <> (?, ?, ?) OR (state IN ('pending', 'running') AND params <> ?))
        LIMIT 1"""
    content = (row["video"], row["audio"], row["text"])
    return db.execute(query, (row["output"], *content, row["params"])).fetchone() is not None


def _with_own_folder(row: dict[str, Any]) -> tuple[dict[str, Any], str]:
    folder, _, name = row["output"].rpartition("/")
    params = json.loads(row["params"])
    params["inputs"]["output"] += f"/{row['id']}"  # a path, or an address of a store
    return row | {"output": f"{folder}/{row['id']}/{name}"}, plain(params)
