"""What the queue's transactions do to the rows; each function is called within one.

`heygem.batch.queue.queue` opens the transactions and says what its methods mean.
"""

import sqlite3
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

from heygem.batch.outcome import Outcome
from heygem.batch.queue import process
from heygem.batch.queue import retry as retry_rules
from heygem.batch.queue.job import (
    COLUMNS,
    OPEN,
    STATES,
    Job,
    Signal,
    State,
    plain,
    read_row,
    storable,
)
from heygem.core.errors import InputError

MAX_EVENTS = 50_000  # older ones are deleted
#: No attempt waits longer than this, by a clock that may have been set back meanwhile.
LONGEST_WAIT_S = 600.0
_IDLE = {"worker": "", "process": "", "stopping": 0, "progress": ""}


def where(
    *,
    states: Iterable[State] | None = None,
    batch: str | None = None,
    owner: str | None = None,
) -> tuple[str, list[Any]]:
    """A WHERE clause for these conditions, and its values."""
    conditions: list[str] = []
    values: list[Any] = []
    if states is not None:
        chosen = list(states)
        conditions.append(f"state IN ({', '.join('?' * len(chosen))})")
        values += chosen
    for column, value in (("batch", batch), ("owner", owner)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    return (" WHERE " + " AND ".join(conditions) if conditions else ""), values


def get(db: sqlite3.Connection, job_id: str) -> Job:
    """One job with its recipe; InputError where there is none."""
    query = f"SELECT {COLUMNS}, params FROM jobs LEFT JOIN recipes USING (number) WHERE id = ?"
    row = db.execute(query, (job_id,)).fetchone()
    if row is None:
        raise InputError("no such job", seen=job_id, remedy="look at the list again")
    return read_row(row)


def counts(
    db: sqlite3.Connection, *, batch: str | None = None, owner: str | None = None
) -> dict[State, int]:
    """How many jobs are in each state."""
    clause, values = where(batch=batch, owner=owner)
    rows = db.execute(f"SELECT state, count(*) FROM jobs{clause} GROUP BY state", values)
    return dict.fromkeys(STATES, 0) | {row[0]: row[1] for row in rows}


class StateTotals(NamedTuple):
    """Of all jobs in one state.

    Attributes
    ----------
    number : int
    length_s : float
        Of their speech; a job of unknown length counts as one second.
    seconds : float
        Processing time.
    """

    number: int = 0
    length_s: float = 0.0
    seconds: float = 0.0


def totals(db: sqlite3.Connection, *, batch: str | None = None) -> dict[State, StateTotals]:
    """Sums over the jobs in each state."""
    clause, values = where(batch=batch)
    query = f"""SELECT state, count(*), sum(iif(length_s > 0, length_s, 1.0)), sum(seconds)
        FROM jobs{clause} GROUP BY state"""
    return dict.fromkeys(STATES, StateTotals()) | {
        row[0]: StateTotals(*row[1:]) for row in db.execute(query, values)
    }


# --- adding ---


def add_row(db: sqlite3.Connection, columns: dict[str, Any], params: str) -> None:
    """Insert a job and its recipe."""
    marks = ", ".join("?" * len(columns))
    cursor = db.execute(
        f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values())
    )
    db.execute("INSERT INTO recipes VALUES (?, ?)", (cursor.lastrowid, params))


# --- workers ---


def claim(db: sqlite3.Connection, worker: str, holder: str) -> Job | None:
    """Take the next job for a worker; see `JobQueue.claim`."""
    if fact(db, "paused"):
        return None
    now = time.time()
    free = """state = 'pending' AND (not_before <= :now OR not_before > :now + :longest)
        AND NOT EXISTS (SELECT 1 FROM jobs AS other INDEXED BY by_output
            WHERE other.output = jobs.output AND other.state = 'running')"""
    times = {"now": now, "longest": LONGEST_WAIT_S}
    owners = db.execute(
        """SELECT waiting.owner, coalesce(served, 0) AS served,
             (SELECT count(*) FROM jobs WHERE state = 'running' AND owner = waiting.owner) AS busy
           FROM (SELECT DISTINCT owner FROM jobs WHERE state = 'pending') AS waiting
           LEFT JOIN owners ON owners.name = waiting.owner ORDER BY busy, served, waiting.owner"""
    )
    for owner in owners.fetchall():
        row = db.execute(
            f"SELECT number, id FROM jobs WHERE {free} AND owner = :owner "
            "ORDER BY priority DESC, position, number LIMIT 1",
            times | {"owner": owner["owner"]},
        ).fetchone()
        if row is None:
            continue
        db.execute(
            """UPDATE jobs SET state = 'running', worker = ?, process = ?, beat = beat + 1,
               attempts = attempts + 1, stopping = 0, progress = '', not_before = 0, started = ?
               WHERE number = ?""",
            (worker, holder, now, row["number"]),
        )
        db.execute(
            """INSERT INTO owners SELECT ?, 1 + coalesce(max(served), 0) FROM owners WHERE true
               ON CONFLICT (name) DO UPDATE SET served = excluded.served""",
            (owner["owner"],),
        )
        add_event(db, row["id"], "claimed", worker)
        return get(db, row["id"])
    return None


