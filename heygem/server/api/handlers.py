"""The API's requests over HTTP; `heygem.server.api.openapi` describes them.

A request is allowed by the server's token (`Authorization: token …`), which needs no XSRF cookie,
or by the login of a page of the same server, which does. Behind JupyterHub the token is the hub's.
"""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from pydantic import BaseModel, ValidationError
from tornado import web
from tornado.iostream import StreamClosedError

from heygem.core.errors import HeygemError, InputError, ParameterError
from heygem.server.api import openapi
from heygem.server.api.events import Changes, follow
from heygem.server.api.operations import Operations
from heygem.server.api.paths import AllowedFolders
from heygem.server.api.schemas import Added, Changed, JobInfo, JobRequest, Listing
from heygem.server.client import PAGE_VARIABLE, HubQueue, open_queue
from heygem.server.json_errors import Error, JsonErrors
from heygem.server.served_file import ServedFile

MAX_REQUEST_BYTES = 8 << 20  # files are sent in parts, see `heygem.server.uploads`
_ID = "([0-9a-zA-Z]{1,32})"


class _Shared(JsonErrors):
    """Has the queue."""

    def initialize(self, shared: "Shared") -> None:
        self.shared = shared

    @property
    def operations(self) -> Operations:
        return self.shared.operations


class _Api(_Shared, APIHandler):
    """A request whose answer is JSON."""

    async def call(self, function: Callable[..., Any], *values: Any, **named: Any) -> Any:
        """Call something slow in a thread."""
        return await asyncio.to_thread(function, *values, **named)

    def body(self) -> dict[str, Any]:
        """The request's JSON object; empty without one.

        Raises
        ------
        InputError
        """
        content = self.request.body
        if len(content) > MAX_REQUEST_BYTES:
            raise InputError("the request is too large", seen=f"{len(content) / 2**20:.1f} MB")
        try:
            body = json.loads(content) if content.strip() else {}
        except ValueError as error:
            raise InputError("the request is no JSON", seen=error) from error
        if not isinstance(body, dict):
            raise InputError("the request is no JSON object", seen=type(body).__name__)
        return body

    def answer(self, model: BaseModel, status: int = 200) -> None:
        """Send an answer."""
        self.set_status(status)
        self.finish(model.model_dump_json())

    def number(self, name: str, default: int) -> int:
        """A whole number of the query.

        Raises
        ------
        ParameterError
        """
        text = self.get_query_argument(name, str(default))
        if not text.lstrip("-").isdecimal():
            raise ParameterError(f"{name} is a whole number", seen=text)
        return int(text)


class DocumentHandler(_Api):
    """The OpenAPI document."""

    @web.authenticated
    def get(self) -> None:
        """With the address of this server."""
        self.finish(json.dumps(openapi.document(self.request.path.rpartition("/")[0])))


class JobsHandler(_Api):
    """The jobs: to list and to add."""

    @web.authenticated
    async def get(self) -> None:
        """A page of the list."""
        jobs, summary = await self.call(
            self.operations.jobs,
            states=[state for state in self.get_query_arguments("state") if state],
            batch=self.get_query_argument("batch", None),
            limit=self.number("limit", 100),
            offset=self.number("offset", 0),
        )
        infos = [JobInfo.of(job, self.lang) for job in jobs]
        self.answer(Listing(**summary.model_dump(), jobs=infos))

    @web.authenticated
    async def post(self) -> None:
        """Add what a recipe says, all of it or nothing."""
        try:
            request = JobRequest.model_validate(self.body())
        except ValidationError as error:
            raise _as_parameter_error(error) from error
        jobs = await self.call(self.operations.submit, request)
        self.answer(Added(jobs=[JobInfo.of(job, self.lang) for job in jobs]), 201)


class JobHandler(_Api):
    """One job."""

    @web.authenticated
    async def get(self, job_id: str) -> None:
        """As it is now."""
        job = await self.call(self.operations.get, job_id)
        self.answer(JobInfo.of(job, self.lang))


class JobActionHandler(_Api):
    """Cancels a job, or makes it again."""

    @web.authenticated
    async def post(self, job_id: str, action: str) -> None:
        """`cancel` or `retry`; answers with the job."""
        job = await self.call(getattr(self.operations, action), job_id)
        self.answer(JobInfo.of(job, self.lang))


class BatchHandler(_Api):
    """The counts of a batch."""

    @web.authenticated
    async def get(self, batch: str) -> None:
        """As they are now."""
        self.answer(await self.call(self.operations.require_batch, batch))


