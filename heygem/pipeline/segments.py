"""Finished parts of a long item, stored so that a killed run continues after the last one.

A long item is encoded in closed segments. Each is a file of its own in a private folder beside the
result, with the labels' state at its end (`Labeller.state`), and a record that is written last. A
later run of the same item uses the segments whose records, hashes and identity are right, makes the
others, and joins all of them without coding them again. The identity covers everything that decides
a pixel, so a segment of other settings, inputs, models or code is never used.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heygem.core import disk
from heygem.core.errors import InputError, OutputError
from heygem.core.files import read_json, replacing, sha256, sync, write_json
from heygem.core.interrupts import work_is_given_up
from heygem.core.types import FloatArray

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SEGMENT_S = 60.0  # work that a killed run loses at most
RETENTION_S = 7 * 86400.0  # after which segments that nobody continued are removed
SCHEMA = 1
_PREFIX = ".heygem-work-"
_ITEM = "item.json"
_LOCK = "lock"

State = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Span:
    """A segment's place in the film: its number, and output frames `first` to `stop`, exclusive."""

    index: int
    first: int
    stop: int


def plan_segments(times_s: FloatArray, *, segment_s: float, whole_s: float) -> list[Span]:
    """Cut a film into segments of about the same length; one where it is short.

    Parameters
    ----------
    times_s : float64 [T]
        Time of each output frame.
    segment_s : float
        Length of a segment.
    whole_s : float
        A film up to this long is not cut.
    """
    if times_s[-1] - times_s[0] <= whole_s:
        return [Span(0, 0, len(times_s))]
    starts = np.searchsorted(times_s - times_s[0], np.arange(0, times_s[-1], segment_s) - 1e-6)
    bounds = [*dict.fromkeys(int(start) for start in starts), len(times_s)]
    return [Span(k, a, b) for k, (a, b) in enumerate(zip(bounds, bounds[1:], strict=False))]


@dataclass(frozen=True)
class Run:
    """Which run the segments are of.

    Attributes
    ----------
    produce_id : str
    watermark_id : int or None
    """

    produce_id: str
    watermark_id: int | None


