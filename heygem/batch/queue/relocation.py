"""A queue that was moved or copied to another folder, as a whole project is.

Jobs hold absolute paths, since a worker has a current folder of its own. In a copy these would
still lead into the original: what waits would not find its files, and results would be written
there. Paths outside of the project stay as they are.
"""

import json
import logging
import os
import sqlite3
from pathlib import Path
from typing import Any

from heygem.batch.queue.job import plain

PLACE = ("runs", "queue.db")  # of a project's queue; one that a user has named belongs to none
FACT = "project"  # the folder of the project, when the queue was last opened
_COLUMNS = ("video", "audio", "output", "folder")

log = logging.getLogger(__name__)


def adopt_jobs(db: sqlite3.Connection, path: Path) -> int:
    """Let the jobs of a queue that was moved here find their files here.

    Parameters
    ----------
    db : sqlite3.Connection
    path : Path
        Of the database, absolute.

    Returns
    -------
    int
        Number of jobs that the queue has, 0 where it was not moved.
    """
    if path.parts[-2:] != PLACE:
        return 0
    here = str(path.parents[1])
    row = db.execute("SELECT value FROM facts WHERE key = ?", (FACT,)).fetchone()
    before = str(row[0]) if row is not None else ""
    if before == here or (os.path.exists(before) and os.path.samefile(before, here)):
        return 0
    db.execute("BEGIN IMMEDIATE")
    try:
        jobs = _move(db, before, here) if before else 0
        db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (FACT, here))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    if jobs:
        log.info("%d jobs now have their files in %s, before: %s", jobs, here, before)
    return jobs


def _move(db: sqlite3.Connection, before: str, here: str) -> int:
    for column in _COLUMNS:
        # No LIKE: `_` and `%` are common in names of folders.
        db.execute(
            f"UPDATE jobs SET {column} = ? || substr({column}, ?) "
            f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
            (here, len(before) + 1, before, len(before) + 1, before + "/"),
        )
    for number, text in db.execute("SELECT number, params FROM recipes").fetchall():
        moved = plain(_with_paths(json.loads(text), before, here))
        db.execute("UPDATE recipes SET params = ? WHERE number = ?", (moved, number))
    for key, value in db.execute("SELECT key, value FROM facts").fetchall():
        start, bracket, rest = key.partition("[")  # of batches, with the folder of their results
        if bracket:
            moved = start + json.dumps(_with_paths(json.loads(bracket + rest), before, here))
            db.execute("DELETE FROM facts WHERE key = ?", (key,))
            db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (moved, value))
    return int(db.execute("SELECT count(*) FROM jobs").fetchone()[0])


def _with_paths(value: Any, before: str, here: str) -> Any:
    """A recipe whose paths below `before` are below `here`."""
    if isinstance(value, dict):
        return {key: _with_paths(each, before, here) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_paths(each, before, here) for each in value]
    if isinstance(value, str) and (value == before or value.startswith(before + "/")):
        return here + value.removeprefix(before)
    return value