class BatchActionHandler(_Api):
    """Cancels a batch, or makes again what failed."""

    @web.authenticated
    async def post(self, batch: str, action: str) -> None:
        """`cancel` or `retry`; answers with the number of jobs."""
        changed = await self.call(getattr(self.operations, f"{action}_batch"), batch)
        self.answer(Changed(changed=changed))


class EventsHandler(_Api):
    """What changes, as server-sent events."""

    _track_activity = False  # an idle server may be ended, whoever watches it

    @web.authenticated
    async def get(self) -> None:
        """Events until all is finished, or the other side has gone."""
        job_id, batch = (self.get_query_argument(name, None) for name in ("job", "batch"))
        if job_id is not None and batch is not None:
            raise ParameterError("give `job` or `batch`, not both", seen=f"{job_id}, {batch}")
        if batch is not None:
            await self.call(self.operations.require_batch, batch)
        changes = Changes(self.operations, job_id=job_id, batch=batch, lang=self.lang)
        try:
            async for event in follow(changes):
                if not self._headers_written:
                    self._begin()
                self.write(_as_text(event.kind, event.data))
                await self.flush()
        except StreamClosedError:
            return
        except HeygemError as error:
            if not self._headers_written:
                raise
            answer = Error.of_error(error, self.lang)
            self.write(_as_text("error", answer.model_dump()))
        self.finish()

    def _begin(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # nginx passes each event on at once

    def finish(self, *values: Any, **named: Any) -> Any:
        """As JSON only where no event was sent."""
        if self._headers_written:
            return super(APIHandler, self).finish(*values, **named)
        return super().finish(*values, **named)


class ResultHandler(_Shared, ServedFile):
    """A finished video; plays from any position, and a broken download goes on."""

    def initialize(self, shared: "Shared") -> None:  # type: ignore[override]
        ServedFile.initialize(self)
        self.shared = shared

    @web.authenticated
    async def get(self, job_id: str, include_body: bool = True) -> None:  # type: ignore[override]
        """The file, or the part that `Range` names."""
        self.check_xsrf_cookie()
        if isinstance(self.operations.queue, HubQueue):  # it lies with the hub's service
            page = os.environ.get(PAGE_VARIABLE, "/services/heygem/")
            return self.redirect(f"{page}results/{job_id}/video", status=307)
        path = await asyncio.to_thread(self.operations.result, job_id)
        name = quote(path.name)
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{name}")
        await self.send(path, include_body)


class UnknownHandler(_Api):
    """Any other address below the API's."""

    @web.authenticated
    def refuse(self) -> None:
        """Refuse."""
        raise web.HTTPError(404)

    get = post = put = patch = delete = refuse


class Shared:
    """What the handlers have in common; the queue is opened with the first request.

    Parameters
    ----------
    root : Path
        The served folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._operations: Operations | None = None

    @property
    def operations(self) -> Operations:
        """Opened once: a server that nobody asks makes no database."""
        if self._operations is None:
            self._operations = Operations(open_queue(), AllowedFolders(self._root))
        return self._operations


def handlers(base_url: str, root: Path) -> list[tuple]:
    """The routes, for `tornado.web.Application.add_handlers`; after those of the uploads."""
    shared = {"shared": Shared(root)}
    batch = "([^/]{1,400})"
    routes: list[tuple[str, type]] = [
        ("openapi.json", DocumentHandler),
        ("jobs", JobsHandler),
        (f"jobs/{_ID}", JobHandler),
        (f"jobs/{_ID}/(cancel|retry)", JobActionHandler),
        (f"jobs/{_ID}/result", ResultHandler),
        (f"batches/{batch}", BatchHandler),
        (f"batches/{batch}/(cancel|retry)", BatchActionHandler),
        ("events", EventsHandler),
        (".*", UnknownHandler),
    ]
    api = url_path_join(base_url, "heygem/api")
    return [(f"{api}/{route}", handler, shared) for route, handler in routes]


def _as_parameter_error(error: ValidationError) -> ParameterError:
    """The first thing that is wrong, in one line."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return ParameterError(
        "the request has another form than the API takes",
        seen=f"{place}: {first['msg']}",
        remedy="see heygem/api/openapi.json",
    )


def _as_text(kind: str, data: dict[str, Any]) -> str:
    """A server-sent event; one that only keeps the connection open is a comment."""
    if kind == "alive":
        return ": alive\n\n"
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
