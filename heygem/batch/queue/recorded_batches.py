"""Batches of which somebody is to know that they have come to their end: MLflow, and a webhook.

Any number of processes make the items of a batch, so none of them knows that its item is the last.
The queue keeps a mark for each batch, and whoever takes the mark of one without open jobs ends the
batch's run in MLflow and tells the webhook. Jobs without a batch's name are one batch together.
Items of one batch whose results are in different folders are different runs (see
`heygem.experiments.run_records.shared_id`), and have different marks. Each function is called
within a transaction.
"""

import itertools
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from heygem.batch.queue import rows as queue_rows
from heygem.batch.queue.job import Job

_KEY = "recorded batch "  # of facts; followed by the batch and the folder


class EndedBatch(NamedTuple):
    """A batch of which no job is open any more.

    Attributes
    ----------
    batch : str
    params : dict
        Recipe of one of its jobs; see `heygem.config.params.Params.tree`.
    items : list of (str, float, float, str)
        Status as in `heygem.batch.outcome.Outcome`, processing time [s], length [s] and result of
        each.
    elapsed_s : float
        From the first attempt to the end of the last.
    counts : dict of str to int, optional
        Items by status that a message speaks of. Of a batch with a name: all, which is the default.
        Jobs without one have no beginning: those that ended since the last message.
    counted_s : float, optional
        As `elapsed_s`, of those; the default is `elapsed_s`.
    """

    batch: str
    params: dict[str, Any]
    items: list[tuple[str, float, float, str]]
    elapsed_s: float
    counts: dict[str, int] | None = None
    counted_s: float | None = None


def mark(db: sqlite3.Connection, jobs: Iterable[Job]) -> None:
    """Note the batches of jobs that are new, or in the queue again; `jobs` have their recipes."""
    keys = {_key(job.batch, _folder(job.output)) for job in jobs}
    for key in sorted(keys):
        if not queue_rows.fact(db, key):
            queue_rows.set_fact(db, key, str(time.time()))


def ended_marks(
    db: sqlite3.Connection, *, batch: str | None = None, but: str | None = None
) -> list[tuple[str, str]]:
    """Batch and folder of each mark without open jobs; answered without holding up writers.

    Parameters
    ----------
    db : sqlite3.Connection
    batch, but : str, optional
        Only this batch; all but this one, which somebody else ends.
    """
    query = "SELECT key FROM facts WHERE key >= ? AND key < ?"
    keys = [row[0] for row in db.execute(query, (_KEY, _KEY + "\U0010ffff"))]
    marks = [tuple(json.loads(key.removeprefix(_KEY))) for key in keys]
    return [
        (name, folder)
        for name, folder in marks
        if name != but and batch in (None, name) and not _is_open(db, name, folder)
    ]


def take_ended(
    db: sqlite3.Connection, *, batch: str | None = None, but: str | None = None
) -> list[EndedBatch]:
    """Remove the marks of batches without open jobs; the caller ends their runs."""
    batches = []
    for name, folder in ended_marks(db, batch=batch, but=but):
        key = _key(name, folder)
        ended = _ended(db, name, folder, since_s=0.0 if name else _time(queue_rows.fact(db, key)))
        db.execute("DELETE FROM facts WHERE key = ?", (key,))
        batches += [ended] if ended is not None else []
    return batches


def _key(batch: str, folder: str) -> str:
    return _KEY + json.dumps([batch, folder])


def _folder(output: str) -> str:
    return output.rpartition("/")[0]


_OF_FOLDER = "batch = ? AND substr(output, 1, ?) = ? AND instr(substr(output, ?), '/') = 0"


def _values(batch: str, folder: str) -> tuple[Any, ...]:
    return batch, len(folder) + 1, f"{folder}/", len(folder) + 2


def _is_open(db: sqlite3.Connection, batch: str, folder: str) -> bool:
    query = f"SELECT 1 FROM jobs WHERE state IN ('pending', 'running') AND {_OF_FOLDER} LIMIT 1"
    return db.execute(query, _values(batch, folder)).fetchone() is not None


def _time(text: str) -> float:
    """A time as `mark` stores it; 0 in a queue of an earlier version."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _ended(db: sqlite3.Connection, batch: str, folder: str, *, since_s: float) -> EndedBatch | None:
    """The batch as its jobs say; None where they were removed from the list."""
    query = f"""SELECT id, state, timings, seconds, length_s, output, started, finished FROM jobs
        WHERE {_OF_FOLDER} ORDER BY position, number"""
    jobs = db.execute(query, _values(batch, folder)).fetchall()
    if not jobs:
        return None
    items = [
        (
            "skipped" if job["state"] == "done" and not job["timings"] else str(job["state"]),
            float(job["seconds"]),
            float(job["length_s"]),
            str(job["output"]),
        )
        for job in jobs
    ]
    is_new = [job["finished"] >= since_s for job in jobs]
    counts = Counter(item[0] for item in itertools.compress(items, is_new))
    params = queue_rows.get(db, jobs[0]["id"]).params
    counted_s = _elapsed_s(itertools.compress(jobs, is_new))
    return EndedBatch(batch, params, items, _elapsed_s(jobs), dict(counts), counted_s)


def _elapsed_s(jobs: Iterable[sqlite3.Row]) -> float:
    """From the first attempt to the end of the last."""
    times = [(job["started"], job["finished"]) for job in jobs]
    begun = [started for started, _ in times if started]
    return max(0.0, max(finished for _, finished in times) - min(begun)) if begun else 0.0
