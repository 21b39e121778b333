"""Requests of programs to the queue's service: files on their way in, jobs, the user's quota.

A studio sends them with the token that the hub gave to its server, and the hub says whose it is.
"""

import asyncio
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from jupyterhub.services.auth import HubAuth, HubOAuthenticated
from tornado import web
from tornado.escape import json_decode
from tornado.http1connection import HTTP1Connection

from heygem.batch.queue.job import Job, State
from heygem.core.errors import ConsentError, HeygemError, InputError, PolicyError
from heygem.provenance import keys
from heygem.provenance.ledger import Ledger, acting_as
from heygem.server import quota, requests
from heygem.server.inputs import InputStore, Upload
from heygem.server.served_queue import ServedQueue

_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


class Service:
    """What the handlers share.

    Parameters
    ----------
    queue : heygem.server.served_queue.ServedQueue
    """

    def __init__(self, queue: ServedQueue) -> None:
        self.queue, self.rules, self.results = queue, queue.rules, queue.results
        limits = self.rules.policy.limits
        self.inputs = InputStore(
            queue.state / "inputs", upload_mb=limits.upload_mb, stored_mb=limits.stored_mb
        )
        Ledger(keys=keys.ensure())  # what is wrong with it shows at the start

    def submit(self, owner: str, request: dict[str, Any]) -> list[Job]:
        """Queue what a user asks for; see `heygem.server.requests`."""
        items = requests.read_items(request, owner, self.rules, self.inputs, self.results)
        return self.queue.add(items, owner=owner, batch=_batch(owner, request.get("batch", "")))

    def clean(self) -> None:
        """Remove inputs that no job needs."""
        jobs = self.queue.jobs()
        self.inputs.remove_unused({Path(path) for job in jobs for path in (job.video, job.audio)})


class BaseHandler(HubOAuthenticated, web.RequestHandler):
    """A request of somebody whom the hub names; the hub is asked without blocking others."""

    def initialize(self, service: Service) -> None:
        self.service = service

    def set_default_headers(self) -> None:
        for name, value in _SECURITY.items():
            self.set_header(name, value)

    async def prepare(self) -> None:
        await self.hub_auth.get_user(self, sync=False)  # the answer is kept for `current_user`
        if self.current_user is not None and self.current_user.get("kind") != "user":
            raise web.HTTPError(403)

    @property
    def user(self) -> str:
        """Name of the user."""
        return str(self.current_user["name"])

    @property
    def reviews(self) -> bool:
        """Whether the user is a reviewer, who sees the results of all."""
        return self.service.rules.policy.reviewers in self.current_user.get("groups", ())

    async def call(self, function: Callable[..., Any], *values: Any) -> Any:
        """Call something slow in a thread, in which rows of the ledger name the user."""
        with acting_as(self.user):
            return await asyncio.to_thread(function, *values)

    def job(self, job_id: str, *, to_read: bool = False) -> Job:
        """A job of this user, or to read any for a reviewer; others are as if they were not there.

        Raises
        ------
        InputError
        """
        job = self.service.queue.get(job_id)
        if job.owner == self.user or (to_read and self.reviews):
            return job
        raise InputError("there is no such job", seen=job_id)


class ApiHandler(BaseHandler):
    """A request of a program, with a token in its header; a browser's cookie does not count."""

    @property
    def hub_auth(self) -> HubAuth:
        """`HubOAuth`, which looks at cookies too, is for browsers."""
        return _token_auth()

    def check_xsrf_cookie(self) -> None:
        pass  # no cookie is looked at, so that no page of another site can use it

    async def prepare(self) -> None:
        await super().prepare()
        if self.current_user is None:
            raise web.HTTPError(403)

    def write_error(self, status_code: int, **details: Any) -> None:
        error = details.get("exc_info", (None, None))[1]
        if isinstance(error, HeygemError):
            self.set_status(403 if isinstance(error, PolicyError | ConsentError) else 400)
            self.finish({"error": {"code": error.code, **error.parts}})
        else:
            self.finish({"error": {"code": "ERROR", "what": self._reason}})

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        if not isinstance(error, HeygemError):
            super().log_exception(kind, error, trace)


