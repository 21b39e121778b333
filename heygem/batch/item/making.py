"""How one item is made: found to be finished, or made, checked and recorded.

The only implementation: a batch in this process (`heygem.batch.runner`), a worker of the queue and
an actor of a cluster (both by `make_item`) use it.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from heygem import pipeline
from heygem.batch.item import checks, details, guards, manifest, output_lock, recovery
from heygem.batch.item.live_file import live_picture
from heygem.batch.item.model_cache import ModelCache
from heygem.batch.items import Item, SpeechFiles
from heygem.batch.outcome import Outcome, Status, error_facts
from heygem.batch.queue.job import Job
from heygem.config.params import LabelSettings, Params
from heygem.core import disk, logs, publish
from heygem.core.errors import Cancelled, HeygemError, LimitError
from heygem.core.files import hash_input, read_json
from heygem.core.interrupts import cancellation
from heygem.core.leftovers import remove_leftovers, temporary_folder
from heygem.core.types import Image, PathLike, Progress
from heygem.experiments import figures
from heygem.experiments.batch_tracking import track_batch
from heygem.media.yuv import YuvImage
from heygem.pipeline import preflight, preload
from heygem.pipeline.models import Models
from heygem.provenance import keys as key_store
from heygem.provenance.keys import Keys
from heygem.provenance.ledger import Ledger, acting_as, default_path

log = logging.getLogger(__name__)


class MemoryShortError(HeygemError):
    """Other programs use the memory that an item needs; it may start later."""

    code = "MEMORY_SHORT"


class _Identity(NamedTuple):
    video_sha256: str
    item_id: str  # see `manifest.item_id`


class Maker:
    """Makes items of one batch, or a single one.

    Parameters
    ----------
    speech : SpeechFiles
    cancel : threading.Event
    inputs : iterable of path
        Files that no result may replace, beside each item's own.
    ledger, keys : optional
        Default: this installation's.
    job_id : str
        Of the queue, for the log.

    Attributes
    ----------
    models : Models or None
        Set before `make`.
    """

    def __init__(
        self,
        speech: SpeechFiles,
        cancel: threading.Event,
        *,
        inputs: Iterable[PathLike] = (),
        ledger: Ledger | None = None,
        keys: Keys | None = None,
        job_id: str = "",
    ) -> None:
        self.speech = speech
        self._job_id = job_id
        self.cancel = cancel
        self.models: Models | None = None
        self._inputs = set(inputs)
        self._ledger = ledger
        given = {"ledger": ledger, "keys": keys}
        self._records: Any = {key: value for key, value in given.items() if value is not None}
        self._identities: dict[str, _Identity] = {}  # by item name
        self._usable_labels: list[LabelSettings] = []

    def attempt(
        self, item: Item, action: Callable[[], Outcome | None], *, folder: Path | None = None
    ) -> Outcome | None:
        """Run an action and log how it ended, in the item's folder too where that is given.

        Whatever it raises becomes the item's outcome.
        """
        with logs.recorded(item.name, job=self._job_id, folder=folder) as run:
            outcome = self._run_action(item, action)
            if outcome is not None:
                _log_end(outcome)
                if outcome.status != "done" and outcome.code != "INTERNAL":
                    run.discard()  # the message says it all
            return outcome

    def _run_action(self, item: Item, action: Callable[[], Outcome | None]) -> Outcome | None:
        started = time.monotonic()

        def unfinished(status: Status, **details: Any) -> Outcome:
            seconds = time.monotonic() - started
            return _outcome(item, status, seconds=seconds, **details)

        if self.cancel.is_set():
            return unfinished("cancelled")
        try:
            outcome = action()
            return outcome and replace(outcome, seconds=time.monotonic() - started)
        except Cancelled:
            return unfinished("cancelled")
        except KeyboardInterrupt:
            self.cancel.set()  # the remaining items are reported as cancelled too
            return unfinished("cancelled")
        except Exception as error:
            if disk.is_disk_error(error):
                error = disk.write_error(error, error.filename or item.output)
            elif guards.is_out_of_memory(error):
                error = guards.as_memory_error(error, item.name)
            if isinstance(error, HeygemError):
                return unfinished("failed", bad_input=True, **error_facts(error))
            log.exception("unexpected failure of %r", item.name)
            text = " ".join(str(error).split())
            line = f"{item.video.name}: unexpected {type(error).__name__}: {text}"
            return unfinished("failed", error=line.replace("\n", "\\n"), code="INTERNAL")

    def check(self, item: Item) -> Outcome | None:
        """The outcome of an item that an earlier run has finished, else None."""
        video_sha256 = hash_input(item.video, reread=False)
        item_id = manifest.item_id(item.params, video_sha256, self.speech.get(item).sha256)
        self._identities[item.name] = _Identity(video_sha256, item_id)
        content = read_json(item.details)
        if content is not None and manifest.is_up_to_date(content, item_id, item.output):
            return _outcome(item, "skipped", content)
        content = self._recovered(item)
        if content is not None:
            return _outcome(item, "done", content)
        # What can be known before any work is found before any work, for all items.
        may_replace = partial(self._may_replace, item)
        preflight.check_result(item.output, inputs=self._inputs, may_replace=may_replace)
        details.check(item, is_result=item.output.is_file() and may_replace(item.output))
        if item.params.label not in self._usable_labels:
            preflight.check_label(item.params.label)
            self._usable_labels.append(item.params.label)
        return None

    def _recovered(self, item: Item) -> dict[str, Any] | None:
        """The manifest of a result whose process was killed before it had written it."""
        identity = self._identities[item.name]
        audio_sha256 = self.speech.get(item).sha256
        result = recovery.find_result(
            item, identity.video_sha256, audio_sha256, ledger=self._ledger
        )
        return None if result is None else self._record(item, result)

    def _may_replace(self, item: Item, path: Path) -> bool:
        """Whether a file under the name of a result is an earlier result, or may go anyway."""
        if publish.is_one_of(path, self._inputs):
            return False
        if item.params.inputs.overwrite or manifest.records_result(read_json(item.details), path):
            return True
        # A run that was killed after it had finished the file, and before it wrote the manifest.
        if self._ledger is None and not default_path().is_file():
            return False
        return preflight.replaces_results(self._ledger or Ledger(), item.params)(path)

    def make(self, item: Item, report_progress: Progress) -> Outcome:
        """Make an item that `check` has found to be missing."""
        begun = details.begin(item, self._identities[item.name].item_id)
        try:
            with live_picture(item.details) as live:

                def show_frame(image: Image | YuvImage, time_s: float) -> None:
                    preload.start(*figures.MODULES)  # the first frame no longer waits for anything
                    live(image, time_s)

                result = pipeline.generate(
                    item.video,
                    self.speech.get(item).path,
                    item.output,
                    item.params,
                    models=self.models,
                    **self._records,
                    may_replace=partial(self._may_replace, item),
                    progress=report_progress,
                    show_frame=show_frame,
                    stills=(details.STILLS, details.STILL_PX),
                    cancel=self.cancel,
                )
        except BaseException:
            if begun:
                details.abandon(item)
            raise
        report_progress("figures", 0, 1)
        return _outcome(item, "done", self._record(item, result))

    def _record(self, item: Item, result: pipeline.Result) -> dict[str, Any]:
        """Write the pictures and the manifest of a finished video; returns the manifest."""
        identity = self._identities[item.name]
        # The video is there: what belongs to it is written even when the batch is stopped now.
        with cancellation(threading.Event()):
            warnings = [*result.warnings, *details.save_figures(result, item)]
        return details.finish(
            item,
            result,
            item_id=identity.item_id,
            video_sha256=identity.video_sha256,
            audio_sha256=self.speech.get(item).sha256,
            warnings=warnings,
        )


def make_item(
    job: Job,
    models: ModelCache,
    progress: Progress,
    cancel: threading.Event,
    *,
    ledger: Ledger | None = None,
    keys: Keys | None = None,
) -> Outcome:
    """Make the item of a job; whatever happens becomes its outcome.

    A finished result is recognised and not made again. Before work begins, disks and memory are
    looked at; afterwards the result is read back, see `heygem.batch.item.checks`.

    Parameters
    ----------
    job : Job
        With its recipe; see `heygem.batch.queue.JobQueue.get`.
    models : ModelCache
        Kept by the caller from item to item.
    progress : callable
        `progress(stage, done, total)`; stages are "load models", those of `pipeline.generate`,
        "figures", "verify" and "MLflow".
    cancel : threading.Event
        Set it to stop soon; nothing is left behind.
    ledger, keys : optional
        Where the result is recorded, and what it is signed with; default: this installation's.
    """
    started = time.monotonic()
    try:
        item = job.item()
        folder = item.output.parent
        with (
            _folder_of(job, item.params),
            output_lock.share_output_dir(folder),
            temporary_folder() as scratch,
            acting_as(job.owner),
            cancellation(cancel),
            track_batch(item.params, names=[item.name], batch=job.batch) as tracker,
        ):
            remove_leftovers(folder)
            remove_leftovers(item.details, own_folder=True)
            inputs = preflight.input_files(item.params)
            records: dict[str, Any] = {"ledger": ledger, "keys": keys}
            speech = SpeechFiles(scratch)
            maker = Maker(speech, cancel, inputs=inputs, job_id=job.id, **records)
            outcome = _outcome_of(item, maker, models, progress)
            outcome = _checked(item, outcome, progress, keys)
            progress("MLflow", 0, 1)
            tracker.log(outcome)
            with contextlib.suppress(OSError):
                item.details.rmdir()  # empty: nothing came of it
                item.details.parent.rmdir()
        if tracker.problem:
            outcome = replace(outcome, warnings=(*outcome.warnings, tracker.problem))
        return replace(outcome, seconds=time.monotonic() - started)
    except (HeygemError, OSError) as error:
        if not isinstance(error, HeygemError):
            error = disk.write_error(error, error.filename or job.output)
        status: Status = "cancelled" if isinstance(error, Cancelled) else "failed"
        seconds = time.monotonic() - started
        return Outcome.of_job(job, status, error, bad_input=True, seconds=seconds)


def _folder_of(job: Job, params: Params) -> contextlib.AbstractContextManager[None]:
    """Relative paths of a model, a font or a logo start from where the job was added."""
    paths = (params.lips.model, params.checkpoint, params.label.font, params.label.logo)
    if all(path is None or Path(path).is_absolute() for path in paths):
        return contextlib.nullcontext()
    return contextlib.chdir(job.folder)


def _outcome_of(item: Item, maker: Maker, models: ModelCache, progress: Progress) -> Outcome:
    outcome = maker.attempt(item, partial(maker.check, item))
    if outcome is not None:
        return outcome

    def make() -> Outcome:
        fitted = _fitted(item)
        maker.models = models.get(fitted.params, progress)
        return maker.make(fitted, progress)

    outcome = maker.attempt(item, make, folder=item.details)
    assert outcome is not None
    if outcome.status == "failed" and outcome.code in ("INTERNAL", "OUT_OF_MEMORY"):
        models.clear()
    return outcome


def _fitted(item: Item) -> Item:
    """The item with settings that fit into the memory that is free now.

    Raises
    ------
    DiskFullError, MemoryShortError
        It may start later.
    LimitError
        The machine is too small for it.
    """
    verdict = guards.room_for([item])
    if not verdict and verdict.error is not None:
        raise verdict.error
    verdict = guards.memory_for(item)
    if verdict:
        return replace(item, params=item.params.override(verdict.changes))
    error = verdict.error or HeygemError("memory is short")
    kind = MemoryShortError if verdict.action == "wait" else LimitError
    raise kind(error.what, seen=error.seen, remedy=error.remedy)


def _checked(item: Item, outcome: Outcome, progress: Progress, keys: Keys | None) -> Outcome:
    """The outcome, after a result was read back; one that fails is not left as a finished one."""
    if outcome.status not in ("done", "skipped"):
        return outcome
    progress("verify", 0, 1)
    try:
        checks.check_result(item.output, outcome.manifest, keys=keys or key_store.ensure())
    except HeygemError as error:
        if outcome.status == "done":  # one that was there before stays to be looked at
            details.discard(item)
        return replace(outcome, status="failed", manifest={}, output=None, **error_facts(error))
    progress("verify", 1, 1)
    return outcome


def _log_end(outcome: Outcome) -> None:
    """Log how an item ended, with what reports and alerts count."""
    data: dict[str, Any] = {"status": outcome.status, "seconds": round(outcome.seconds, 2)}
    data |= {"code": outcome.code} if outcome.code else {}
    level = logging.WARNING if outcome.status == "failed" else logging.INFO
    text = f"item {outcome.status}" + (f": {outcome.error}" if outcome.error else "")
    log.log(level, "%s", text, extra={"data": data})
    for warning in outcome.warnings:
        log.warning("%s", warning)


def _outcome(
    item: Item, status: Status, content: dict[str, Any] | None = None, **details: Any
) -> Outcome:
    """An item's outcome; `content` is the manifest of a finished one."""
    if content is not None:
        details |= {
            "output": item.output,
            "details": item.details,
            "warnings": tuple(content.get("warnings", ())),
            "manifest": content,
        }
    return Outcome(item.name, item.video, status, speech=item.speech, params=item.params, **details)
