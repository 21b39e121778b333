"""Many videos, one sound or a table of pairs: each item on its own, what is done stays done.

A batch loads the models once. One item's failure is its own: it is recorded with one clear line,
and the others finish. An item is skipped when its manifest proves that the very same inputs,
parameters, models and code have made the very same file.
"""

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from heygem import pipeline
from heygem.batch import manifest, output_lock
from heygem.batch.items import DETAILS, Sounds, content_sha256, plan
from heygem.config.params import Params
from heygem.core.errors import Cancelled, HeygemError
from heygem.core.files import read_json, sha256, write_json
from heygem.core.version import code_version
from heygem.experiments import figures, store
from heygem.pipeline.models import Models

log = logging.getLogger(__name__)

RECORD = "batch.json"

Status = Literal["done", "skipped", "failed", "cancelled"]
#: progress(item name, item number from 0, number of items, stage, done, total)
Progress = Callable[[str, int, int, str, int, int], None]


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes
    ----------
    error, code : str
        One line, and its kind, for a failed item; else empty.
    reason : dict
        The same in its parts, where they are known: what, seen, remedy.
    sound : str
        Sound file, or the text that is spoken.
    params : Params
        The item's own recipe.
    manifest : dict
        Of a done or skipped item; else empty.
    """

    name: str
    video: Path
    status: Status
    sound: str = ""
    params: Params | None = field(default=None, repr=False)
    output: Path | None = None
    details: Path | None = None
    error: str = ""
    code: str = ""
    reason: dict = field(default_factory=dict, repr=False)
    bad_input: bool = False
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    manifest: dict = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Report:
    """What became of a batch."""

    folder: Path
    outcomes: tuple[Outcome, ...]
    seconds: float
    warnings: tuple[str, ...] = ()
    record: Path | None = None
    tracked: str = ""  # address of its run in the MLflow UI, below the UI's root

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


def run(
    params: Params,
    *,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    record: Path | None = None,
    models: Models | None = None,
) -> Report:
    """Make every video that `params.inputs` asks for.

    Parameters
    ----------
    params : Params
    progress : callable, optional
        Told about every step; see `Progress`.
    cancel : threading.Event, optional
        Set it to stop soon; finished items stay, nothing is left half-written.
    record : path, optional
        File that receives the summary; `batch.json` in the output folder when not given.
    models : heygem.pipeline.models.Models, optional
        Those that are in memory already; else loaded when the first item needs them.

    Raises
    ------
    ParameterError, InputError, OutputError
        What concerns the whole batch: no inputs named, unusable audio, unwritable output, another
        run in the same folder. What concerns one item is in the report instead.
    """
    started = time.monotonic()
    cancel = cancel or threading.Event()
    folder = Path(params.inputs.output)
    items = plan(params)
    with (
        output_lock.lock_output_dir(folder),
        tempfile.TemporaryDirectory(prefix="heygem-") as scratch,
    ):
        output_lock.remove_stale_parts(folder)
        try:
            sounds = Sounds(Path(scratch))
            if params.inputs.pairs is None:  # one for all: what is wrong with it ends the batch
                sounds.of(items[0])
            runner = _Runner(params, sounds, progress, cancel, models)
            outcomes = runner.run(items)
        finally:
            output_lock.remove_empty_dirs(folder / DETAILS)
        seconds = time.monotonic() - started
        report = Report(
            folder, tuple(outcomes), seconds, tuple(runner.warnings), tracked=runner.tracked
        )
        # Where nothing was made, nothing is left, unless somebody asked for a record.
        if record is not None or report.of("done", "skipped"):
            target = record or folder / RECORD
            write_json(target.parent, summary(report, params), name=target.name)
            report = replace(report, record=target)
    return report


def summary(report: Report, params: Params) -> dict:
    """The report as plain data, as it is written to the record."""
    rows = []
    for outcome in report.outcomes:
        row = {
            key: value
            for key, value in asdict(replace(outcome, params=None)).items()
            if key not in ("manifest", "params")
        }
        rows.append({key: str(v) if isinstance(v, Path) else v for key, v in row.items()})
    return {
        "schema": manifest.SCHEMA,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "exit_code": report.exit_code,
        "folder": str(report.folder.absolute()),
        "seconds": round(report.seconds, 2),
        "warnings": list(report.warnings),
        "params_sha256": params.digest(),
        "items": rows,
    }


class _Runner:
    """First sees what is done already, then loads the models, then makes the rest."""

    def __init__(self, params, sounds, progress, cancel, models):
        self.params = params
        self.sounds = sounds
        self.progress = progress
        self.cancel = cancel
        self.warnings: list[str] = []
        self.tracked = ""
        self._models = models
        self._own_models = False

    def run(self, items) -> list[Outcome]:
        outcomes: dict[str, Outcome] = {}
        identities: dict[str, tuple[str, str]] = {}
        with store.batch(self.params, names=[item.name for item in items]) as tracker:

            def ended(item, outcome):
                outcomes[item.name] = outcome
                tracker.log(outcome)

            for item in items:
                outcome = self._guarded(item, lambda item=item: self._done(item, identities))
                if outcome is not None:
                    ended(item, outcome)
            todo = [item for item in items if item.name not in outcomes]
            if todo and not self.cancel.is_set():
                try:
                    self._prepare(todo[0], len(items))
                except KeyboardInterrupt:  # in a notebook; the items are reported as cancelled
                    self.cancel.set()
            for k, item in enumerate(todo):
                number = items.index(item)
                make = lambda item=item, number=number: self._make(  # noqa: E731
                    item, number, len(items), *identities[item.name]
                )
                ended(item, self._guarded(item, make))
                self._forget(item, todo[k + 1 :])
        self.tracked = tracker.address
        if tracker.problem:
            self.warnings.append(tracker.problem)
        return [outcomes[item.name] for item in items]

    def _prepare(self, item, count):
        """Models and a common sound serve every item: what is wrong with them ends the batch."""
        tell = self._teller(item.name, 0, count)
        tell("load models", 0, 1)
        if self._models is None:
            self._models = pipeline.load_models(self.params)
            self._own_models = True
        if self.params.inputs.pairs is None:
            tell("listen", 0, 1)
            self._models.encode_audio(
                self.sounds.of(item)[0],
                self.params.audio,
                predict=pipeline.find_engine(self.params.engine).uses_motion,
            )

    def _forget(self, item, rest):
        """A sound that no later item speaks leaves the memory."""
        path = self.sounds.known(item) if self._own_models else None
        if path is not None and all(self.sounds.known(other) != path for other in rest):
            self._models.forget_audio(path)

    def _teller(self, name, number, count):
        def tell(stage, done, total):
            if self.progress:
                self.progress(name, number, count, stage, done, total)

        return tell

    def _guarded(self, item, act) -> Outcome | None:
        """Whatever happens to one item stays with it."""
        started = time.monotonic()

        def bad(status, **details):
            seconds = time.monotonic() - started
            return Outcome(
                item.name,
                item.video,
                status,
                sound=item.sound,
                params=item.params,
                seconds=seconds,
                **details,
            )

        if self.cancel.is_set():
            return bad("cancelled")
        try:
            outcome = act()
            return outcome and replace(outcome, seconds=time.monotonic() - started)
        except Cancelled:
            return bad("cancelled")
        except KeyboardInterrupt:
            # The rest is reported as cancelled too; what is finished stays.
            self.cancel.set()
            return bad("cancelled")
        except HeygemError as error:
            said = {"error": str(error), "code": error.code, "reason": error.parts}
            return bad("failed", bad_input=True, **said)
        except Exception as error:
            log.exception("unexpected failure of %r", item.name)
            words = " ".join(str(error).split())
            line = f"{item.video.name}: unexpected {type(error).__name__}: {words}"
            return bad("failed", error=line.replace("\n", "\\n"), code="INTERNAL")

    def _done(self, item, identities) -> Outcome | None:
        """The outcome of an item that an earlier run has finished."""
        video_sha256 = content_sha256(item.video)
        identity = manifest.item_id(item.params, video_sha256, self.sounds.of(item)[1])
        identities[item.name] = (video_sha256, identity)
        known = read_json(item.details)
        if not manifest.is_up_to_date(known, identity, item.output):
            return None
        said = tuple(known.get("warnings", ()))
        return self._outcome(item, "skipped", known, said)

    def _make(self, item, number, count, video_sha256, identity) -> Outcome:
        result = pipeline.generate(
            item.video,
            self.sounds.of(item)[0],
            item.output,
            item.params,
            models=self._models,
            progress=self._teller(item.name, number, count),
            cancel=self.cancel,
        )
        said = [*result.warnings, *_draw(result, item)]
        content = self._manifest(item, identity, video_sha256, result, said)
        write_json(item.details, content)
        return self._outcome(item, "done", content, tuple(said))

    @staticmethod
    def _outcome(item, status, content, said) -> Outcome:
        return Outcome(
            item.name,
            item.video,
            status,
            sound=item.sound,
            params=item.params,
            output=item.output,
            details=item.details,
            warnings=said,
            manifest=content,
        )

    def _manifest(self, item, identity, video_sha256, result, warnings):
        made = item.output.stat()
        inputs = item.params.inputs
        spoken = {"text": inputs.text, "voice": inputs.voice} if inputs.audio is None else {}
        return {
            **(result.manifest or {}),
            "schema": manifest.SCHEMA,
            "id": identity,
            "status": "done",
            "name": item.name,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "video": {"path": str(item.video), "sha256": video_sha256},
            "audio": {"path": inputs.audio, "sha256": self.sounds.of(item)[1], **spoken},
            "output": {
                "file": os.path.relpath(item.output, item.details),
                "sha256": sha256(item.output),
                "bytes": made.st_size,
                "duration_s": result.duration_s,
                "frames": result.frames,
            },
            "skipped_frames": dict(result.skipped_frames),
            "params": item.params.tree(),
            "params_sha256": item.params.digest(),
            "models": manifest.model_hashes(item.params),
            "code": code_version(),
            "timings": dict(result.timings),
            "warnings": list(warnings),
        }


def _draw(result, item) -> list[str]:
    """Contact sheet and lip curve; a picture that cannot be drawn is a warning, not a failure."""
    try:
        item.details.mkdir(parents=True, exist_ok=True)
        figures.save_image(figures.contact_sheet(item.output), item.details / "contact_sheet.png")
        if result.trajectory is not None:
            curve = figures.lip_curve(result.trajectory)
            curve.savefig(item.details / "lip_curve.png", dpi=110)
            figures.save_curve(result.trajectory, item.details / "lip_curve.csv")
    except Exception as error:
        log.exception("no pictures of %r", item.name)
        return [f"contact sheet or lip curve could not be drawn: {type(error).__name__}"]
    return []
