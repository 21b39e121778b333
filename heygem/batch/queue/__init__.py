"""The queue of videos to make: one SQLite database, the only owner of the state of every job.

`queue` is what others use. `database` holds tables and transactions, `rows` and `worker_list` what
the transactions do, `job` and `new_jobs` the rows, `process` tells who holds a job, `retry` what
follows a failure; `repair` and `earlier_folder` read damaged and earlier queues.
"""

from heygem.batch.queue.job import Job
from heygem.batch.queue.queue import PAUSED_BY_USER, JobQueue, default_path

__all__ = ["PAUSED_BY_USER", "Job", "JobQueue", "default_path"]
