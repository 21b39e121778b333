"""A damaged queue database is set aside under a name of its own, and what can be read is kept.

Rows are read one by one, so that a damaged page costs only the jobs on it. A job that was done
stays done if its file and manifest are there, else it is to be made. Finished videos whose jobs
cannot be read any more are entered again from their manifests. Nothing is executed or unpickled.
"""

import contextlib
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from heygem.batch.queue import database as queue_database
from heygem.batch.queue import rows as queue_rows
from heygem.batch.queue.job import COLUMNS, STATES, plain, read_row, storable
from heygem.core.files import aside_name, read_json
from heygem.core.leftovers import hidden_path

log = logging.getLogger(__name__)

RECOVERED = "recovered"  # batch of videos that are known from their manifests alone
_MOST_ROWS = 1_000_000
_COMPANIONS = ("-wal", "-shm")


def rebuild(path: Path) -> None:
    """Set a damaged database aside and put one in its place with what can be read of it.

    Called by every process that meets the damage; the first one does it.
    """
    with queue_database.opening(path, exclusive=True):
        if _is_sound(path):
            return
        aside = aside_name(path, "damaged")
        new = hidden_path(path, ".db")
        for ending in _COMPANIONS:
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{path}{ending}", f"{aside}{ending}")
        os.link(path, aside)
        try:
            queue_database.create(new)
            notice = _fill(new, aside)
            os.replace(new, path)
        finally:
            for ending in ("", *_COMPANIONS):
                Path(f"{new}{ending}").unlink(missing_ok=True)
        log.warning(notice)


def _is_sound(path: Path) -> bool:
    try:
        with closing(queue_database.connect(path)) as db:
            return [row[0] for row in db.execute("PRAGMA quick_check(1)")] == ["ok"]
    except sqlite3.DatabaseError:
        return False


def _fill(new: Path, aside: Path) -> str:
    """Copy what can be read; returns a sentence about it."""
    rows = list(_readable_rows(aside))
    with closing(queue_database.connect(new)) as db:
        db.execute("BEGIN")
        outputs = set()
        for row in rows:
            params = row.pop("params")
            row |= _provable_state(row)
            outputs.add(row["output"])
            queue_rows.add_row(db, row, params)
        recovered = 0
        for content in _finished_videos({Path(output).parent for output in outputs}, new.parent):
            if str(content["path"]) not in outputs:
                recovered += 1
                _add_finished(db, content, position=len(rows) + recovered)
        notice = (
            f"the queue's database was damaged and is now {aside.name}; {len(rows)} jobs could be "
            f"read of it, and {recovered} finished videos were entered from their manifests; add "
            "what is missing again"
        )
        queue_rows.add_event(db, "", "notice", notice)
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode = DELETE")  # the file is complete by itself
    return notice


def _readable_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Jobs with their recipes, each looked up by its number, as far as they make sense."""
    try:
        db = queue_database.connect(path)
    except sqlite3.Error:
        return
    with closing(db):
        for number in range(1, _newest_number(db) + 1):
            with contextlib.suppress(sqlite3.Error, ValueError, TypeError, KeyError):
                query = f"SELECT {COLUMNS}, params FROM jobs JOIN recipes USING (number) "
                row = db.execute(query + "WHERE number = ?", (number,)).fetchone()
                if row is not None and read_row(row).params and row["state"] in STATES:
                    yield dict(row)


def _newest_number(db: sqlite3.Connection) -> int:
    for query in (
        "SELECT seq FROM sqlite_sequence WHERE name = 'jobs'",
        "SELECT max(number) FROM jobs",
    ):
        with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
            return min(int(db.execute(query).fetchone()[0]), _MOST_ROWS)
    return 0


def _provable_state(row: dict[str, Any]) -> dict[str, Any]:
    """A job counts as done only with its file and manifest."""
    if row["state"] != "done":
        return {}
    output = Path(row["output"])
    content = read_json(output.parent / "details" / row["name"]) or {}
    with contextlib.suppress(OSError):
        size = (content.get("output") or {}).get("bytes")
        if content.get("status") == "done" and output.stat().st_size == size:
            return {}
    return {"state": "pending", "attempts": 0}


def _finished_videos(folders: set[Path], runs: Path) -> Iterator[dict[str, Any]]:
    """Manifests in the folders of the jobs that could be read, and in those beside the queue."""
    from heygem.batch.item import manifest

    paths = set()
    beside = [path for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
    for folder in sorted({*folders, *beside}):
        for content in manifest.results(folder):
            if content["path"] not in paths and content.get("status") == "done":
                paths.add(content["path"])
                yield content


def _add_finished(db: sqlite3.Connection, content: dict[str, Any], *, position: int) -> None:
    params = content.get("params") or {}
    speech = content.get("audio") or {}
    row = {
        "id": uuid.uuid4().hex[:10],
        "batch": RECOVERED,
        "owner": "",
        "priority": 0,
        "position": float(position),
        "created": time.time(),
        "state": "done",
        "name": str(content.get("name", content["path"].stem)),
        "title": "",
        "video": str((content.get("video") or {}).get("path", "")),
        "audio": str(speech.get("path") or ""),
        "text": str(speech.get("text") or ""),
        "output": str(content["path"]),
        "folder": str(Path.cwd()),
        "length_s": float((content.get("output") or {}).get("duration_s") or 0.0),
        "identity": str(content.get("id", "")),
        "warnings": plain([str(each) for each in content.get("warnings", ())]),
    }
    texts = {key: storable(value) for key, value in row.items() if isinstance(value, str)}
    queue_rows.add_row(db, row | texts, plain(params))