@dataclass
class SegmentStore:
    """The segments of one item on the disk.

    Attributes
    ----------
    folder : Path
    identity : str
        Of the item: sha256 of all that decides its pixels.
    run : Run or None
        The run that began the segments here; None in a new folder.
    """

    folder: Path
    identity: str
    run: Run | None = None

    def begin(self, run: Run) -> None:
        """Record whose segments these will be, unless a run has begun them."""
        if self.run is None:
            watermark = None if run.watermark_id is None else f"{run.watermark_id:016x}"
            facts = {"produce_id": run.produce_id, "watermark_id": watermark}
            content = {"schema": SCHEMA, "identity": self.identity, **facts}
            write_json(self.folder, content, name=_ITEM, mode=0o600)
            self.run = run

    def video(self, span: Span) -> Path:
        """The file of a segment, of which nothing need be there."""
        return self.folder / f"{span.index:05d}.mp4"

    def find(self, span: Span, before: str) -> dict[str, Any] | None:
        """The record of a whole segment of this item, with its `state`; None where there is none.

        Parameters
        ----------
        span : Span
        before : str
            `state_hash` of the labels where it begins.
        """
        record = read_json(self.folder, name=self._record_name(span))
        expected = {"identity": self.identity, "first": span.first, "stop": span.stop}
        if record is None or any(record.get(k) != v for k, v in expected.items()):
            return None
        if record.get("before") != before or not isinstance(record.get("skipped"), dict):
            return None
        files = {"video": self.video(span), "labels": self._state_path(span)}
        try:
            if any(record.get(name) != sha256(path) for name, path in files.items()):
                return None
            state = _read_state(files["labels"])
        except (OSError, ValueError, InputError):
            return None
        return {**record, "state": state}

    def keep(self, span: Span, before: str, state: State, skipped: Mapping[str, int]) -> None:
        """Record a segment whose video is finished, with the labels' state at its end."""
        try:
            with replacing(self._state_path(span), mode=0o600) as staged, staged.open("wb") as file:
                np.savez(file, allow_pickle=False, **state)
            sync(self.video(span))
        except OSError as error:
            raise disk.write_error(error, self.folder, what="a segment cannot be kept") from error
        record = {
            "index": span.index,
            "first": span.first,
            "stop": span.stop,
            "frames": span.stop - span.first,
            "identity": self.identity,
            "before": before,
            "video": sha256(self.video(span)),
            "labels": sha256(self._state_path(span)),
            "skipped": dict(skipped),
        }
        write_json(self.folder, record, name=self._record_name(span), mode=0o600)

    def discard(self) -> None:
        """Remove the folder with all segments."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _record_name(self, span: Span) -> str:
        return f"{span.index:05d}.json"

    def _state_path(self, span: Span) -> Path:
        return self.folder / f"{span.index:05d}.npz"


@contextlib.contextmanager
def item_segments(
    out: Path, identity: Callable[[], str], spans: Sequence[Span]
) -> Iterator[SegmentStore | None]:
    """The store of a film's segments; None where it has one only and is encoded in one go.

    When the block ends well, or the work was given up, the segments are removed; after any other
    error, and when the process is killed, they stay for the next run.

    Parameters
    ----------
    out : Path
        The result.
    identity : callable
        Returns what `identity_of` gives; called only where there are several segments.
    spans : sequence of Span
    """
    remove_stale_segments(out.absolute().parent)
    if len(spans) == 1:
        yield None
        return
    with segment_store(out, identity()) as store:
        try:
            yield store
        except BaseException:
            if work_is_given_up():
                store.discard()
            raise
        store.discard()


@contextlib.contextmanager
def segment_store(out: Path, identity: str) -> Iterator[SegmentStore]:
    """The segments of the item whose result is `out`: those of an earlier run, or none yet.

    What another item, or this one with other settings, has left there is removed.

    Raises
    ------
    OutputError
        The folder cannot be made, or another process is making this result.
    """
    folder = work_folder(out)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or (hasattr(os, "getuid") and folder.stat().st_uid != os.getuid()):
            raise OutputError(f"{folder.name} is not a folder of yours", remedy="remove it")
    except OSError as error:
        what = "cannot make a folder for segments"
        raise disk.write_error(error, folder.parent, what=what) from error
    with _locked(folder, out):
        yield _opened(folder, identity)


def _opened(folder: Path, identity: str) -> SegmentStore:
    content = read_json(folder, name=_ITEM) or {}
    if content.get("schema") == SCHEMA and content.get("identity") == identity:
        watermark = content.get("watermark_id")
        run = Run(content["produce_id"], None if watermark is None else int(watermark, 16))
        return SegmentStore(folder, identity, run)
    for entry in folder.iterdir():
        if entry.name != _LOCK:
            entry.unlink()
    return SegmentStore(folder, identity)


def work_folder(out: Path) -> Path:
    """Where the segments of a result lie: beside it, hidden, named after it."""
    digest = hashlib.sha256(out.name.encode("utf-8", "surrogateescape")).hexdigest()
    return out.absolute().parent / f"{_PREFIX}{digest[:16]}"


@contextlib.contextmanager
def _locked(folder: Path, out: Path) -> Iterator[None]:
    with open(folder / _LOCK, "a+") as stream:
        if not _take(stream):
            raise OutputError(
                f"{out.name} is being made by another process",
                remedy="wait for it, or choose another name",
            )
        yield


def _take(stream: Any) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def remove_stale_segments(folder: Path, *, now_s: float | None = None) -> list[Path]:
    """Remove segments in an output folder that nobody has continued for `RETENTION_S`.

    Those that a process is using stay.

    Returns
    -------
    list of Path
        The removed folders.
    """
    now_s = time.time() if now_s is None else now_s
    removed = []
    for work in sorted(folder.glob(f"{_PREFIX}*")):
        with contextlib.suppress(OSError):
            if work.is_symlink() or now_s - _last_write_s(work) < RETENTION_S:
                continue
            with open(work / _LOCK, "a+") as stream:
                if _take(stream):
                    shutil.rmtree(work)
                    removed.append(work)
    return removed


def _last_write_s(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))


def state_hash(state: State) -> str:
    """sha256 [hex] of the content of a state."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = np.ascontiguousarray(state[name])
        digest.update(f"{name}\0{value.dtype.str}\0{value.shape}\0".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _read_state(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as content:
        return {name: content[name] for name in content.files}


def identity_of(parts: Mapping[str, Any], *arrays: NDArray[Any]) -> str:
    """sha256 [hex] of plain values and arrays."""
    text = json.dumps(parts, sort_keys=True, default=str, ensure_ascii=True)
    digest = hashlib.sha256(text.encode())
    for array in arrays:
        digest.update(state_hash({"": array}).encode())
    return digest.hexdigest()
