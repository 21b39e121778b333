"""A process on a node that makes items, one after the other, with its models kept in memory.

It fetches an item's inputs, makes the item in a folder of its own on the node's disk with the same
function as on one machine, and uploads the result. Two methods answer while an item is made:
`status` and `cancel`. It never sees the queue's database, the ledger's, or a private key.
"""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from heygem.batch.cluster import post_mortem
from heygem.batch.cluster.cache import DEFAULT_BYTES, InputCache
from heygem.batch.cluster.records import Ask, HeadError, HeadLedger, head_keys
from heygem.batch.cluster.results import ItemResults
from heygem.batch.cluster.storage import StorageError
from heygem.batch.item import details, guards, manifest
from heygem.batch.item.details import MANIFEST
from heygem.batch.items import Item, SpeechFiles
from heygem.batch.outcome import Outcome, Status
from heygem.batch.queue.job import Job
from heygem.batch.workers.estimate import ItemEstimate, StageRates
from heygem.core.errors import Cancelled, HeygemError
from heygem.core.files import hash_input, is_address, read_json, write_json
from heygem.core.folders import home, make_private_folder
from heygem.core.interrupts import cancellation
from heygem.core.leftovers import remove_leftovers, temporary_folder
from heygem.core.memory import oom_kills
from heygem.core.version import code_version
from heygem.provenance import ledger

log = logging.getLogger(__name__)

ANSWER_S = 120.0  # how long the head may take for one row of the ledger
#: Makes an item on this machine; see `heygem.batch.workers.worker.make_item`.
MakeItem = Callable[..., Outcome]


@dataclass(frozen=True)
class ActorOptions:
    """How actors work, on every node.

    Attributes
    ----------
    cache_bytes : int
        Size of each node's cache of inputs.
    make : str
        `module:function` that makes an item.
    """

    cache_bytes: int = DEFAULT_BYTES
    make: str = "heygem.batch.workers.worker:make_item"