def has_pending(db: sqlite3.Connection) -> bool:
    """Whether any job waits; answered without holding up writers."""
    return db.execute("SELECT 1 FROM jobs WHERE state = 'pending' LIMIT 1").fetchone() is not None


def heartbeat(db: sqlite3.Connection, job_id: str, worker: str, progress: str) -> Signal:
    """Keep hold of a job and store its progress."""
    row = _held_row(db, job_id, worker)
    if row is None:
        return Signal.LOST
    stored = progress or row["progress"]
    db.execute("UPDATE jobs SET beat = beat + 1, progress = ? WHERE id = ?", (stored, job_id))
    if row["stopping"]:
        return Signal.CANCEL
    return Signal.PAUSE if fact(db, "paused") else Signal.CONTINUE


def finish(db: sqlite3.Connection, job_id: str, worker: str, outcome: Outcome) -> Job | None:
    """Record what became of a job."""
    row = _held_row(db, job_id, worker)
    if row is None:
        return None
    changes: dict[str, Any] = {"seconds": round(outcome.seconds, 2), "finished": time.time()}
    if outcome.status in ("done", "skipped"):
        changes |= {
            "state": "done",
            "identity": outcome.identity,
            "error": "",
            "warnings": plain(list(outcome.warnings)),
            "timings": plain(outcome.timings),
        }
        detail = str(outcome.status)
    elif outcome.status == "cancelled" or row["stopping"]:
        changes |= {"state": "cancelled"}
        detail = ""
    else:
        following = retry_rules.after_failure(get(db, job_id), outcome)
        changes |= _changes(following)
        detail = following.error["code"]
    update(db, job_id, _IDLE | changes)
    add_event(db, job_id, "waits" if changes["state"] == "pending" else changes["state"], detail)
    return get(db, job_id)


def _changes(following: retry_rules.Next) -> dict[str, Any]:
    """The columns that a decision about another attempt sets."""
    waits = following.state == "pending"
    return {
        "state": following.state,
        "not_before": time.time() + following.delay_s if waits and following.delay_s else 0.0,
        "attempts": following.attempts,
        "losses": following.losses,
        "error": plain(following.error),
        "history": plain(list(following.history)),
        "smaller": plain(following.smaller),
        "finished": 0.0 if waits else time.time(),
    }


def release(
    db: sqlite3.Connection, job_id: str, worker: str, reason: str, *, delay_s: float
) -> None:
    """Put a job back that nobody failed at."""
    row = _held_row(db, job_id, worker)
    if row is None:
        return
    state = "cancelled" if row["stopping"] else "pending"
    changes = {
        "state": state,
        "attempts": max(row["attempts"] - 1, 0),
        "not_before": time.time() + delay_s if delay_s else 0.0,
    }
    update(db, job_id, _IDLE | changes)
    add_event(db, job_id, "released" if state == "pending" else state, reason)


def held(db: sqlite3.Connection) -> list[tuple[str, dict[str, Any], int]]:
    """Every job that somebody holds: its id, the holder's process, the count of heartbeats."""
    rows = db.execute("SELECT id, process, beat FROM jobs WHERE state = 'running'")
    return [(row["id"], process.parse(row["process"]), row["beat"]) for row in rows]


def take_back(db: sqlite3.Connection, gone: Iterable[tuple[str, int]]) -> list[Job]:
    """Take jobs back whose workers are gone, unless they were seen alive since."""
    taken = []
    for job_id, beat in gone:
        query = f"SELECT {COLUMNS} FROM jobs WHERE id = ? AND state = 'running' AND beat = ?"
        row = db.execute(query, (job_id, beat)).fetchone()
        if row is None:
            continue
        job = read_row(row)
        who = f"{job.worker} ({process.describe(job.process)})"
        following = retry_rules.after_loss(job, who)
        changes = _changes(following)
        if job.stopping:
            changes |= {"state": "cancelled", "finished": time.time()}
        update(db, job_id, _IDLE | changes)
        add_event(db, job_id, "lost", who)
        taken.append(get(db, job_id))
    return taken


