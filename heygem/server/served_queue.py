"""The queue of an installation that serves several users: nothing is made that was not admitted."""

import os
from pathlib import Path

from heygem.batch.outcome import Outcome
from heygem.batch.queue import JobQueue
from heygem.batch.queue.job import Job
from heygem.core import disk
from heygem.core.errors import HeygemError, OutputError, ParameterError
from heygem.core.folders import make_private_folder
from heygem.server import STATE_VARIABLE, policy
from heygem.server.admission import Admission


class ServedQueue(JobQueue):
    """A `JobQueue` that checks jobs before they are written, and again when a worker takes them.

    Parameters
    ----------
    state : path
        Folder of the queue, the inputs and the results.
    rules : heygem.server.policy.Rules

    Raises
    ------
    OutputError
        Other accounts can enter the folder.
    """

    def __init__(self, state: Path, rules: policy.Rules) -> None:
        self.state, self.rules = require_private(state.absolute()), rules
        self.results = self.state / "results"
        self._checks = Admission(rules, results=self.results)
        super().__init__(self.state / "queue.db", admission=self._checks.admit)

    def claim(self, worker: str) -> Job | None:
        """As `JobQueue.claim`; a job that was not admitted as it is fails, and the next is taken.

        Files and settings are compared with the signed row of the admission: a job that somebody
        wrote into the database, or changed there, is not made.
        """
        while (job := super().claim(worker)) is not None:
            try:
                self._checks.require_admitted(job.owner, job.item())
                return job
            except HeygemError as error:
                refusal = Outcome.of_job(job, "failed", error, bad_input=True)
                self.finish(job.id, worker, refusal)
        return None


def require_private(folder: Path) -> Path:
    """Refuse a folder that other accounts can enter; create a missing one. Returns it.

    Raises
    ------
    OutputError
        It belongs to somebody else, or others may enter it.
    """
    try:
        make_private_folder(folder)
        status = folder.stat()
    except OSError as error:
        raise disk.write_error(error, folder) from error
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise OutputError(
            "the folder of the queue must belong to the service's account alone",
            seen=f"{folder}: owner {status.st_uid}, mode {status.st_mode & 0o777:o}",
            remedy=f"chown it to that account, and chmod 700 {folder}",
        )
    return folder


def open_served() -> ServedQueue:
    """The queue that the environment names, as the service and its workers have it.

    Its folder becomes the current one: relative paths of the installation's recipe start there.

    Raises
    ------
    ParameterError
        A variable is missing.
    HeygemError
        The policy cannot be read, or others can enter the folder.
    """
    try:
        state, rules = os.environ[STATE_VARIABLE], os.environ[policy.FILE_VARIABLE]
    except KeyError as error:
        raise ParameterError(
            f"{error.args[0]} is not set",
            remedy="heygem.server.hub.configure sets it, in jupyterhub_config.py",
        ) from error
    queue = ServedQueue(Path(state), policy.Rules(rules))
    os.chdir(queue.state)
    return queue