class ItemActor:
    """Makes items on a node; `driver` creates it with Ray.

    Parameters
    ----------
    ask : callable
        See `heygem.batch.cluster.records.Ask`.
    options : ActorOptions
    """

    def __init__(self, ask: Ask, options: ActorOptions) -> None:
        self._options = options
        self._ask = ask
        self._make_item, self._models = _load(options.make)
        facts = ask("facts")
        self._ledger = HeadLedger(ask, facts)
        self._keys = head_keys(ask, facts)
        self._cache = InputCache(max_bytes=options.cache_bytes)
        self._scratch = make_private_folder(home() / "scratch")
        remove_leftovers(self._scratch)
        self._trace = post_mortem.record_crashes(home() / "crashes")
        self._lock = threading.Lock()
        self._job_id = ""
        self._oom_kills = oom_kills()
        self._progress: dict[str, Any] = {}
        self._rates = StageRates()
        self._estimate = ItemEstimate(self._rates, 0.0)
        self._cancel = threading.Event()

    def describe(self) -> dict[str, Any]:
        """Facts about this actor and its node, for the driver."""
        return {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "code": code_version()["source_sha256"],
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
            "trace": str(self._trace),
            "oom_kills": self._oom_kills,
        }

    def status(self) -> dict[str, Any]:
        """The item that is being made, its progress, and this process's memory [bytes].

        With it the number of processes that the kernel had killed when the item began.
        """
        with self._lock:
            progress = dict(self._progress)
            return {
                "job": self._job_id,
                "progress": progress,
                "oom_kills": self._oom_kills,
                "memory": psutil.Process().memory_info().rss,
            }

    def cancel(self, job_id: str) -> None:
        """Stop an item soon; nothing happens where another one is being made."""
        with self._lock:
            if self._job_id == job_id:
                self._cancel.set()

    def make(self, job: Job) -> dict[str, Any]:
        """Make an item and upload its result; returns `Outcome.message`."""
        started = time.monotonic()
        with self._lock:
            self._job_id, self._progress, self._cancel = job.id, {}, threading.Event()
            self._oom_kills = oom_kills()
            self._estimate = ItemEstimate(self._rates, job.length_s)
        try:
            with ledger.acting_as(job.owner), cancellation(self._cancel):
                outcome = self._made(job)
        except Cancelled:
            outcome = Outcome.of_job(job, "cancelled")
        except HeygemError as error:
            is_bad_input = not isinstance(error, HeadError | StorageError)
            outcome = Outcome.of_job(job, "failed", error, bad_input=is_bad_input)
        except Exception as error:  # one item's failure does not stop the others
            log.exception("unexpected failure of %r", job.name)
            text = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
            outcome = Outcome.of_job(job, "failed", HeygemError(text), code="INTERNAL")
        finally:
            with self._lock:
                self._job_id = ""
        return replace(outcome, seconds=time.monotonic() - started).message()

    def _made(self, job: Job) -> Outcome:
        inputs = job.params["inputs"]
        results = ItemResults(
            inputs["output"],
            Path(job.output).name,
            self._ledger,
            overwrite=bool(inputs.get("overwrite")),
        )
        with temporary_folder(self._scratch) as scratch, self._fetched(job, scratch) as local:
            item = local.item()
            identity = self._identity(item, scratch)
            content = results.finished(identity)
            if content is not None:
                return self._located(_finished(job, "skipped", content), results)
            results.check()
            if results.folder.is_local:
                guards.require_room(item, results.folder.path)
            self._begin(results, item, identity)
            try:
                return self._made_and_stored(job, local, item, results)
            except BaseException:
                with contextlib.suppress(HeygemError):  # the first error is the one to report
                    results.abandon()
                raise

    def _made_and_stored(self, job: Job, local: Job, item: Item, results: ItemResults) -> Outcome:
        outcome = self._make_item(
            local,
            self._models,
            self._report,
            self._cancel,
            ledger=self._ledger,
            keys=self._keys,
        )
        if outcome.status != "done":
            results.abandon()
            reason = outcome.reason
            if outcome.code == "DISK_FULL":  # this node's own disk; others may have room
                reason = reason | {"node": socket.gethostname()}
            return replace(outcome, video=Path(job.video), reason=reason)
        # The video is there: it is uploaded even when the item is cancelled now.
        with cancellation(threading.Event()):
            _name_original_inputs(item, job)
            self._report("upload", 0, 1)
            content = results.commit(item)
        return self._located(_finished(job, "done", content), results)

    @contextlib.contextmanager
    def _fetched(self, job: Job, scratch: Path) -> Iterator[Job]:
        """The job with copies of its inputs on this node, and a folder of its own for results."""
        with contextlib.ExitStack() as stack:

            def local_path(location: str) -> str:
                if not is_address(location):
                    return location
                self._report("fetch", 0, 1)
                return str(stack.enter_context(self._cache.fetched(location)))

            inputs = dict(job.params["inputs"])
            inputs["videos"] = [local_path(video) for video in inputs["videos"]]
            if inputs.get("audio"):
                inputs["audio"] = local_path(inputs["audio"])
            output = make_private_folder(scratch / "results")
            inputs["output"] = str(output)
            mlflow = {**job.params.get("mlflow", {}), "enabled": False}  # the head records it
            yield job._replace(
                params={**job.params, "inputs": inputs, "mlflow": mlflow},
                video=inputs["videos"][0],
                audio=inputs.get("audio") or "",
                output=str(output / Path(job.output).name),
            )

    def _identity(self, item: Item, scratch: Path) -> str:
        speech = SpeechFiles(scratch).get(item)
        video_sha256 = hash_input(item.video, reread=False)
        return manifest.item_id(item.params, video_sha256, speech.sha256)

    def _begin(self, results: ItemResults, item: Item, identity: str) -> None:
        details.begin(item, identity)
        results.begin(item)

    def _located(self, outcome: Outcome, results: ItemResults) -> Outcome:
        """An outcome with final locations in place of the node's own, where these are paths."""
        if is_address(results.address):
            return replace(outcome, output=None, details=None)
        return replace(outcome, output=Path(results.address), details=Path(results.details_address))

    def _report(self, stage: str, done: int, total: int) -> None:
        with self._lock:
            self._estimate.report(stage, done, total)
            self._progress = self._estimate.progress()


def ask_actor(handle: Any) -> Ask:
    """An `Ask` that calls `Records.answer` in an actor of Ray."""
    return partial(_ask, handle)


def _ask(handle: Any, method: str, *arguments: Any, **named: Any) -> Any:
    import ray

    try:
        value, error = ray.get(handle.answer.remote(method, arguments, named), timeout=ANSWER_S)
    except (ray.exceptions.RayError, TimeoutError) as problem:
        raise HeadError(
            "the head of the cluster, which holds the ledger, does not answer",
            seen=" ".join(str(problem).split())[:300],
            remedy="the item is tried again; look at the head if it lasts",
        ) from problem
    if error is not None:
        raise error
    return value


def _load(name: str) -> tuple[MakeItem, Any]:
    """The function that makes items, and the models that it keeps."""
    from importlib import import_module

    module_name, _, function_name = name.partition(":")
    module = import_module(module_name)
    make_models = getattr(module, "ModelCache", dict)
    return getattr(module, function_name), make_models()


def _finished(job: Job, status: Status, content: dict[str, Any]) -> Outcome:
    warnings = tuple(content.get("warnings", ()))
    return Outcome.of_job(job, status, warnings=warnings, manifest=content)


def _name_original_inputs(item: Item, job: Job) -> None:
    """Name inputs in a manifest as the user did: paths on a node mean nothing elsewhere."""
    content = read_json(item.details) or {}
    inputs = job.params["inputs"]
    for key, location in (("video", job.video), ("audio", inputs.get("audio"))):
        if key in content:
            content[key]["path"] = location
    if "mlflow" in content.get("params", {}):
        content["params"] |= {"inputs": inputs, "mlflow": job.params["mlflow"]}
    write_json(item.details, content, name=MANIFEST, mode=0o600)