def _held_row(db: sqlite3.Connection, job_id: str, worker: str) -> sqlite3.Row | None:
    query = f"SELECT {COLUMNS} FROM jobs WHERE id = ? AND worker = ? AND state = 'running'"
    return cast("sqlite3.Row | None", db.execute(query, (job_id, worker)).fetchone())


# --- changing ---


def cancel(db: sqlite3.Connection, job: Job) -> bool:
    """Stop a running job soon; cancel a pending one. Returns whether there was anything to do."""
    if job.state not in OPEN or job.stopping:
        return False
    if job.state == "running":
        update(db, job.id, {"stopping": 1})
    else:
        update(db, job.id, {"state": "cancelled", "finished": time.time()})
    add_event(db, job.id, "stopping" if job.state == "running" else "cancelled", "")
    return True


def retry(db: sqlite3.Connection, job: Job) -> bool:
    """Put a failed or cancelled job into the queue again."""
    if job.state not in ("failed", "cancelled"):
        return False
    fresh = dict.fromkeys(("error", "history", "warnings", "smaller", "timings"), "")
    numbers = dict.fromkeys(("attempts", "losses", "not_before", "seconds", "finished"), 0)
    update(db, job.id, {"state": "pending", **fresh, **numbers})
    add_event(db, job.id, "retried", "")
    return True


def remove(db: sqlite3.Connection, job: Job) -> bool:
    """Delete a job that is not running."""
    if job.state == "running":
        return False
    number = db.execute("SELECT number FROM jobs WHERE id = ?", (job.id,)).fetchone()[0]
    db.execute("DELETE FROM jobs WHERE number = ?", (number,))
    db.execute("DELETE FROM recipes WHERE number = ?", (number,))
    return True


def move(db: sqlite3.Connection, job_id: str, places: int) -> None:
    """Move a job `places` positions later (earlier where negative)."""
    get(db, job_id)
    order = [row[0] for row in db.execute("SELECT id FROM jobs ORDER BY position, number")]
    at = max(order.index(job_id) + places, 0)
    order.remove(job_id)
    place(db, job_id, order[at] if at < len(order) else None)


def place(db: sqlite3.Connection, job_id: str, before: str | None) -> None:
    """Move a job right before another, or to the end; unknown ones change nothing."""
    order = [row[0] for row in db.execute("SELECT id FROM jobs ORDER BY position, number")]
    if job_id not in order or job_id == before:
        return
    order.remove(job_id)
    order.insert(order.index(before) if before in order else len(order), job_id)
    db.executemany("UPDATE jobs SET position = ? WHERE id = ?", enumerate(order, start=1))


def prioritise(db: sqlite3.Connection, job_id: str, priority: int) -> None:
    """Set the priority of a job."""
    update(db, get(db, job_id).id, {"priority": priority})


def update(db: sqlite3.Connection, job_id: str, columns: dict[str, Any]) -> None:
    """Set columns of a job."""
    settings = ", ".join(f"{column} = ?" for column in columns)
    db.execute(f"UPDATE jobs SET {settings} WHERE id = ?", (*columns.values(), job_id))


# --- the queue as a whole ---


def pause(db: sqlite3.Connection, reason: str) -> None:
    """Begin no job; a pause that is there keeps its reason."""
    if not fact(db, "paused"):
        set_fact(db, "paused", reason)
        add_event(db, "", "paused", reason)


def resume(db: sqlite3.Connection, reason: str | None) -> bool:
    """End a pause, or only one for this reason."""
    now = fact(db, "paused")
    if not now or reason not in (None, now):
        return False
    set_fact(db, "paused", "")
    add_event(db, "", "resumed", now)
    return True


def fact(db: sqlite3.Connection, key: str) -> str:
    """A fact about the queue; empty where there is none."""
    row = db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
    return str(row[0]) if row is not None else ""


def set_fact(db: sqlite3.Connection, key: str, value: str) -> None:
    """Store a fact about the queue."""
    db.execute(
        "INSERT INTO facts VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def notices(db: sqlite3.Connection) -> list[str]:
    """What happened to the database itself."""
    return [row[0] for row in db.execute("SELECT detail FROM events WHERE kind = 'notice'")]


def add_event(db: sqlite3.Connection, job_id: str, kind: str, detail: str) -> None:
    """Record a change; old events make room."""
    cursor = db.execute(
        "INSERT INTO events (time, job, kind, detail) VALUES (?, ?, ?, ?)",
        (time.time(), job_id, kind, storable(detail)),
    )
    newest = cursor.lastrowid or 0
    if newest % 1000 == 0:
        db.execute("DELETE FROM events WHERE number <= ?", (newest - MAX_EVENTS,))
