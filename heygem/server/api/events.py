"""What changes in a batch or in a job, for as long as somebody looks.

The queue is read again and again, and what differs from the last time is passed on. A stream
begins with the state as it is, so that nothing is lost where a connection breaks: the next one
begins with what became of it meanwhile.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

from heygem.batch.queue.job import OPEN, Job
from heygem.server.api.operations import Operations
from heygem.server.api.schemas import JobInfo, Summary
from heygem.server.json_errors import MissingError

POLL_S = 0.5
SHARE = 10  # of its time, at most one part in so many is spent reading the queue
KEEP_ALIVE_S = 15.0  # proxies close a connection on which nothing was sent for a while


@dataclass(frozen=True)
class Event:
    """One message: a `job` or the `summary` that has changed, or the `end`, after which none comes.

    `alive` says nothing: it keeps the connection open.
    """

    kind: Literal["job", "summary", "end", "alive"]
    data: dict[str, Any] = field(default_factory=dict)


class Changes:
    """What changes from one look at the queue to the next.

    Parameters
    ----------
    operations : Operations
    job_id, batch : str, optional
        Only this job, only this batch; neither: the whole queue.
    lang : str
        Of errors.
    """

    def __init__(
        self, operations: Operations, *, job_id: str | None, batch: str | None, lang: str
    ) -> None:
        self._operations, self._queue = operations, operations.queue
        self._job_id, self._batch, self._lang = job_id, batch, lang
        self._open: set[str] = set()  # ids of jobs that were open at the last look
        self._sent: dict[str, JobInfo] = {}  # as last sent, of jobs that are not finished
        self._summary: Summary | None = None

    def look(self) -> list[Event]:
        """What differs from the last look; with `end` as the last where all is finished.

        Raises
        ------
        MissingError
            There is no such job.
        """
        if self._queue.reap():
            self._operations.start_worker()  # what was taken back is made by another one
        return self._look_at_job() if self._job_id else self._look_at_batch()

    def _look_at_job(self) -> list[Event]:
        assert self._job_id is not None
        job = self._operations.get(self._job_id)
        events = self._changed([job])
        return events if job.open else [*events, Event("end", _plain(JobInfo.of(job, self._lang)))]

    def _look_at_batch(self) -> list[Event]:
        jobs = self._queue.jobs(states=OPEN, batch=self._batch)
        ended = self._open - {job.id for job in jobs}
        self._open = {job.id for job in jobs}
        # Waiting jobs are not announced one by one: a batch may have thousands.
        changed = [job for job in jobs if job.state == "running" or job.id in self._sent]
        events = self._changed([*self._ended(ended), *changed])
        summary = self._operations.summary(self._batch)
        if summary != self._summary:
            events.append(Event("summary", _plain(summary)))
        self._summary = summary
        return [*events, Event("end", _plain(summary))] if summary.finished else events

    def _ended(self, ids: set[str]) -> list[Job]:
        jobs = []
        for job_id in sorted(ids):
            try:
                jobs.append(self._operations.get(job_id))
            except MissingError:  # removed from the list
                self._sent.pop(job_id, None)
        return jobs

    def _changed(self, jobs: list[Job]) -> list[Event]:
        events = []
        for job in jobs:
            info = JobInfo.of(job, self._lang)
            if info != self._sent.get(job.id):
                events.append(Event("job", _plain(info)))
            self._sent[job.id] = info
            if not job.open and job.id != self._job_id:
                del self._sent[job.id]
        return events


async def follow(changes: Changes) -> AsyncIterator[Event]:
    """Events until the end, with `alive` in between.

    Raises
    ------
    HeygemError
        There is no such job, or the queue cannot be read.
    """
    last_s = time.monotonic()
    while True:
        began_s = time.monotonic()
        events = await asyncio.to_thread(changes.look)
        spent_s = time.monotonic() - began_s
        if not events and began_s - last_s > KEEP_ALIVE_S:
            events = [Event("alive")]
        for event in events:
            yield event
            last_s = began_s
            if event.kind == "end":
                return
        await asyncio.sleep(max(POLL_S, (SHARE - 1) * spent_s))


def _plain(model: JobInfo | Summary) -> dict[str, Any]:
    return model.model_dump(mode="json")
