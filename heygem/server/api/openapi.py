"""The OpenAPI document of the API, made of the models that check its requests.

`python -m heygem.server.api.openapi FILE` writes it; `docs/openapi.json` is such a file.
"""

import sys
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

import heygem
from heygem.batch.queue.job import STATES
from heygem.core.files import write_json
from heygem.core.i18n import LANGUAGES
from heygem.server.api.schemas import DOCUMENTED, MAX_PAGE

LOCAL = "http://127.0.0.1:7860/heygem/api"  # of `heygem studio`
_SCHEMAS = "#/components/schemas/"
_REFUSALS = {
    "400": "The request, a setting or a file is wrong.",
    "403": "No token, or the rules of the installation do not allow it.",
    "404": "There is no such job, batch or upload.",
    "409": "The job is in another state; an upload goes on elsewhere.",
    "503": "The queue cannot be used now.",
    "507": "The disk is full.",
}


def document(server: str = LOCAL) -> dict[str, Any]:
    """The document, OpenAPI 3.1.

    Parameters
    ----------
    server : str
        Address of the API, without a slash at the end.
    """
    _, schemas = models_json_schema(
        [(model, "validation") for model in DOCUMENTED], ref_template=_SCHEMAS + "{model}"
    )
    request = schemas["$defs"]["JobRequest"]["properties"]
    request["params"] = {
        "$ref": _SCHEMAS + "Params",
        "description": request["params"]["description"],
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "heygem",
            "version": heygem.__version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Make people in videos speak new sound: submit jobs to the queue, "
            "follow them, fetch the videos. Errors are `Error` objects in English or Chinese.",
        },
        "servers": [{"url": server}],
        "security": [{"token": []}],
        "paths": {**_job_paths(), **_batch_paths(), **_upload_paths()},
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`token TOKEN`, the token that `heygem studio` prints; on "
                    "JupyterHub one from the hub's page *Token*",
                }
            },
        },
    }


def _job_paths() -> dict[str, Any]:
    pages = [
        _query("state", {"type": "array", "items": {"enum": list(STATES)}}, "only these states"),
        _query("batch", {"type": "string"}, "only this batch"),
        _query("limit", {"type": "integer", "default": 100, "maximum": MAX_PAGE}, "of one page"),
        _query("offset", {"type": "integer", "default": 0}, "jobs before the page"),
    ]
    job = [_in_path("id", "of the job")]
    return {
        "/jobs": {
            "get": _operation("listJobs", "List jobs, in their order.", "Listing", pages),
            "post": _operation(
                "submit", "Add a video or a batch, all of it or nothing.", "Added",
                body="JobRequest", status="201",
            ),
        },
        "/jobs/{id}": {"get": _operation("getJob", "One job.", "JobInfo", job)},
        "/jobs/{id}/cancel": {
            "post": _operation("cancelJob", "Stop a job that waits or runs.", "JobInfo", job)
        },
        "/jobs/{id}/retry": {
            "post": _operation("retryJob", "Make a failed or cancelled job again.", "JobInfo", job)
        },
        "/jobs/{id}/result": {"get": _result(job)},
        "/events": {"get": _events()},
    }  # fmt: skip


def _batch_paths() -> dict[str, Any]:
    batch = [_in_path("batch", "name of the batch")]
    retry = "Make failed and cancelled jobs of a batch again."
    return {
        "/batches/{batch}": {
            "get": _operation("getBatch", "How many jobs are in each state.", "Summary", batch)
        },
        "/batches/{batch}/cancel": {
            "post": _operation("cancelBatch", "Stop all that waits or runs.", "Changed", batch)
        },
        "/batches/{batch}/retry": {"post": _operation("retryBatch", retry, "Changed", batch)},
    }


def _upload_paths() -> dict[str, Any]:
    upload = [_in_path("id", "of the upload")]
    size = {"type": "integer", "minimum": 0}
    announced = _object(id={"type": "string"}, offset=size, part_bytes=size)
    stored = _object(offset=size, path={"type": "string"}, name={"type": "string"})
    stored["required"] = ["offset"]
    offset = {
        "name": "Upload-Offset", "in": "header", "required": True, "schema": size,
        "description": "where the part begins [bytes]",
    }  # fmt: skip
    facts = _object(name={"type": "string"}, size=size, modified={"type": "integer"})
    announce = _operation("announceUpload", "Begin or resume a file.", announced)
    announce["requestBody"] = {"required": True, "content": _json(facts)}
    append = _operation(
        "appendToUpload", "Add a part; with the last one, `path` names the file.", stored,
        [*upload, offset],
    )  # fmt: skip
    part = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    append["requestBody"] = {"required": True, "content": part}
    forget = _operation("forgetUpload", "Remove a file that is not whole.", None, upload, "", "204")
    return {
        "/uploads": {"post": announce},
        "/uploads/{id}": {"patch": append, "delete": forget},
    }


def _operation(
    name: str,
    summary: str,
    answer: str | dict[str, Any] | None,
    parameters: list[dict[str, Any]] | None = None,
    body: str = "",
    status: str = "200",
) -> dict[str, Any]:
    """An operation whose answer is JSON (or nothing) and whose errors are `Error`."""
    success: dict[str, Any] = {"description": "As asked."}
    if answer is not None:
        schema = {"$ref": _SCHEMAS + answer} if isinstance(answer, str) else answer
        success["content"] = _json(schema)
    lang = _query("lang", {"enum": list(LANGUAGES)}, "of errors; default: Accept-Language")
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "parameters": [*(parameters or ()), lang],
        "responses": {status: success, **_refusals()},
    }
    if body:
        content = _json({"$ref": _SCHEMAS + body})
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _result(job: list[dict[str, Any]]) -> dict[str, Any]:
    video = {"video/mp4": {"schema": {"type": "string", "format": "binary"}}}
    operation = _operation("getResult", "The finished video; `Range` names a part.", None, job)
    operation["parameters"].append(
        {"name": "Range", "in": "header", "schema": {"type": "string", "example": "bytes=0-1023"}}
    )
    operation["responses"] |= {
        "200": {"description": "The whole file.", "content": video},
        "206": {"description": "The part.", "content": video},
        "307": {"description": "On JupyterHub: the same token opens the address."},
        "416": {"description": "The file has no such part."},
    }
    return operation


def _events() -> dict[str, Any]:
    parameters = [
        _query("job", {"type": "string"}, "only this job"),
        _query("batch", {"type": "string"}, "only this batch"),
    ]
    operation = _operation(
        "events", "What changes, as server-sent events, until all is finished.", None, parameters
    )
    operation["description"] = (
        "The stream begins with the state as it is. Events: `job` (a `JobInfo`, of jobs that run "
        "or end), `summary` (a `Summary`, not with `job=`), `end` (a `JobInfo` with `job=`, else a "
        "`Summary`; the last event) and `error` (an `Error`)."
    )
    text = {"text/event-stream": {"schema": {"type": "string"}}}
    operation["responses"]["200"] = {"description": "The events.", "content": text}
    return operation


def _refusals() -> dict[str, Any]:
    content = _json({"$ref": _SCHEMAS + "Error"})
    return {status: {"description": text, "content": content} for status, text in _REFUSALS.items()}


def _query(name: str, schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": text}


def _in_path(name: str, text: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": text}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


if __name__ == "__main__":
    target = Path(sys.argv[1]).absolute()
    write_json(target.parent, document(), name=target.name)
