"""The queue's service, as a studio on JupyterHub uses it: the methods of `JobQueue` that it needs.

Files are sent once, by the hash of their content. What a user may do is decided by the service (see
`heygem.server.service`); this side holds nothing that could be changed to get more.
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from heygem.batch.items import Item
from heygem.batch.queue import JobQueue
from heygem.batch.queue.job import FINISHED, OPEN, STATES, Job, State
from heygem.batch.queue.rows import StateTotals
from heygem.batch.queue.worker_list import WorkerInfo
from heygem.config.params import Params
from heygem.core import errors
from heygem.core.errors import HeygemError, InputError, PolicyError
from heygem.core.files import hash_input
from heygem.core.types import PathLike

ADDRESS_VARIABLE = "HEYGEM_SERVICE"  # address of the service, set in a user's server
PAGE_VARIABLE = "HEYGEM_SERVICE_PAGE"  # its path in the browser, such as /services/heygem/
TOKEN_VARIABLE = "JUPYTERHUB_API_TOKEN"
TIMEOUT_S = 600.0
_BLOCK = 1000  # jobs of one answer
#: What of a recipe does not travel: places on this side, and where runs are recorded.
_LOCAL = ("inputs.", "mlflow.")
_ERRORS = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, HeygemError)
}


def open_queue(path: str | Path | None = None) -> "JobQueue | HubQueue":
    """The queue of this page: the service's on JupyterHub, else the database at `path`."""
    address = os.environ.get(ADDRESS_VARIABLE)
    if not address:
        return JobQueue(path)
    return HubQueue(address, token=os.environ.get(TOKEN_VARIABLE, ""))


