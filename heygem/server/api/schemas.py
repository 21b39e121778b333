"""What the API takes and gives, as pydantic models; the OpenAPI document is made of them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from heygem.batch.queue.job import OPEN, Job, State
from heygem.config.params import Params
from heygem.server.json_errors import Error

MAX_PAGE = 1000


class JobRequest(BaseModel):
    """What is to be made: one video, or a batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    params: dict[str, Any] = Field(
        description="a recipe, as `heygem generate --params` reads it from YAML: sections nested, "
        "or keys dotted as in `lips.openness_gain`. Relative paths start from the served folder",
    )
    batch: str = Field(
        "", max_length=120, description="a name for these videos together, to follow them by"
    )
    priority: int = Field(
        0, ge=-1000, le=1000, description="larger comes first among your own jobs"
    )
    start: bool = Field(
        True, description="start a worker where none runs; on JupyterHub workers always run"
    )


class Progress(BaseModel):
    """How far a running job is."""

    stage: str = Field(description="such as track, render, label, verify")
    done: int = Field(0, description="steps of the stage that are done")
    total: int = Field(0, description="steps of the stage; 0 where unknown")
    left_s: float | None = Field(None, description="estimated time left over all stages [s]")
    elapsed_s: float | None = Field(None, description="time since the job began [s]")


class JobInfo(BaseModel):
    """One video: where it stands, and what became of it."""

    id: str
    batch: str = Field(description="name of its batch; empty for none")
    name: str = Field(description="name of the result, without suffix")
    state: State
    stopping: bool = Field(description="it runs, and was cancelled")
    priority: int
    video: str = Field(description="path of the person's video")
    audio: str = Field(description="path of the sound; empty where a text is spoken")
    text: str
    created: float = Field(description="Unix time [s]")
    started: float | None = Field(description="Unix time [s]")
    finished: float | None = Field(description="Unix time [s]")
    seconds: float = Field(description="processing time of the last attempt [s]")
    attempts: int
    progress: Progress | None
    error: Error | None = Field(description="of a failed job, or of its last attempt")
    warnings: tuple[str, ...]
    output: str = Field(description="path of the result on the server")
    result: str | None = Field(
        description="address of the finished video, relative to the API's; null before"
    )

    @classmethod
    def of(cls, job: Job, lang: str) -> "JobInfo":
        """A job of the queue, with its error in a language."""
        progress = {name: job.progress.get(name) for name in Progress.model_fields}
        has_progress = job.state == "running" and progress["stage"]
        same = {name: getattr(job, name) for name in _SAME}
        return cls(
            **same,
            started=job.started or None,
            finished=job.finished or None,
            progress=Progress.model_validate(progress) if has_progress else None,
            error=Error.of(job.error, job.error.get("code", ""), lang) if job.error else None,
            result=f"jobs/{job.id}/result" if job.state == "done" else None,
        )


_SAME = (
    "id", "batch", "name", "state", "stopping", "priority", "video", "audio", "text", "created",
    "seconds", "attempts", "warnings", "output",
)  # fmt: skip


class Added(BaseModel):
    """The jobs of a request, in its order."""

    jobs: list[JobInfo]


class Summary(BaseModel):
    """How many jobs of a batch, or of the queue, are in each state."""

    batch: str = Field(description="name of the batch; empty for the whole queue")
    counts: dict[State, int]
    finished: bool = Field(description="whether none waits or runs")
    paused: str = Field(description="why no job is begun; empty where the queue is not paused")

    @classmethod
    def of(cls, counts: dict[State, int], *, batch: str, paused: str) -> "Summary":
        """From the counts of the queue."""
        finished = not any(counts.get(state, 0) for state in OPEN)
        return cls(batch=batch, counts=counts, finished=finished, paused=paused)


class Listing(Summary):
    """A page of jobs in their order, and how many there are in all."""

    jobs: list[JobInfo]


class Changed(BaseModel):
    """How many jobs were changed."""

    changed: int


#: In the document beside those above; `Params` is what `JobRequest.params` is checked against.
DOCUMENTED = (JobRequest, Params, Added, JobInfo, Listing, Summary, Changed, Error)
