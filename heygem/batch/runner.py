"""Make the items of a batch, one after the other; finished items are skipped.

A batch loads the models once, and begins an item while the one before is sealed. An item that fails
is recorded with a one-line error, and the others are made. An item is skipped if its manifest shows
that the same inputs, parameters, models and code have made the existing file.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from heygem import pipeline
from heygem.batch.item import manifest, output_lock
from heygem.batch.item.making import Maker
from heygem.batch.items import DETAILS, Item, SpeechFiles, plan_items
from heygem.batch.outcome import Outcome, Status
from heygem.config.params import Params
from heygem.core import logs, publish
from heygem.core.errors import Cancelled
from heygem.core.files import is_address, read_json, write_json
from heygem.core.interrupts import observes_cancel
from heygem.core.leftovers import temporary_folder
from heygem.core.types import Progress
from heygem.experiments.batch_tracking import track_batch
from heygem.pipeline import preflight
from heygem.pipeline.models import Models

log = logging.getLogger(__name__)

RECORD = "batch.json"
#: Stages after an item's frames. They need no model and little memory.
ENDING = ("label", "figures")


class BatchProgress(Protocol):
    """Called during the work; see `heygem.core.types.Progress` for the last three arguments."""

    def __call__(
        self, name: str, number: int, count: int, stage: str, done: int, total: int, /
    ) -> None:
        """The item called `name` is `number` (from 0) of `count`."""


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
            may_replace = publish.always if params.inputs.overwrite else is_record
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


def is_record(path: Path) -> bool:
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
    row |= {"video": outcome.source, "output": outcome.result or None}
    if is_address(outcome.result):
        row["details"] = None
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

    def run(self, items: Sequence[Item]) -> list[Outcome]:
        outcomes: dict[str, Outcome] = {}
        recipes = [self.params, *(item.params for item in items)]
        inputs = [path for recipe in recipes for path in preflight.input_files(recipe)]
        maker = Maker(self.speech, self.cancel, inputs=inputs)
        names = [item.name for item in items]
        with track_batch(self.params, names=names, own_process=True) as tracker:

            def record(item: Item, outcome: Outcome) -> None:
                outcomes[item.name] = outcome
                tracker.log(outcome)

            for item in items:
                outcome = maker.attempt(item, partial(maker.check, item))
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
            self._make_items(maker, remaining, items, record)
        self.mlflow_page = tracker.address
        if tracker.problem:
            self.warnings.append(tracker.problem)
        return [outcomes[item.name] for item in items]

    def _make_items(
        self,
        maker: Maker,
        remaining: Sequence[Item],
        items: Sequence[Item],
        record: Callable[[Item, Outcome], None],
    ) -> None:
        """Make the remaining items, and record their outcomes in order.

        Sealing and figures keep one core busy for half a second, so the next item is begun
        meanwhile. All else is done for one item at a time.
        """
        maker.models = self._models
        turn = threading.Lock()

        def make(k: int, item: Item) -> Outcome:
            number, is_last = items.index(item), k == len(remaining) - 1
            report_to_caller = self._item_progress(item.name, number, len(items))
            with contextlib.ExitStack() as own_turn:
                own_turn.enter_context(turn)
                # Before the next item begins, so that not two speeches are in memory.
                own_turn.callback(self._forget_speech, item, remaining[k + 1 :])

                def report_progress(stage: str, done: int, total: int, /) -> None:
                    if stage in ENDING and not is_last:  # the caller is shown the next item
                        own_turn.close()
                    else:
                        report_to_caller(stage, done, total)

                making = partial(maker.make, item, report_progress)
                outcome = maker.attempt(item, making, folder=item.details)
                assert outcome is not None
                return outcome

        with logs.logger_set_up(), ThreadPoolExecutor(2) as pool:
            started = [
                pool.submit(copy_context().run, make, k, item) for k, item in enumerate(remaining)
            ]
            try:
                for item, future in zip(remaining, started, strict=True):
                    record(item, self._outcome_of(future))
            except BaseException:
                self.cancel.set()  # or the pool would make all items before this is raised
                raise

    def _outcome_of(self, future: Future[Outcome]) -> Outcome:
        while True:
            try:
                return future.result()
            except KeyboardInterrupt:  # the remaining items are reported as cancelled
                self.cancel.set()

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