class HubQueue:
    """The jobs of one user.

    Parameters
    ----------
    address : str
        Of the service, with a slash at the end.
    token : str
        The token that the hub gave to the user's server.
    """

    is_shared = True  # see `heygem.batch.queue.JobQueue`

    def __init__(self, address: str, *, token: str) -> None:
        self._address, self._token = address, token
        self._sent: dict[str, str] = {}  # paths on this side, by names of inputs

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
        """The user's jobs in their order; a reviewer may name another user, or "*" for all."""
        query = {"states": ",".join(states or ()), **_of(batch)}
        query |= {"owner": owner} if owner else {}
        jobs: list[Job] = []
        while limit is None or len(jobs) < limit:
            size = _BLOCK if limit is None else min(_BLOCK, limit - len(jobs))
            page = {**query, "limit": size, "offset": offset + len(jobs)}
            rows = self._get("api/jobs", **page)["jobs"]
            jobs += [self._job(row) for row in rows]
            if len(rows) < size:
                break
        return jobs

    def get(self, job_id: str) -> Job:
        """One job.

        Raises
        ------
        InputError
            There is no such job of this user.
        """
        return self._job(self._get(f"api/jobs/{job_id}")["job"])

    def counts(self, *, batch: str | None = None) -> dict[State, int]:
        """How many of the user's jobs (of a batch) are in each state."""
        return dict(self._get("api/jobs", limit=0, **_of(batch))["counts"])

    def totals(self) -> dict[State, StateTotals]:
        """Of the user's jobs in each state: how many, length of their speech, processing time."""
        sums = dict.fromkeys(STATES, StateTotals())
        for job in self.jobs():
            before = sums[job.state]
            length_s = before.length_s + (job.length_s or 1.0)
            sums[job.state] = StateTotals(before.number + 1, length_s, before.seconds + job.seconds)
        return sums

    def reap(self) -> list[Job]:
        """The service takes jobs back from workers that are gone."""
        return []

    def workers(self) -> list[WorkerInfo]:
        """Workers of the service as far as this user sees them: those that make the user's jobs."""
        return [WorkerInfo(job.worker, {}, job.id) for job in self.jobs(states=["running"])]

    def release_workers(self) -> None:
        """Not on a server: workers are the service's."""
        raise _not_alone()

    def paused(self) -> str:
        """Why no job is begun; empty where the queue is not paused."""
        return str(self._get("api/jobs", limit=0)["paused"])

    def usage(self) -> dict[str, Any]:
        """`agreed`, `used`, `quota` and `limits` of this user."""
        return self._get("api/usage")

    # --- adding ---

    def add(
        self, requests: Sequence[Item], *, owner: str = "", priority: int = 0, batch: str = ""
    ) -> list[Job]:
        """Send the files of items that the service has not got, and queue them, all or none.

        `owner` and `priority` are the service's to decide.

        Raises
        ------
        HeygemError
            The service refuses a file or an item, or cannot be reached.
        """
        items = [self._requested(item) for item in requests]
        answer = self._send("POST", "api/jobs", {"items": items, "batch": batch})
        return [self._job(row) for row in answer["jobs"]]

    def _requested(self, item: Item) -> dict[str, Any]:
        inputs, default = item.params.inputs, Params().dotted()
        own = {
            key: value
            for key, value in item.params.dotted().items()
            if value != default[key] and not key.startswith(_LOCAL)
        }
        if inputs.language != default["inputs.language"]:
            own["inputs.language"] = inputs.language
        request: dict[str, Any] = {"name": item.name, "settings": own}
        request["video"] = self._send_file(item.video)
        if inputs.audio is not None:
            request["audio"] = self._send_file(inputs.audio)
        else:
            request["text"] = inputs.text
        return request

    def _send_file(self, path: PathLike) -> str:
        """Send a file unless the service has it; returns its name there."""
        path = Path(path)
        if path.is_dir():
            raise InputError(
                "a folder cannot be sent to the queue",
                seen=path,
                remedy="choose a video; an avatar bundle is for your own machine",
            )
        name = f"{hash_input(path)}{path.suffix.lower() or '.bin'}"
        size = path.stat().st_size
        try:
            self._get(f"api/inputs/{name}", size=size)
        except InputError:
            with open(path, "rb") as stream:
                headers = {"Content-Length": str(size)}
                self._call("PUT", f"api/inputs/{name}", stream, headers)
        self._sent[name] = str(path)
        return name

    # --- changing ---

    def cancel(self, job_id: str) -> None:
        """Stop a running job soon; cancel a pending one."""
        self._act(job_id, "cancel")

    def cancel_all(self, *, batch: str | None = None) -> int:
        """Cancel every job of the user that is not finished; returns how many."""
        return self._act_on_all(OPEN, "cancel", batch)

    def retry(self, job_id: str) -> None:
        """Put a failed or cancelled job into the queue again."""
        self._act(job_id, "retry")

    def retry_all(self, *, states: Iterable[State] = ("failed",), batch: str | None = None) -> int:
        """Put all failed jobs into the queue again; returns how many."""
        return self._act_on_all(states, "retry", batch)

    def remove(self, job_id: str) -> None:
        """Delete a job that is not running; its video stays."""
        self._act(job_id, "remove")

    def clear(self, *, states: Iterable[State] = FINISHED) -> int:
        """Delete finished jobs; their videos stay. Returns how many."""
        return self._act_on_all(states, "remove")

    def move(self, job_id: str, places: int) -> None:
        """Not on a server: users take turns."""
        raise _not_alone()

    def place(self, job_id: str, before: str | None) -> None:
        """Not on a server: users take turns."""
        raise _not_alone()

    def pause(self, reason: str = "") -> None:
        """Not on a server: the queue is everybody's."""
        raise _not_alone()

    def resume(self, *, reason: str | None = None) -> bool:
        """Not on a server: the queue is everybody's."""
        raise _not_alone()

    def _act(self, job_id: str, action: str) -> None:
        self._send("POST", f"api/jobs/{job_id}", {"action": action})

    def _act_on_all(self, states: Iterable[State], action: str, batch: str | None = None) -> int:
        jobs = self.jobs(states=states, batch=batch)
        for job in jobs:
            self._act(job.id, action)
        return len(jobs)

    # --- transport ---

    def _job(self, row: dict[str, Any]) -> Job:
        values = row | {key: tuple(row[key]) for key in ("history", "warnings")}
        for key in ("video", "audio"):
            name = Path(values[key]).name
            values[key] = self._sent.get(name, values[key])
        return Job(**values)

    def _get(self, route: str, **query: Any) -> dict[str, Any]:
        return self._call("GET", f"{route}?{urllib.parse.urlencode(query)}")

    def _send(self, method: str, route: str, content: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps(content, ensure_ascii=False, default=str).encode()
        return self._call(method, route, body, {"Content-Type": "application/json"})

    def _call(
        self, method: str, route: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        request = urllib.request.Request(self._address + route, body, headers or {}, method=method)
        request.add_header("Authorization", f"token {self._token}")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return dict(json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            raise _error(error.code, error.read()) from error
        except OSError as error:
            raise HeygemError(
                "the queue's service cannot be reached",
                seen=error,
                remedy="try again in a minute, or ask whoever runs this server",
            ) from error


def _of(batch: str | None) -> dict[str, str]:
    return {"batch": batch} if batch is not None else {}


def _error(status: int, body: bytes) -> HeygemError:
    """The error that the service answered, as it was raised there."""
    try:
        parts = dict(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        parts = {"what": "the queue's service refused the request", "seen": f"HTTP {status}"}
    kind = _ERRORS.get(parts.get("code", ""), HeygemError)
    return kind(parts.get("what", "refused"), seen=parts.get("seen"), remedy=parts.get("remedy"))


def _not_alone() -> PolicyError:
    return PolicyError("the queue is everybody's: users take turns in it")
