"""Make the items of a batch, one after the other; finished items are skipped.

A batch loads the models once. An item that fails is recorded with a one-line error, and the others
are made. An item is skipped if its manifest shows that the same inputs, parameters, models and code
have made the existing file.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from heygem import pipeline
from heygem.batch import details, guards, manifest, output_lock
from heygem.batch.items import DETAILS, Item, SpeechFiles, plan_items
from heygem.batch.outcome import Outcome, Status
from heygem.config.params import LabelSettings, Params
from heygem.core import disk, logs, publish
from heygem.core.errors import Cancelled, HeygemError
from heygem.core.files import hash_input, read_json, write_json
from heygem.core.interrupts import cancellation, observes_cancel
from heygem.core.leftovers import temporary_folder
from heygem.core.types import PathLike, Progress
from heygem.experiments.batch_tracking import track_batch
from heygem.pipeline import preflight
from heygem.pipeline.models import Models
from heygem.provenance import ledger

log = logging.getLogger(__name__)

RECORD = "batch.json"


class BatchProgress(Protocol):
    """Called while work goes on; see `heygem.core.types.Progress` for the last three arguments."""

    def __call__(
        self, name: str, number: int, count: int, stage: str, done: int, total: int, /
    ) -> None:
        """The item called `name` is `number` (from 0) of `count`."""


class _Identity(NamedTuple):
    video_sha256: str
    item_id: str  # see `manifest.item_id`


@dataclass(frozen=True)
class Report:
    """Result of a batch.

    Attributes
    ----------
    record : Path
        File that holds the `summary`, if one was written.
    mlflow_page : str
        Address of its run relative to the root of the MLflow UI, "" where none was recorded.
    """

    folder: Path
    outcomes: tuple[Outcome, ...]
    seconds: float
    warnings: tuple[str, ...] = ()
    record: Path | None = None
    mlflow_page: str = ""

    def of(self, *status: Status) -> list[Outcome]:
        """Outcomes with one of these statuses."""
        return [outcome for outcome in self.outcomes if outcome.status in status]

    @property
    def exit_code(self) -> int:
        """0 all well, 2 bad input, 1 something unexpected, 130 cancelled."""
        if self.of("cancelled"):
            return 130
        failed = self.of("failed")
        if any(not outcome.bad_input for outcome in failed):
            return 1
        return 2 if failed else 0


@observes_cancel
def run(
    params: Params,
    *,
    progress: BatchProgress | None = None,
    cancel: threading.Event | None = None,
    record: Path | None = None,
    models: Models | None = None,
) -> Report:
    """Make every video that `params.inputs` asks for.

    Parameters
    ----------
    params : Params
    progress : callable, optional
        See `BatchProgress`.
    cancel : threading.Event, optional
        Set it to stop soon; finished items stay, no partial file is left.
    record : path, optional
        File that receives the summary; `batch.json` in the output folder when not given.
    models : heygem.pipeline.models.Models, optional
        Models already in memory; by default they are loaded for the first unfinished item.

    Raises
    ------
    ParameterError, InputError, OutputError
        Errors of the whole batch: no inputs named, unusable shared audio, unwritable output,
        another run in the same folder. Errors of one item are in the report instead.
    """
    started = time.monotonic()
    cancel = cancel or threading.Event()
    folder = Path(params.inputs.output)
    items = plan_items(params)
    with output_lock.lock_output_dir(folder), temporary_folder() as scratch:
        output_lock.remove_leftovers_of_killed_runs(folder)
        if record is None:
            may_replace = publish.always if params.inputs.overwrite else _is_record
            publish.check(folder / RECORD, may_replace=may_replace)
        try:
            speech = SpeechFiles(scratch)
            if _share_speech(params):  # an error ends the batch
                speech.get(items[0])
            runner = _Runner(params, speech, progress, cancel, models)
            outcomes = runner.run(items)
        finally:
            output_lock.remove_empty_dirs(folder / DETAILS)
        seconds = time.monotonic() - started
        report = Report(
            folder,
            tuple(outcomes),
            seconds,
            tuple(runner.warnings),
            mlflow_page=runner.mlflow_page,
        )
        # A batch without results leaves no record, unless one was requested.
        if record is not None or report.of("done", "skipped"):
            target = record or folder / RECORD
            mode = 0o600 if record is None else 0o644  # it names people's files
            write_json(target.parent, summary(report, params), name=target.name, mode=mode)
            report = replace(report, record=target)
    return report


def _share_speech(params: Params) -> bool:
    """Whether all items of a batch speak the same."""
    return params.inputs.pairs is None and not params.inputs.audios


def _is_record(path: Path) -> bool:
    """Whether a file is the record of an earlier batch."""
    content = read_json(path.parent, name=path.name) if path.is_file() else None
    return content is not None and {"schema", "params_sha256", "items"} <= content.keys()


def summary(report: Report, params: Params) -> dict[str, Any]:
    """The report as plain data, as written to the record."""
    return {
        "schema": manifest.SCHEMA,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "exit_code": report.exit_code,
        "folder": str(report.folder.absolute()),
        "seconds": round(report.seconds, 2),
        "warnings": list(report.warnings),
        "params_sha256": params.digest(),
        "items": [_summary_row(outcome) for outcome in report.outcomes],
    }


def _summary_row(outcome: Outcome) -> dict[str, Any]:
    row = {k: v for k, v in vars(outcome).items() if k not in ("params", "manifest", "speech")}
    row["sound"] = outcome.speech  # its name in schema 1
    return {key: str(value) if isinstance(value, Path) else value for key, value in row.items()}


class _Runner:
    """Finds finished items first, then loads the models, then makes the remaining items."""

    def __init__(
        self,
        params: Params,
        speech: SpeechFiles,
        progress: BatchProgress | None,
        cancel: threading.Event,
        models: Models | None,
    ):
        self.params = params
        self.speech = speech
        self.progress = progress
        self.cancel = cancel
        self.warnings: list[str] = []
        self.mlflow_page = ""
        self._models = models
        self._owns_models = models is None
        self._identities: dict[str, _Identity] = {}  # by item name
        self._inputs: set[PathLike] = set()  # of all items: none of them is ever replaced
        self._usable_labels: list[LabelSettings] = []

    def run(self, items: Sequence[Item]) -> list[Outcome]:
        outcomes: dict[str, Outcome] = {}
        self._inputs.update(preflight.input_files(self.params))
        for item in items:
            self._inputs.update(preflight.input_files(item.params))
        with track_batch(self.params, names=[item.name for item in items]) as tracker:

            def record(item: Item, outcome: Outcome) -> None:
                outcomes[item.name] = outcome
                tracker.log(outcome)

            for item in items:
                outcome = self._attempt(item, partial(self._check, item))
                if outcome is not None:
                    record(item, outcome)
            remaining = [item for item in items if item.name not in outcomes]
            if remaining and not self.cancel.is_set():
                try:
                    self._prepare(remaining[0], len(items))
                except Cancelled:  # the items are reported as cancelled
                    pass
                except KeyboardInterrupt:  # in a notebook; likewise
                    self.cancel.set()
            for k, item in enumerate(remaining):
                report_progress = self._item_progress(item.name, items.index(item), len(items))
                make = partial(self._generate, item, report_progress)
                outcome = self._attempt(item, make, folder=item.details)
                assert outcome is not None
                record(item, outcome)
                self._forget_speech(item, remaining[k + 1 :])
        self.mlflow_page = tracker.address
        if tracker.problem:
            self.warnings.append(tracker.problem)
        return [outcomes[item.name] for item in items]

    def _prepare(self, item: Item, count: int) -> None:
        """Load the models, and the speech if all items share it: errors here end the batch."""
        report_progress = self._item_progress(item.name, 0, count)
        report_progress("load models", 0, 1)
        if self._models is None:
            self._models = pipeline.load_models(self.params)
        if _share_speech(self.params):
            report_progress("listen", 0, 1)
            self._models.encode_audio(
                self.speech.get(item).path,
                self.params.audio,
                predict=pipeline.find_engine(self.params.engine).uses_motion,
            )

    def _forget_speech(self, item: Item, remaining: Sequence[Item]) -> None:
        """Free the memory of a speech that no remaining item uses."""
        if self._models is None or not self._owns_models:
            return
        path = self.speech.cached(item)
        if path is not None and all(self.speech.cached(other) != path for other in remaining):
            self._models.forget_audio(path)

    def _item_progress(self, name: str, number: int, count: int) -> Progress:
        def report_progress(stage: str, done: int, total: int, /) -> None:
            if self.progress:
                self.progress(name, number, count, stage, done, total)

        return report_progress

    def _attempt(
        self, item: Item, action: Callable[[], Outcome | None], *, folder: Path | None = None
    ) -> Outcome | None:
        """Run an action and log how it ended, in the item's folder too where that is given."""
        with logs.recorded(item.name, folder=folder) as run:
            outcome = self._run_action(item, action)
            if outcome is not None:
                _log_end(outcome)
                if outcome.status != "done" and outcome.code != "INTERNAL":
                    run.discard()  # the message says it all
            return outcome

    def _run_action(self, item: Item, action: Callable[[], Outcome | None]) -> Outcome | None:
        """Run an action; whatever it raises becomes the item's outcome."""
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
                return unfinished(
                    "failed", bad_input=True, error=str(error), code=error.code, reason=error.parts
                )
            log.exception("unexpected failure of %r", item.name)
            text = " ".join(str(error).split())
            line = f"{item.video.name}: unexpected {type(error).__name__}: {text}"
            return unfinished("failed", error=line.replace("\n", "\\n"), code="INTERNAL")

    def _check(self, item: Item) -> Outcome | None:
        """The outcome of an item that an earlier run has finished, else None."""
        video_sha256 = hash_input(item.video, reread=False)
        item_id = manifest.item_id(item.params, video_sha256, self.speech.get(item).sha256)
        self._identities[item.name] = _Identity(video_sha256, item_id)
        content = read_json(item.details)
        if content is not None and manifest.is_up_to_date(content, item_id, item.output):
            return _outcome(item, "skipped", content)
        # What can be known before any work is found before any work, for all items.
        may_replace = partial(self._may_replace, item)
        preflight.check_result(item.output, inputs=self._inputs, may_replace=may_replace)
        details.check(item, is_result=item.output.is_file() and may_replace(item.output))
        if item.params.label not in self._usable_labels:
            preflight.check_label(item.params.label)
            self._usable_labels.append(item.params.label)
        return None

    def _may_replace(self, item: Item, path: Path) -> bool:
        """Whether a file under the name of a result is an earlier result, or may go anyway."""
        if publish.is_one_of(path, self._inputs):
            return False
        if item.params.inputs.overwrite or manifest.records_result(read_json(item.details), path):
            return True
        # A run that was killed after it had finished the file, and before it wrote the manifest.
        if not ledger.default_path().is_file():
            return False
        return preflight.replaces_results(ledger.Ledger(), item.params)(path)

    def _generate(self, item: Item, report_progress: Progress) -> Outcome:
        begun = details.begin(item, self._identities[item.name].item_id)
        try:
            result = pipeline.generate(
                item.video,
                self.speech.get(item).path,
                item.output,
                item.params,
                models=self._models,
                may_replace=partial(self._may_replace, item),
                progress=report_progress,
                cancel=self.cancel,
            )
        except BaseException:
            if begun:
                details.abandon(item)
            raise
        # The video is there: what belongs to it is written even when the batch is stopped now.
        with cancellation(threading.Event()):
            warnings = [*result.warnings, *details.save_figures(result, item)]
        content = details.finish(
            item,
            result,
            item_id=self._identities[item.name].item_id,
            video_sha256=self._identities[item.name].video_sha256,
            audio_sha256=self.speech.get(item).sha256,
            warnings=warnings,
        )
        return _outcome(item, "done", content)


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
