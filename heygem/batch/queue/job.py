"""A job of the queue: one item, where it stands, and what became of it."""

import json
import textwrap
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from heygem.batch.items import Item

State = Literal["pending", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = ("pending", "running", "done", "failed", "cancelled")
OPEN: tuple[State, ...] = ("pending", "running")
FINISHED: tuple[State, ...] = ("done", "failed", "cancelled")


class Signal(Enum):
    """What a heartbeat tells the worker about the job that it makes."""

    CONTINUE = "continue"
    CANCEL = "cancel"  # stop it; `finish` it as cancelled
    PAUSE = "pause"  # the queue is paused: finish this job, `claim` returns no other
    LOST = "lost"  # somebody else holds the job by now, or it is gone: stop it, record nothing


class Job(NamedTuple):
    """One video to make. A tuple, because lists of thousands are read again and again.

    Attributes
    ----------
    id : str
    batch, owner : str
        Name of the batch, empty for a single item; who added it.
    priority : int
        Larger comes first among the jobs of one owner.
    position : float
        Order in the list, smaller comes first.
    created, started, finished : float
        Unix times [s]; 0 where it has not happened.
    state : str
        One of `STATES`.
    attempts : int
        How often it was begun, interruptions by the user or a shutdown not counted.
    losses : int
        How often the process that supervised it was gone, or somebody killed the one that made it.
    not_before : float
        Unix time [s] of the next attempt, 0 for now.
    worker : str
        Who makes it; empty where nobody does.
    process : dict
        The process of that worker; see `heygem.batch.queue.process`.
    stopping : bool
        Whether it runs and was cancelled.
    name : str
        Of the result, without suffix; see `heygem.batch.items.Item`.
    title : str
        The name that its table gave it; else empty.
    video, audio, text : str
        Absolute path; absolute path, or empty where the text is spoken.
    output : str
        Absolute path of the result.
    folder : str
        Folder in which it was added; other relative paths in its recipe start from there.
    length_s : float
        Length of the speech, about; 0 where unknown.
    identity : str
        See `heygem.batch.item.manifest.item_id`; known once it was made.
    error : dict
        Of a failed job, or the last attempt: code, and the parts of the error (what, seen,
        remedy).
    history : tuple of str
        One line for each attempt that failed.
    warnings : tuple of str
    progress : dict
        Of a running job: stage, done, total; fraction, left_s and elapsed_s over all stages.
    timings : dict
        Seconds by stage, of a job that is done.
    smaller : dict
        Settings that replace those of the recipe after memory ran out.
    seconds : float
        Processing time of the last attempt.
    params : dict
        The recipe; see `heygem.config.params.Params.tree`. Empty in lists.
    """

    id: str
    batch: str
    owner: str
    priority: int
    position: float
    created: float
    state: State
    attempts: int
    losses: int
    not_before: float
    worker: str
    process: dict[str, Any]
    stopping: bool
    name: str
    title: str
    video: str
    audio: str
    text: str
    output: str
    folder: str
    length_s: float
    identity: str
    error: dict[str, str]
    history: tuple[str, ...]
    warnings: tuple[str, ...]
    progress: dict[str, Any]
    timings: dict[str, float]
    smaller: dict[str, Any]
    seconds: float
    started: float
    finished: float
    params: dict[str, Any]

    @property
    def open(self) -> bool:
        """Whether it is not finished: pending or running."""
        return self.state in OPEN

    @property
    def spoken(self) -> str:
        """Name of the audio file, or the beginning of the text; for display."""
        return Path(self.audio).name if self.audio else f"“{textwrap.shorten(self.text, 40)}”"

    @property
    def label(self) -> str:
        """Short name for display."""
        return self.title or f"{Path(self.video).name} ← {self.spoken}"

    @property
    def message(self) -> str:
        """The error as one line; empty without one."""
        parts = [self.error.get("what", "")]
        parts += [f"seen: {self.error['seen']}"] if "seen" in self.error else []
        parts += [self.error["remedy"]] if "remedy" in self.error else []
        return "; ".join(part for part in parts if part)

    def item(self) -> "Item":
        """What is to be made; needs `params`, which a job out of a list does not have.

        Raises
        ------
        ParameterError
            The recipe does not fit this version.
        """
        from heygem.batch.items import DETAILS, Item
        from heygem.config.params import Params

        if not self.params:
            raise ValueError("a job out of a list has no recipe: use JobQueue.get")
        params = Params.from_dict(self.params).override(self.smaller)
        folder = Path(params.inputs.output)
        return Item(
            self.name,
            Path(params.inputs.videos[0]),
            folder / Path(self.output).name,
            folder / DETAILS / self.name,
            params,
        )


#: The columns of a job in the order of its fields; a list has no recipes.
COLUMNS = ", ".join(name for name in Job._fields if name != "params")
_OBJECTS = ("error", "progress", "timings", "smaller", "process")
_LISTS = ("history", "warnings")
_PLACES: list[tuple[int, Any]] = [(Job._fields.index(name), {}) for name in _OBJECTS]
_PLACES += [(Job._fields.index(name), ()) for name in _LISTS]
_STOPPING = Job._fields.index("stopping")


def read_row(row: Sequence[Any]) -> Job:
    """The job in a row of `COLUMNS`, followed by its recipe or nothing."""
    values = list(row)
    for place, empty in _PLACES:
        values[place] = type(empty)(json.loads(values[place])) if values[place] else empty
    values[_STOPPING] = bool(values[_STOPPING])
    if len(values) < len(Job._fields):
        values.append("")
    values[-1] = json.loads(values[-1]) if values[-1] else {}
    return Job._make(values)


def plain(content: Any) -> str:
    """JSON text of a dictionary or list, the same for equal ones; empty for an empty one.

    Names of files that are not UTF-8 keep their bytes.
    """
    if not content:
        return ""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)


def storable(text: str) -> str:
    """Text for a column that people read; a recipe keeps the bytes of names that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
