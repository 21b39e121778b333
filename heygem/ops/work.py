"""What was made: the items of the queue, and those of results folders that went past it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from heygem.batch.items import DETAILS
from heygem.batch.queue import JobQueue, default_path
from heygem.batch.queue.job import Job
from heygem.core.files import read_json
from heygem.core.types import PathLike

UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class WorkItem:
    """One item and what became of it.

    Attributes
    ----------
    name, owner, batch : str
    state : str
        As of `heygem.batch.queue.job.Job`.
    finished : float
        Unix time [s]; 0 while it is not finished.
    seconds : float
        Processing time of the last attempt.
    length_s : float
        Length of the video that was made, about; 0 where unknown.
    code, message, remedy : str
        Of a failed item.
    device : str
        "cpu" or "cuda"; "" where unknown.
    attempts : int
    timings : dict
        Seconds by stage, of an item that was made.
    warnings : int
        How many.
    output : str
        Absolute path.
    """

    name: str
    state: str
    finished: float
    seconds: float
    length_s: float
    owner: str = ""
    batch: str = ""
    code: str = ""
    message: str = ""
    remedy: str = ""
    device: str = ""
    attempts: int = 1
    timings: dict[str, float] = field(default_factory=dict)
    warnings: int = 0
    output: str = ""

    @property
    def was_made(self) -> bool:
        """Whether it is done and was made now; an item that was there already took no time."""
        return self.state == "done" and bool(self.timings)


def open_queue(path: PathLike | None = None) -> JobQueue | None:
    """The project's queue, or the one at a path; None where there is none: a reader makes none."""
    path = Path(path) if path is not None else default_path()
    return JobQueue(path) if path.is_file() else None


def queue_items(
    queue: JobQueue | None, *, since: float = 0.0, until: float = 1e12
) -> list[WorkItem]:
    """Items of the queue that were finished in a time, oldest first; Unix times [s]."""
    if queue is None:
        return []
    jobs = queue.jobs(states=("done", "failed", "cancelled"))
    chosen = [from_job(job) for job in jobs if since <= job.finished < until]
    return sorted(chosen, key=lambda item: item.finished)


def from_job(job: Job) -> WorkItem:
    """A job of the queue; the device is read from its manifest."""
    output = Path(job.output)
    manifest = _manifest_of(output, job.name) if job.state == "done" else {}
    length_s = (manifest.get("output") or {}).get("duration_s") or job.length_s
    return WorkItem(
        name=job.name,
        state=job.state,
        finished=job.finished,
        seconds=job.seconds,
        length_s=float(length_s),
        owner=job.owner,
        batch=job.batch,
        code=job.error.get("code", UNKNOWN) if job.state == "failed" else "",
        message=job.error.get("what", ""),
        remedy=job.error.get("remedy", ""),
        device=str(manifest.get("device", "")),
        attempts=max(job.attempts, 1),
        timings=dict(job.timings),
        warnings=len(job.warnings),
        output=job.output,
    )


def folder_items(
    folders: Iterable[PathLike], *, since: float = 0.0, until: float = 1e12
) -> list[WorkItem]:
    """Finished items of results folders, from their manifests; failed ones leave none."""
    items = []
    for folder in folders:
        for details in sorted((Path(folder) / DETAILS).glob("*")):
            content = read_json(details) if details.is_dir() else None
            item = _from_manifest(details, content) if content else None
            if item is not None and since <= item.finished < until:
                items.append(item)
    return items


def together(queue: Sequence[WorkItem], folders: Sequence[WorkItem]) -> list[WorkItem]:
    """Items of both, each once; the queue knows more."""
    outputs = {item.output for item in queue}
    items = [*queue, *(item for item in folders if item.output not in outputs)]
    return sorted(items, key=lambda item: item.finished)


def _from_manifest(details: Path, content: dict[str, Any]) -> WorkItem | None:
    """None for an item that was begun only, or a manifest that cannot be used."""
    try:
        timings = {key: float(value) for key, value in (content.get("timings") or {}).items()}
        return WorkItem(
            name=str(content["name"]),
            state="done",
            finished=datetime.fromisoformat(content["finished"]).timestamp(),
            seconds=sum(value for key, value in timings.items() if key.endswith("_s")),
            length_s=float(content["output"]["duration_s"] or 0),
            device=str(content.get("device", "")),
            timings=timings,
            warnings=len(content.get("warnings", ())),
            output=str((details / content["output"]["file"]).resolve()),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _manifest_of(output: Path, name: str) -> dict[str, Any]:
    return read_json(output.parent / DETAILS / name) or {}
