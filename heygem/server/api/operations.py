"""What the API does with the queue, apart from HTTP; the queue is this machine's or a hub's."""

import threading
import time
from pathlib import Path
from typing import cast

from heygem.batch.items import plan_items
from heygem.batch.queue.job import OPEN, STATES, Job, State
from heygem.batch.workers import background
from heygem.config.params import Params
from heygem.core.errors import InputError, ParameterError
from heygem.core.files import is_address
from heygem.server.api.paths import AllowedFolders
from heygem.server.api.schemas import MAX_PAGE, JobRequest, Summary
from heygem.server.client import HubQueue, JobQueue
from heygem.server.json_errors import MissingError, StateError

RESTART_S = 10.0  # a worker that does not come up is started at most this often


class Operations:
    """The jobs of one queue.

    Parameters
    ----------
    queue : JobQueue or HubQueue
        See `heygem.server.client.open_queue`.
    folders : AllowedFolders
    """

    def __init__(self, queue: JobQueue | HubQueue, folders: AllowedFolders) -> None:
        self.queue, self.folders = queue, folders
        self._lock = threading.Lock()
        self._worker_started_s = -RESTART_S

    def submit(self, request: JobRequest) -> list[Job]:
        """Queue what a request asks for, all of it or nothing.

        Raises
        ------
        HeygemError
            The recipe is wrong, a file is missing or not allowed, or the queue does not admit it.
        """
        params = self.folders.resolved(Params.from_dict(request.params))
        items = plan_items(params)
        for item in items:  # what patterns and links lead to
            self.folders.input(str(item.video))
            if item.params.inputs.audio is not None:
                self.folders.input(item.params.inputs.audio)
            for path in (str(item.video), item.params.inputs.audio):
                if path and not is_address(path) and not Path(path).exists():
                    raise InputError(
                        "no such file", seen=path, remedy="upload it, or check its name"
                    )
        jobs = self.queue.add(items, priority=request.priority, batch=request.batch)
        if request.start:
            self.start_worker()
        return jobs

    def jobs(
        self, *, states: list[str], batch: str | None, limit: int, offset: int
    ) -> tuple[list[Job], Summary]:
        """A page of the list, and how many jobs there are in all.

        Raises
        ------
        ParameterError
            There is no such state.
        """
        unknown = [state for state in states if state not in STATES]
        if unknown:
            raise ParameterError("unknown state", seen=unknown[0], remedy=", ".join(STATES))
        self.queue.reap()
        page = self.queue.jobs(
            states=cast(list[State], states) or None,
            batch=batch,
            limit=min(max(limit, 0), MAX_PAGE),
            offset=max(offset, 0),
        )
        return page, self.summary(batch)

    def get(self, job_id: str) -> Job:
        """One job.

        Raises
        ------
        MissingError
        """
        try:
            return self.queue.get(job_id)
        except InputError as error:
            raise MissingError(
                "no such job", seen=job_id, remedy="look at the list again"
            ) from error

    def summary(self, batch: str | None) -> Summary:
        """The counts of a batch; of the whole queue for None."""
        counts = self.queue.counts(batch=batch)
        return Summary.of(counts, batch=batch or "", paused=self.queue.paused())

    def require_batch(self, batch: str) -> Summary:
        """As `summary`.

        Raises
        ------
        MissingError
            No job is of this batch.
        """
        summary = self.summary(batch)
        if not any(summary.counts.values()):
            raise MissingError("no such batch", seen=batch, remedy="look at the list again")
        return summary

    def cancel(self, job_id: str) -> Job:
        """Stop a job that waits or runs.

        Raises
        ------
        StateError, MissingError
        """
        self._require(job_id, OPEN, "this job is finished", "there is nothing to cancel")
        self.queue.cancel(job_id)
        return self.queue.get(job_id)

    def retry(self, job_id: str) -> Job:
        """Put a failed or cancelled job into the queue again.

        Raises
        ------
        StateError, MissingError
        """
        states: tuple[State, ...] = ("failed", "cancelled")
        remedy = "only what failed or was cancelled is made again"
        self._require(job_id, states, "this job cannot be retried", remedy)
        self.queue.retry(job_id)
        self.start_worker()
        return self.queue.get(job_id)

    def cancel_batch(self, batch: str) -> int:
        """Stop all jobs of a batch that wait or run; returns how many."""
        self.require_batch(batch)
        return self.queue.cancel_all(batch=batch)

    def retry_batch(self, batch: str) -> int:
        """Put the failed and cancelled jobs of a batch into the queue again; returns how many."""
        self.require_batch(batch)
        count = self.queue.retry_all(states=("failed", "cancelled"), batch=batch)
        self.start_worker()
        return count

    def result(self, job_id: str) -> Path:
        """Path of a finished video on this machine.

        Raises
        ------
        StateError
            It is not finished, or not here any more.
        MissingError
            There is no such job.
        PolicyError
            It lies outside the folders that the API reads.
        """
        remedy = "wait for the event `end`, or look at the job's error"
        job = self._require(job_id, ("done",), "this video is not finished", remedy)
        path = Path(self.folders.input(job.output))
        if is_address(job.output) or not path.is_file():
            raise StateError("this video is not on the server", seen=job.output)
        return path

    def start_worker(self) -> None:
        """Start a worker where jobs wait, none runs and the queue is not paused."""
        if not isinstance(self.queue, JobQueue):
            return  # a hub's workers always run
        with self._lock:
            now = time.monotonic()
            if now - self._worker_started_s < RESTART_S:
                return
            if self.queue.is_open() and not self.queue.paused() and not self.queue.workers():
                self._worker_started_s = now
                background.start_worker(self.queue)

    def _require(self, job_id: str, states: tuple[State, ...], what: str, remedy: str) -> Job:
        job = self.get(job_id)
        if job.state not in states:
            raise StateError(what, seen=job.state, remedy=remedy)
        return job
