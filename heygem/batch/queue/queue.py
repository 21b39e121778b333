"""The queue of videos to make: one database, the only owner of the state of every job.

The command line, notebooks, the studio, local workers and a cluster's driver use the same one. Each
method is one transaction, so that any number of them may add, take and finish jobs at once.

A job that runs is held by a worker. The hold ends when the worker finishes or releases the job, or
when the worker is gone: seen from the same machine, when its process is; from another one, when its
heartbeat has not changed for `LEASE_S` by the clock of the observer that counts only running time.
No clock is compared with another one's, and setting a clock changes nothing.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from heygem.batch.item import begun_mark
from heygem.batch.outcome import Outcome
from heygem.batch.queue import new_jobs, process, recorded_batches
from heygem.batch.queue import repair as queue_repair
from heygem.batch.queue import rows as queue_rows
from heygem.batch.queue import worker_list as queue_workers
from heygem.batch.queue.database import PATH_VARIABLE, Database
from heygem.batch.queue.job import COLUMNS, FINISHED, OPEN, Job, Signal, State, plain, read_row
from heygem.batch.queue.recorded_batches import EndedBatch
from heygem.batch.queue.rows import StateTotals
from heygem.batch.queue.worker_list import WorkerInfo

if TYPE_CHECKING:
    from heygem.batch.items import Item

T = TypeVar("T")

PAUSED_BY_USER = "paused by a user"
LEASE_S = 60.0  # without a heartbeat of a worker on another machine, its job is taken back
#: `admission(items, lengths_s, owner)` returns the owner to record, or raises a HeygemError.
Admission = Callable[["Sequence[Item]", Sequence[float], str], str]


def default_path() -> Path:
    """The project's queue: `$HEYGEM_QUEUE`, else `runs/queue.db` of the project's folder."""
    configured = os.environ.get(PATH_VARIABLE)
    if configured:
        return Path(configured).expanduser().absolute()
    project = Path(__file__).resolve().parents[3]
    base = project if (project / "notebooks").is_dir() else Path.cwd()
    return base / "runs" / "queue.db"


class JobQueue:
    """The jobs in a database.

    Parameters
    ----------
    path : path, optional
        Created with the first use; default: `default_path`.
    admission : callable, optional
        See `Admission`; called before any job is written. Default: admits everything.
    """

    is_shared = False  # whether others decide on its order and its pauses

    def __init__(
        self, path: str | Path | None = None, *, admission: Admission | None = None
    ) -> None:
        self.path = Path(path).absolute() if path is not None else default_path()
        self._admission = admission
        self._database = Database(self.path, queue_repair.rebuild)
        self._beats: dict[str, tuple[int, float]] = {}  # of workers elsewhere, and since when

    # --- reading ---

    def jobs(
        self,
        *,
        states: Iterable[State] | None = None,
        batch: str | None = None,
        owner: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Job]:
        """Jobs in their order, without recipes (see `get`).

        Parameters
        ----------
        states, batch, owner : optional
            Only jobs in one of these states, of this batch, of this owner.
        limit, offset : int, optional
            A page of the list.
        """
        where, values = queue_rows.where(states=states, batch=batch, owner=owner)
        query = f"SELECT {COLUMNS} FROM jobs{where} ORDER BY position, number LIMIT ? OFFSET ?"
        page = (*values, -1 if limit is None else limit, offset)
        return self._database.read(lambda db: [read_row(row) for row in db.execute(query, page)])

    def get(self, job_id: str) -> Job:
        """One job, with its recipe.

        Raises
        ------
        InputError
            There is no such job.
        """
        return self._database.read(lambda db: queue_rows.get(db, job_id))

    def counts(self, *, batch: str | None = None, owner: str | None = None) -> dict[State, int]:
        """How many jobs are in each state."""
        return self._database.read(lambda db: queue_rows.counts(db, batch=batch, owner=owner))

    def totals(self, *, batch: str | None = None) -> dict[State, StateTotals]:
        """Of the jobs in each state: how many, length of their speech, processing time."""
        return self._database.read(lambda db: queue_rows.totals(db, batch=batch))

    def paused(self) -> str:
        """Why no job is begun; empty where the queue is not paused."""
        return self._database.read(lambda db: queue_rows.fact(db, "paused"))

    def notices(self) -> list[str]:
        """What happened to the database itself: that it was damaged, or an earlier queue read."""
        return self._database.read(queue_rows.notices)

    def events(self, *, job_id: str | None = None, after: int = 0, limit: int = 1000) -> list[dict]:
        """Changes of state, oldest first: number, time (Unix [s]), job, kind, detail.

        Parameters
        ----------
        job_id : str, optional
        after : int
            Only events with a larger number.
        limit : int
        """
        query = "SELECT * FROM events WHERE number > ? AND (? IS NULL OR job = ?) "
        query += "ORDER BY number LIMIT ?"
        values = (after, job_id, job_id, limit)
        return self._database.read(lambda db: [dict(row) for row in db.execute(query, values)])

    # --- adding ---

    def add(
        self,
        requests: "Sequence[Item]",
        *,
        owner: str = "",
        priority: int = 0,
        batch: str = "",
    ) -> list[Job]:
        """Append items, all or none; returns their jobs in the same order.

        Parameters
        ----------
        requests : sequence of heygem.batch.items.Item
            See `heygem.batch.items.plan_items`. Relative paths start from the current folder.
        owner : str
            Who asks for it; owners take turns.
        priority : int
            Larger comes first among the jobs of one owner.
        batch : str
            A name for these jobs together.

        Raises
        ------
        HeygemError
            The admission refuses one of them, or the database cannot be written.
        """
        lengths = new_jobs.lengths_s(requests)
        if self._admission is not None:
            owner = self._admission(requests, lengths, owner)
        rows = [
            new_jobs.new_row(item, length_s)
            for item, length_s in zip(requests, lengths, strict=True)
        ]
        common = {"owner": owner, "priority": priority, "batch": batch}
        return self._database.write(lambda db: new_jobs.insert(db, rows, common))

    # --- workers ---

    def take_ended_batches(
        self, *, batch: str | None = None, but: str | None = None
    ) -> list[EndedBatch]:
        """Batches without open jobs whose runs in MLflow nobody has ended; the caller ends them.

        Parameters
        ----------
        batch, but : str, optional
            Only this batch; all but this one, which somebody else ends.
        """
        chosen = {"batch": batch, "but": but}
        if not self._database.read(lambda db: recorded_batches.ended_marks(db, **chosen)):
            return []
        return self._database.write(lambda db: recorded_batches.take_ended(db, **chosen))

    def claim(self, worker: str) -> Job | None:
        """Take the next job; None where there is nothing to do now.

        The owner with the fewest running jobs comes first, among several the one who was served
        longest ago; then the highest priority; then the order of the list. A job whose result has
        the name of one that is being made waits for that.

        Parameters
        ----------
        worker : str
            A name that no other worker has. The calling process must live as long as the job is
            held: the death of it ends the hold.
        """
        self.reap()
        if not self._database.read(queue_rows.has_pending):
            return None
        holder = plain(process.own_identity())
        return self._database.write(lambda db: queue_rows.claim(db, worker, holder))

    def heartbeat(self, job_id: str, worker: str, progress: dict[str, Any] | None = None) -> Signal:
        """Keep hold of a job and store its progress; returns what the worker is to do."""
        text = plain(progress)
        return self._database.write(lambda db: queue_rows.heartbeat(db, job_id, worker, text))

    def finish(self, job_id: str, worker: str, outcome: Outcome) -> Job | None:
        """Record what became of a job; a failure is retried by its class (see `retry`).

        Returns
        -------
        Job or None
            As recorded; None where the worker does not hold it any more.
        """
        return self._database.write(lambda db: queue_rows.finish(db, job_id, worker, outcome))

    def release(self, job_id: str, worker: str, reason: str = "", *, delay_s: float = 0.0) -> None:
        """Put a job back that was not finished for no fault of its own, as at a shutdown.

        Parameters
        ----------
        job_id, worker : str
        reason : str
            For the events.
        delay_s : float
            Until it may be taken again.
        """
        self._database.write(
            lambda db: queue_rows.release(db, job_id, worker, reason, delay_s=delay_s)
        )

    def reap(self) -> list[Job]:
        """Take jobs back from workers that are gone; returns them as they are now."""
        held = self._database.read(queue_rows.held)
        gone = [
            (job_id, beat) for job_id, holder, beat in held if self._is_gone(job_id, holder, beat)
        ]
        running = {job_id for job_id, _, _ in held}
        self._beats = {key: value for key, value in self._beats.items() if key in running}
        if not gone:
            return []
        taken = self._database.write(lambda db: queue_rows.take_back(db, gone))
        for job in taken:
            if not job.open:
                begun_mark.clear_unfinished(job)
        return taken

    def is_open(self, *, batch: str | None = None) -> bool:
        """Whether a job (of this batch) is pending or running."""
        counts = self.counts(batch=batch)
        return any(counts[state] for state in OPEN)

    def register(self, worker: str) -> None:
        """Enter a worker into the list of `workers`; its process is the calling one."""
        holder = plain(process.own_identity())
        self._database.write(lambda db: queue_workers.register(db, worker, holder))

    def unregister(self, worker: str) -> None:
        """Remove a worker from the list."""
        self._database.write(lambda db: queue_workers.unregister(db, worker))

    def workers(self) -> list[WorkerInfo]:
        """The workers that run, as far as that can be seen from this machine."""
        workers = self._database.read(queue_workers.workers)
        return [
            worker
            for worker in workers
            if not process.is_visible(worker.process) or process.is_running(worker.process)
        ]

    def report_idle(self, worker: str) -> bool:
        """Whether an idle worker was asked to end."""
        return self._database.read(lambda db: queue_workers.is_leaving(db, worker))

    def release_workers(self) -> None:
        """Ask workers to end as soon as they have nothing to do, which frees their models."""
        self._database.write(queue_workers.release_workers)

    def _is_gone(self, job_id: str, holder: dict[str, Any], beat: int) -> bool:
        if process.is_visible(holder):
            return not process.is_running(holder)
        last, since_s = self._beats.get(job_id, (-1, 0.0))
        if beat != last:
            self._beats[job_id] = (beat, time.monotonic())
            return False
        return time.monotonic() - since_s > LEASE_S

    # --- changing ---

    def cancel(self, job_id: str) -> bool:
        """Stop a running job soon; cancel a pending one. Returns whether it was one of these."""
        return self._database.write(lambda db: queue_rows.cancel(db, queue_rows.get(db, job_id)))

    def cancel_all(self, *, batch: str | None = None, owner: str | None = None) -> int:
        """Cancel every job that is not finished; returns how many."""
        return self._for_each(queue_rows.cancel, OPEN, batch, owner)

    def retry(self, job_id: str) -> bool:
        """Put a failed or cancelled job into the queue again, with all its attempts.

        Returns whether it was one of these.
        """
        return self._database.write(lambda db: new_jobs.retry(db, queue_rows.get(db, job_id)))

    def retry_all(
        self,
        *,
        states: Iterable[State] = ("failed",),
        batch: str | None = None,
        owner: str | None = None,
    ) -> int:
        """Put all failed jobs (or those in other states) into the queue again."""
        return self._for_each(new_jobs.retry, states, batch, owner)

    def remove(self, job_id: str) -> None:
        """Delete a job that is not running; its video stays."""
        self._database.write(lambda db: queue_rows.remove(db, queue_rows.get(db, job_id)))

    def clear(
        self,
        *,
        states: Iterable[State] = FINISHED,
        batch: str | None = None,
        owner: str | None = None,
    ) -> int:
        """Delete finished jobs; their videos stay. Returns how many."""
        return self._for_each(queue_rows.remove, states, batch, owner)

    def move(self, job_id: str, places: int) -> None:
        """Move a job `places` positions later (earlier where negative)."""
        self._database.write(lambda db: queue_rows.move(db, job_id, places))

    def place(self, job_id: str, before: str | None) -> None:
        """Move a job right before another (its id), or to the end (None)."""
        self._database.write(lambda db: queue_rows.place(db, job_id, before))

    def prioritise(self, job_id: str, priority: int) -> None:
        """Set the priority of a job."""
        self._database.write(lambda db: queue_rows.prioritise(db, job_id, priority))

    def pause(self, reason: str = PAUSED_BY_USER) -> None:
        """Begin no other job until `resume`; running ones are finished."""
        self._database.write(lambda db: queue_rows.pause(db, reason))

    def resume(self, *, reason: str | None = None) -> bool:
        """End a pause; returns whether there was one.

        Parameters
        ----------
        reason : str, optional
            Only a pause for this reason, so that what paused the queue for want of space does not
            end the pause of a person.
        """
        return self._database.write(lambda db: queue_rows.resume(db, reason))

    def change(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Call a function of `heygem.batch.queue.rows` within one transaction."""
        return self._database.write(action)

    def note(self, kind: str, detail: str, *, job_id: str = "") -> None:
        """Add an event."""
        self._database.write(lambda db: queue_rows.add_event(db, job_id, kind, detail))

    def _for_each(
        self,
        action: Callable[[sqlite3.Connection, Job], bool],
        states: Iterable[State],
        batch: str | None,
        owner: str | None,
    ) -> int:
        where, values = queue_rows.where(states=states, batch=batch, owner=owner)
        query = f"SELECT {COLUMNS} FROM jobs{where} ORDER BY position, number"

        def change(db: sqlite3.Connection) -> int:
            jobs = [read_row(row) for row in db.execute(query, values).fetchall()]
            return sum(action(db, job) for job in jobs)

        return self._database.write(change)

    def close(self) -> None:
        """Close the connection of this thread."""
        self._database.close()
