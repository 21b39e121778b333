"""A client of the API, for Python programs on this or another machine.

>>> from heygem.server.api.client import Client
>>> studio = Client("http://127.0.0.1:7860", "THE-TOKEN")
>>> video, audio = studio.upload("anna.mp4"), studio.upload("hello.wav")
>>> (job,) = studio.submit({"inputs": {"videos": [video], "audio": audio}})
>>> for kind, data in studio.events(job=job["id"]):
...     print(kind, data.get("state"), data.get("progress"))
>>> studio.download(job["id"], "anna-speaks.mp4")
"""

import contextlib
import json
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import IO, Any

from heygem.core.errors import HeygemError
from heygem.core.files import replacing
from heygem.core.types import PathLike

TIMEOUT_S = 60.0


class ApiError(HeygemError):
    """What the server refused; `parts` are as it said them.

    Attributes
    ----------
    code : str
        As of the server, such as BAD_PARAMETER.
    status : int
        Of HTTP; 0 where the server was not reached.
    """

    def __init__(self, answer: dict[str, Any], status: int) -> None:
        super().__init__(
            answer.get("message") or f"the server refused the request (HTTP {status})",
            seen=answer.get("seen"),
            remedy=answer.get("remedy"),
        )
        self.code, self.status = str(answer.get("code") or "HTTP"), status


class Client:
    """The jobs of one server.

    Parameters
    ----------
    address : str
        Of the studio or the lab, such as ``http://127.0.0.1:7860``; on JupyterHub that of the
        user's server, such as ``https://studio.example.org/user/anna``.
    token : str
        As ``heygem studio`` prints it; on JupyterHub from the hub's page *Token*.
    lang : {"en", "zh"}
        Of errors.
    timeout_s : float
        Longest time without an answer [s].

    Every method raises `ApiError` where the server refuses or cannot be reached. Jobs are
    dictionaries as `docs/openapi.json` describes `JobInfo`.
    """

    def __init__(
        self, address: str, token: str, *, lang: str = "en", timeout_s: float = TIMEOUT_S
    ) -> None:
        self._base = address.rstrip("/") + "/heygem/api/"
        self._headers = {"Authorization": f"token {token}", "Accept-Language": lang}
        self._timeout_s = timeout_s

    def upload(self, path: PathLike) -> str:
        """Send a file in parts, from where an earlier attempt broke off; returns its path there."""
        path = Path(path)
        status = path.stat()
        facts = {"name": path.name, "size": status.st_size, "modified": int(status.st_mtime)}
        upload = self._ask("POST", "uploads", facts)
        answer: dict[str, Any] = {"offset": upload["offset"]}
        with open(path, "rb") as stream:
            while "path" not in answer:
                stream.seek(answer["offset"])
                part, offset = (
                    stream.read(upload["part_bytes"]),
                    {"Upload-Offset": str(answer["offset"])},
                )
                answer = self._ask("PATCH", f"uploads/{upload['id']}", part, **offset)
        return str(answer["path"])

    def submit(
        self, params: dict[str, Any], *, batch: str = "", priority: int = 0, start: bool = True
    ) -> list[dict[str, Any]]:
        """Add a video or a batch, all of it or nothing; returns its jobs.

        Parameters
        ----------
        params : dict
            A recipe, nested or with dotted keys; see `heygem.config.params.Params`.
        batch : str
            A name to follow them by.
        priority : int
            Larger comes first among your own jobs.
        start : bool
            Whether a worker is started where none runs.
        """
        request = {"params": params, "batch": batch, "priority": priority, "start": start}
        return list(self._ask("POST", "jobs", request)["jobs"])

    def jobs(
        self, *, states: tuple[str, ...] = (), batch: str | None = None, limit: int = 100,
        offset: int = 0,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """A page of the list."""
        query = [("state", state) for state in states] + [("limit", limit), ("offset", offset)]
        query += [("batch", batch)] if batch is not None else []
        return list(self._ask("GET", f"jobs?{urllib.parse.urlencode(query)}")["jobs"])

    def job(self, job_id: str) -> dict[str, Any]:
        """One job."""
        return self._ask("GET", f"jobs/{job_id}")

    def batch(self, name: str) -> dict[str, Any]:
        """How many jobs of a batch are in each state, and whether all are finished."""
        return self._ask("GET", f"batches/{urllib.parse.quote(name, safe='')}")

    def cancel(self, job_id: str = "", *, batch: str = "") -> None:
        """Stop a job, or all jobs of a batch."""
        self._act("cancel", job_id, batch)

    def retry(self, job_id: str = "", *, batch: str = "") -> None:
        """Make a failed or cancelled job again, or those of a batch."""
        self._act("retry", job_id, batch)

    def events(
        self, *, job: str | None = None, batch: str | None = None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """What changes, as (kind, data), until all is finished: "job", "summary" and "end"."""
        query = {key: value for key, value in (("job", job), ("batch", batch)) if value is not None}
        with self._open("GET", f"events?{urllib.parse.urlencode(query)}") as stream:
            for kind, text in _parsed(stream):
                data = json.loads(text)
                if kind == "error":
                    raise ApiError(data, 0)
                yield kind, data

    def wait(self, *, job: str | None = None, batch: str | None = None) -> dict[str, Any]:
        """Wait until a job or a batch is finished; returns the job, or the counts of the batch.

        A connection that breaks is opened again.
        """
        while True:
            with contextlib.suppress(OSError):
                for kind, data in self.events(job=job, batch=batch):
                    if kind == "end":
                        return data

    def download(self, job_id: str, target: PathLike) -> Path:
        """Fetch a finished video; it appears under its name when it is whole."""
        with self._open("GET", f"jobs/{job_id}/result") as stream, replacing(target) as staged:
            with open(staged, "wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
            expected = int(stream.headers.get("Content-Length", -1))
            if expected >= 0 and os.path.getsize(staged) != expected:
                raise ApiError({"message": "the video did not arrive whole", "code": "HTTP"}, 0)
        return Path(target)

    def _act(self, action: str, job_id: str, batch: str) -> None:
        if bool(job_id) == bool(batch):
            raise ValueError("name a job or a batch")
        name = urllib.parse.quote(batch, safe="")
        self._ask("POST", f"jobs/{job_id}/{action}" if job_id else f"batches/{name}/{action}")

    def _ask(self, method: str, route: str, body: Any = None, **headers: str) -> dict[str, Any]:
        with self._open(method, route, body, headers) as answer:
            return dict(json.loads(answer.read() or b"{}"))

    def _open(
        self, method: str, route: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> HTTPResponse:
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        more = self._headers | (headers or {})
        if body is not None:
            more = {"Content-Type": "application/octet-stream"} | more
        request = urllib.request.Request(self._base + route, body, more, method=method)
        try:
            answer: HTTPResponse = urllib.request.urlopen(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            raise ApiError(_json(error), error.code) from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            facts = {"message": "the server cannot be reached", "seen": f"{self._base} ({reason})"}
            raise ApiError(facts | {"code": "UNREACHABLE"}, 0) from error
        return answer


def _parsed(stream: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Server-sent events as (kind, data)."""
    kind, data = "message", ""
    for line in stream:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            data += value
        elif not name and data:
            yield kind, data
            kind, data = "message", ""


def _json(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        return dict(json.loads(error.read()))
    except (ValueError, TypeError, OSError):
        return {}
