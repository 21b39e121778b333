"""Errors of requests as JSON: code, message, seen, remedy and lang; never a traceback."""

from typing import Any, Literal

from jupyter_server.base.handlers import JupyterHandler
from pydantic import BaseModel, Field
from tornado import web

from heygem.core.error_texts import localized
from heygem.core.errors import (
    ConsentError,
    HeygemError,
    InputError,
    LimitError,
    OutputError,
    ParameterError,
    PolicyError,
)
from heygem.core.i18n import LANGUAGES, language


class MissingError(InputError):
    """There is no such job, batch or upload."""

    code = "NOT_FOUND"


class StateError(HeygemError):
    """What is asked for cannot be done in the state in which it is."""

    code = "WRONG_STATE"


class Error(BaseModel):
    """Why something failed, and what to do."""

    code: str = Field(description="stable name of the kind of error, such as BAD_PARAMETER")
    message: str = Field(description="what failed")
    seen: str | None = Field(None, description="the offending value")
    remedy: str | None = Field(None, description="what to do")
    lang: Literal["en", "zh"] = Field("en", description="language of message and remedy")

    @classmethod
    def of(cls, parts: dict[str, str], code: str, lang: str) -> "Error":
        """From the parts of a `HeygemError`, in a language."""
        remedy = parts.get("remedy")
        return cls(
            code=code,
            message=localized(parts.get("what", ""), lang),
            seen=parts.get("seen"),
            remedy=remedy and localized(remedy, lang),
            lang="zh" if lang == "zh" else "en",
        )

    @classmethod
    def of_error(cls, error: HeygemError, lang: str) -> "Error":
        """From an error, in a language."""
        return cls.of(error.parts, error.code, lang)


class JsonErrors(JupyterHandler):
    """Answers every error as `Error`, in the language of the request; never a traceback."""

    @property
    def lang(self) -> str:
        """`?lang=`, else the first language of `Accept-Language` that there is."""
        wishes = [self.get_query_argument("lang", ""), *_accepted(self.request.headers)]
        return next((wish for wish in wishes if wish in LANGUAGES), language())

    def write_error(self, status_code: int, **details: Any) -> None:
        error = details.get("exc_info", (None, None, None))[1]
        self.set_header("Content-Type", "application/json")
        if isinstance(error, HeygemError):
            self.set_status(_status(error))
            answer = Error.of_error(error, self.lang)
        elif isinstance(error, web.HTTPError):
            answer = self._refusal(error)
        else:
            what = "an unexpected error happened on the server"
            parts = {"what": what, "remedy": "the server's log has the details"}
            answer = Error.of(parts, "INTERNAL", self.lang)
        self.finish(answer.model_dump_json())

    def _refusal(self, error: web.HTTPError) -> Error:
        code, what, remedy = _REFUSALS.get(error.status_code, ("HTTP", error.reason or "", ""))
        what = what or str(error.log_message or error.reason or f"HTTP {error.status_code}")
        parts = {"what": what, "seen": f"{self.request.method} {self.request.path}"}
        return Error.of(parts | ({"remedy": remedy} if remedy else {}), code, self.lang)

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        if not isinstance(error, HeygemError):
            super().log_exception(kind, error, trace)


_REFUSALS = {
    403: (
        "FORBIDDEN",
        "the token is missing or wrong",
        "send the header `Authorization: token TOKEN`; heygem studio prints it",
    ),
    404: ("NO_SUCH_ADDRESS", "there is no such address", "heygem/api/openapi.json lists them"),
    405: ("WRONG_METHOD", "this method is not known here", "heygem/api/openapi.json lists them"),
}


def _status(error: HeygemError) -> int:
    if isinstance(error, StateError):
        return 409
    if isinstance(error, PolicyError | ConsentError):
        return 403
    if isinstance(error, OutputError):
        return 507
    if isinstance(error, MissingError):
        return 404
    return 400 if isinstance(error, InputError | ParameterError | LimitError) else 503


def _accepted(headers: Any) -> list[str]:
    """Languages of `Accept-Language`, the most wanted first."""
    weighted = []
    for part in headers.get("Accept-Language", "").split(","):
        tag, _, quality = part.partition(";q=")
        try:
            weighted.append((-float(quality or 1), tag.strip()[:2].lower()))
        except ValueError:
            continue
    return [tag for _, tag in sorted(weighted, key=lambda pair: pair[0])]
