"""The end of a queue's pause for a full disk."""

import time
from collections.abc import Callable

from heygem.batch.queue import JobQueue
from heygem.batch.queue.job import Job
from heygem.batch.queue.retry import DISK_FULL

ROOM_S = 15.0  # between looks at a disk that was full


class RoomWatch:
    """Ends the pause for a full disk when there is room for the next job.

    Parameters
    ----------
    queue : JobQueue
    has_room : callable
        Whether the disks have room for a job's item.
    """

    def __init__(self, queue: JobQueue, has_room: Callable[[Job], bool]) -> None:
        self._queue, self._has_room = queue, has_room
        self._checked_s = 0.0

    def look(self) -> None:
        """Look at the disks, unless that was done a moment ago or the queue is not paused."""
        now = time.monotonic()
        if now - self._checked_s < ROOM_S or self._queue.paused() != DISK_FULL:
            return
        self._checked_s = now
        pending = self._queue.jobs(states=["pending"], limit=1)
        if not pending or self._has_room(self._queue.get(pending[0].id)):
            self._queue.resume(reason=DISK_FULL)