@web.stream_request_body
class InputHandler(ApiHandler):
    """A file on its way into the user's inputs."""

    _upload: Upload | None = None

    async def prepare(self) -> None:
        await super().prepare()
        if self.request.method == "PUT":
            name = self.path_args[0]
            size = int(self.request.headers.get("Content-Length", -1))
            if size < 0:
                raise web.HTTPError(411)
            self._upload = self.service.inputs.receive(self.user, name, size)
            connection = cast(HTTP1Connection, self.request.connection)
            connection.set_max_body_size(size)  # after the headers, before the body

    def data_received(self, chunk: bytes) -> None:
        if self._upload is not None:
            self._upload.write(chunk)

    async def put(self, name: str) -> None:
        upload, self._upload = self._upload, None
        assert upload is not None  # `prepare` made it
        await self.call(upload.finish)
        self.finish({"input": name})

    def get(self, name: str) -> None:
        """Whether the file is there; with `size`, also whether it would be accepted."""
        size = self.get_query_argument("size", "")
        if size.isdigit():
            self.service.inputs.check(self.user, name, int(size))
        self.service.inputs.path(self.user, name)
        self.finish({"input": name})

    def on_finish(self) -> None:
        self.on_connection_close()

    def on_connection_close(self) -> None:
        if self._upload is not None:
            self._upload.abandon()
            self._upload = None


class JobsHandler(ApiHandler):
    """The user's jobs: to list and to add."""

    async def get(self) -> None:
        owner = self.get_query_argument("owner", self.user)
        if owner != self.user and not self.reviews:
            raise PolicyError("only reviewers see the jobs of others", seen=owner)
        states = [state for state in self.get_query_argument("states", "").split(",") if state]
        limit = int(self.get_query_argument("limit", "1000"))
        offset = int(self.get_query_argument("offset", "0"))
        name = self.get_query_argument("batch", None)
        batch = None if name is None else _batch(self.user, name)
        jobs = await self.call(
            partial(
                self.service.queue.jobs,
                owner=None if owner == "*" else owner,
                states=cast(list[State], states) or None,
                batch=batch,
                limit=min(max(limit, 0), 5000),
                offset=max(offset, 0),
            )
        )
        counts = await self.call(partial(self.service.queue.counts, owner=self.user, batch=batch))
        paused = await self.call(self.service.queue.paused)
        self.finish({"jobs": [_plain(job) for job in jobs], "counts": counts, "paused": paused})

    async def post(self) -> None:
        jobs = await self.call(self.service.submit, self.user, _body(self))
        self.set_status(201)
        self.finish({"jobs": [_plain(job) for job in jobs]})


class JobHandler(ApiHandler):
    """One job: to read and to change."""

    ACTIONS = ("cancel", "retry", "remove")

    async def get(self, job_id: str) -> None:
        job = await self.call(partial(self.job, to_read=True), job_id)
        self.finish({"job": _plain(job)})

    async def post(self, job_id: str) -> None:
        action = _body(self).get("action")
        if action not in self.ACTIONS:
            raise InputError("there is no such action", seen=action)
        job = await self.call(self.job, job_id)
        await self.call(getattr(self.service.queue, action), job.id)
        self.finish({})


class UsageHandler(ApiHandler):
    """What the user may still do: quota, limits, and whether the agreement is missing."""

    async def get(self) -> None:
        rules, ledger = self.service.rules, Ledger(keys=keys.ensure())
        self.finish(
            {
                "agreed": await self.call(rules.has_agreed, ledger, self.user),
                "used": await self.call(quota.usage, ledger, self.user),
                "quota": rules.policy.quota.model_dump(),
                "limits": rules.policy.limits.model_dump(),
            }
        )


@cache
def _token_auth() -> HubAuth:
    """Asks the hub whose a token is."""
    return HubAuth()


def _body(handler: ApiHandler) -> dict[str, Any]:
    try:
        body = json_decode(handler.request.body)
    except ValueError as error:
        raise InputError("the request is no JSON") from error
    if not isinstance(body, dict):
        raise InputError("the request is no JSON object")
    return body


def _batch(owner: str, name: str) -> str:
    """Name of a user's batch in the queue, where no two users have the same."""
    return f"{owner}: {name}" if name else ""


def _plain(job: Job) -> dict[str, Any]:
    """A job for its owner, without the recipe and the service's processes."""
    batch = job.batch.removeprefix(f"{job.owner}: ")
    return job._asdict() | {"params": {}, "process": {}, "worker": "", "batch": batch}
