"""The list of workers in the queue's database; each function is called within a transaction."""

import sqlite3
from typing import Any, NamedTuple

from heygem.batch.queue import process


class WorkerInfo(NamedTuple):
    """A worker that has registered: its name, its process, and the job that it makes."""

    name: str
    process: dict[str, Any]
    job: str


def register(db: sqlite3.Connection, worker: str, holder: str) -> None:
    """Enter a worker, and remove those whose processes are gone."""
    for other in workers(db):
        if process.is_visible(other.process) and not process.is_running(other.process):
            unregister(db, other.name)
    db.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, 0, 0, 0)", (worker, holder))


def unregister(db: sqlite3.Connection, worker: str) -> None:
    """Remove a worker."""
    db.execute("DELETE FROM workers WHERE id = ?", (worker,))


def workers(db: sqlite3.Connection) -> list[WorkerInfo]:
    """Every registered worker."""
    query = """SELECT workers.id, workers.process, coalesce(jobs.id, '') FROM workers
        LEFT JOIN jobs ON jobs.state = 'running' AND jobs.worker = workers.id ORDER BY 1"""
    return [WorkerInfo(row[0], process.parse(row[1]), row[2]) for row in db.execute(query)]


def is_leaving(db: sqlite3.Connection, worker: str) -> bool:
    """Whether a worker was asked to end; also where the list does not have it any more."""
    row = db.execute("SELECT leaving FROM workers WHERE id = ?", (worker,)).fetchone()
    return row is not None and bool(row[0])


def release_workers(db: sqlite3.Connection) -> None:
    """Ask every worker to end when it has nothing to do."""
    db.execute("UPDATE workers SET leaving = 1")
