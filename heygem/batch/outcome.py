"""What became of one item, in this process and on its way from the process that made it."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from heygem.core.errors import HeygemError
from heygem.core.files import is_address

if TYPE_CHECKING:
    from heygem.batch.queue.job import Job
    from heygem.config.params import Params

Status = Literal["done", "skipped", "failed", "cancelled"]


@dataclass(frozen=True)
class Outcome:
    """Result of one item.

    Attributes
    ----------
    speech : str
        Audio file, or the text that is spoken.
    params : Params
        The item's own recipe.
    error, code : str
        One-line message and error code of a failed item; else empty.
    reason : dict
        The error in its parts (what, seen, remedy), where known.
    bad_input : bool
        Whether the item failed because of its inputs or settings.
    seconds : float
        Processing time.
    manifest : dict
        Of a done or skipped item; else empty.
    """

    name: str
    video: Path
    status: Status
    speech: str = ""
    params: "Params | None" = field(default=None, repr=False)
    output: Path | None = None
    details: Path | None = None
    error: str = ""
    code: str = ""
    reason: dict[str, str] = field(default_factory=dict, repr=False)
    bad_input: bool = False
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    manifest: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def identity(self) -> str:
        """See `heygem.batch.item.manifest.item_id`; empty for an item that is not finished."""
        return str(self.manifest.get("id", ""))

    @property
    def source(self) -> str:
        """Where the video is: a path, or an address in a store, which no `Path` holds."""
        videos = self.params.inputs.videos if self.params is not None else []
        return videos[0] if videos and is_address(videos[0]) else str(self.video)

    @property
    def result(self) -> str:
        """Where the result is, likewise; empty where there is none."""
        if self.output is None:
            return ""
        folder = self.params.inputs.output if self.params is not None else ""
        if not is_address(folder):
            return str(self.output)
        return f"{folder.rstrip('/')}/{self.output.name}"

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by stage, of an item that was made now."""
        return dict(self.manifest.get("timings", {})) if self.status == "done" else {}

    @classmethod
    def of_job(
        cls, job: "Job", status: Status, error: HeygemError | None = None, **facts: Any
    ) -> "Outcome":
        """The outcome of a job that has no result, or none yet.

        Parameters
        ----------
        job : Job
        status : str
        error : HeygemError, optional
            Why it ended.
        facts
            Other attributes; they stand before those of the error.
        """
        facts = (error_facts(error) if error is not None else {}) | facts
        speech = job.audio or job.text
        return cls(job.name, Path(job.video), status, speech=speech, **facts)

    def message(self) -> dict[str, Any]:
        """As plain values for another process: without the recipe, with the essential facts."""
        message = {each.name: getattr(self, each.name) for each in fields(self)}
        del message["params"]
        facts = {key: self.manifest[key] for key in ("id", "timings") if key in self.manifest}
        paths = ("video", "output", "details")
        message |= {key: str(message[key]) for key in paths if message[key] is not None}
        return message | {"manifest": facts}

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> "Outcome":
        """The outcome that another process has described with `message`."""
        paths = {
            key: Path(message[key])
            for key in ("video", "output", "details")
            if message.get(key) is not None
        }
        return cls(**{**message, **paths, "warnings": tuple(message["warnings"])})


def error_facts(error: HeygemError) -> dict[str, Any]:
    """The attributes of an `Outcome` that describe an error: `error`, `code` and `reason`."""
    return {"error": str(error), "code": error.code, "reason": error.parts}
