"""Many videos, one audio: each item on its own, what is done stays done.

A batch loads the models once. One item's failure is its own: it is recorded with one clear line,
and the others finish. An item is skipped when its manifest proves that the very same inputs,
parameters, models and code have made the very same file.
"""

import hashlib
import logging
import os
import tempfile
import threading
import time
import wave
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import numpy as np

from heygem import assets, figures, manifest, pipeline, speech, tracking, workplace
from heygem.errors import Cancelled, HeygemError, InputError, ParameterError
from heygem.params import Params

log = logging.getLogger(__name__)

DETAILS = "details"  # folder beside the videos: manifests, contact sheets, curves
RECORD = "batch.json"

Status = Literal["done", "skipped", "failed", "cancelled"]
#: progress(item name, item number from 0, number of items, stage, done, total)
Progress = Callable[[str, int, int, str, int, int], None]


@dataclass(frozen=True)
class Item:
    """One video to make."""

    name: str
    video: Path
    output: Path
    details: Path


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes
    ----------
    error, code : str
        One line, and its kind, for a failed item; else empty.
    manifest : dict
        Of a done or skipped item; else empty.
    """

    name: str
    video: Path
    status: Status
    output: Path | None = None
    details: Path | None = None
    error: str = ""
    code: str = ""
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
    models: pipeline.Models | None = None,
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
    models : heygem.pipeline.Models, optional
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
    with workplace.claimed(folder), tempfile.TemporaryDirectory(prefix="heygem-") as scratch:
        workplace.sweep(folder)
        try:
            audio, audio_sha256 = _speech(params, Path(scratch))
            runner = _Runner(params, audio, audio_sha256, progress, cancel, models)
            outcomes = runner.run(items)
        finally:
            workplace.tidy(folder / DETAILS)
        seconds = time.monotonic() - started
        report = Report(folder, tuple(outcomes), seconds, tuple(runner.warnings))
        # Where nothing was made, nothing is left, unless somebody asked for a record.
        if record is not None or report.of("done", "skipped"):
            target = record or folder / RECORD
            manifest.write(target.parent, summary(report, params), name=target.name)
            report = replace(report, record=target)
    return report


def plan(params: Params) -> list[Item]:
    """The items of a batch, with names that are safe, unlike each other and stable."""
    inputs = params.inputs
    if not inputs.videos:
        raise ParameterError("no video is named", remedy="list some under inputs.videos")
    if inputs.audio is None and inputs.text is None:
        raise ParameterError("no speech is named", remedy="give inputs.audio or inputs.text")
    folder = Path(inputs.output)
    sound = Path(inputs.audio).stem if inputs.audio is not None else "speech"
    videos = [Path(video) for video in dict.fromkeys(inputs.videos)]  # the same twice is one
    plain = [f"{video.stem}-{sound}" for video in videos]
    typed = [f"{video.stem}-{video.suffix[1:]}-{sound}" for video in videos]
    items = []
    for video, name in zip(
        videos, _unlike(_unlike(plain, typed), _marked(typed, videos)), strict=True
    ):
        items.append(Item(name, video, folder / f"{name}.mp4", folder / DETAILS / name))
    return items


def _unlike(names, longer):
    """Safe names; those that would fall together, on any file system, give way to longer ones."""
    names = [manifest.safe_name(name) for name in names]
    keys = [name.casefold() for name in names]
    return [
        manifest.safe_name(other) if keys.count(key) > 1 else name
        for name, key, other in zip(names, keys, longer, strict=True)
    ]


def _marked(names, videos):
    """Names with a mark of the file's place: adding another file does not change them."""
    marks = [hashlib.sha256(os.fsencode(video.absolute())).hexdigest()[:6] for video in videos]
    return [f"{mark}-{name}" for mark, name in zip(marks, names, strict=True)]


def summary(report: Report, params: Params) -> dict:
    """The report as plain data, as it is written to the record."""
    rows = []
    for outcome in report.outcomes:
        row = {key: value for key, value in asdict(outcome).items() if key != "manifest"}
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

    def __init__(self, params, audio, audio_sha256, progress, cancel, models):
        self.params = params
        self.audio = audio
        self.audio_sha256 = audio_sha256
        self.progress = progress
        self.cancel = cancel
        self.warnings: list[str] = []
        self._models = models

    def run(self, items) -> list[Outcome]:
        outcomes: dict[str, Outcome] = {}
        identities: dict[str, tuple[str, str]] = {}
        with tracking.batch(self.params, names=[item.name for item in items]) as tracker:

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
                    self._prepare(todo[0].name, len(items))
                except KeyboardInterrupt:  # in a notebook; the items are reported as cancelled
                    self.cancel.set()
            for item in todo:
                number = items.index(item)
                make = lambda item=item, number=number: self._make(  # noqa: E731
                    item, number, len(items), *identities[item.name]
                )
                ended(item, self._guarded(item, make))
        if tracker.problem:
            self.warnings.append(tracker.problem)
        return [outcomes[item.name] for item in items]

    def _prepare(self, name, count):
        """Models and sound serve every item: what is wrong with them ends the batch."""
        tell = self._teller(name, 0, count)
        tell("load models", 0, 1)
        if self._models is None:
            self._models = pipeline.load_models(self.params)
        tell("listen", 0, 1)
        self._models.hear(self.audio, self.params.audio)

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
            return Outcome(item.name, item.video, status, seconds=seconds, **details)

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
            return bad("failed", error=str(error), code=error.code, bad_input=True)
        except Exception as error:
            log.exception("unexpected failure of %r", item.name)
            words = " ".join(str(error).split())
            line = f"{item.video.name}: unexpected {type(error).__name__}: {words}"
            return bad("failed", error=line.replace("\n", "\\n"), code="INTERNAL")

    def _done(self, item, identities) -> Outcome | None:
        """The outcome of an item that an earlier run has finished."""
        video_sha256 = _content(item.video)
        identity = manifest.item_id(self.params, video_sha256, self.audio_sha256)
        identities[item.name] = (video_sha256, identity)
        known = manifest.read(item.details)
        if not manifest.proves(known, identity, item.output):
            return None
        said = tuple(known.get("warnings", ()))
        return self._outcome(item, "skipped", known, said)

    def _make(self, item, number, count, video_sha256, identity) -> Outcome:
        result = pipeline.generate(
            item.video,
            self.audio,
            item.output,
            self.params,
            models=self._models,
            progress=self._teller(item.name, number, count),
            cancel=self.cancel,
        )
        said = [*result.warnings, *_draw(result, item)]
        content = self._manifest(item, identity, video_sha256, result, said)
        manifest.write(item.details, content)
        return self._outcome(item, "done", content, tuple(said))

    @staticmethod
    def _outcome(item, status, content, said) -> Outcome:
        return Outcome(
            item.name,
            item.video,
            status,
            output=item.output,
            details=item.details,
            warnings=said,
            manifest=content,
        )

    def _manifest(self, item, identity, video_sha256, result, warnings):
        made = item.output.stat()
        inputs = self.params.inputs
        spoken = {"text": inputs.text, "voice": inputs.voice} if inputs.audio is None else {}
        return {
            **(result.manifest or {}),
            "schema": manifest.SCHEMA,
            "id": identity,
            "status": "done",
            "name": item.name,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "video": {"path": str(item.video), "sha256": video_sha256},
            "audio": {"path": inputs.audio, "sha256": self.audio_sha256, **spoken},
            "output": {
                "file": os.path.relpath(item.output, item.details),
                "sha256": assets.sha256(item.output),
                "bytes": made.st_size,
                "duration_s": result.duration_s,
                "frames": result.frames,
            },
            "passed_through": dict(result.passed_through),
            "params": self.params.tree(),
            "params_sha256": self.params.digest(),
            "models": manifest.model_hashes(self.params),
            "code": manifest.code_version(),
            "timings": dict(result.timings),
            "warnings": list(warnings),
        }


def _content(path: Path) -> str:
    """sha256 of an input; says in one line why it cannot be read."""
    try:
        return assets.sha256(path)
    except FileNotFoundError as error:
        raise InputError("no such file", seen=path, remedy="check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot read the file ({reason})", seen=path, remedy="give a readable media file"
        ) from error


def _speech(params, scratch: Path):
    """The audio file of the batch and its hash; text is spoken first."""
    inputs = params.inputs
    if inputs.audio is not None:
        path = Path(inputs.audio)
        return path, _content(path)
    said = speech.synthesize(inputs.text, inputs.language, voice=inputs.voice)
    path = scratch / "speech.wav"
    _write_wave(path, said.samples, said.rate_hz)
    return path, assets.sha256(path)


def _write_wave(path, samples, rate_hz):
    whole = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(rate_hz)
        target.writeframes(whole.tobytes())


def _draw(result, item) -> list[str]:
    """Contact sheet and lip curve; a picture that cannot be drawn is a warning, not a failure."""
    try:
        item.details.mkdir(parents=True, exist_ok=True)
        figures.save_image(figures.contact_sheet(item.output), item.details / "contact_sheet.png")
        curve = figures.lip_curve(result.trajectory)
        curve.savefig(item.details / "lip_curve.png", dpi=110)
    except Exception as error:
        log.exception("no pictures of %r", item.name)
        return [f"contact sheet or lip curve could not be drawn: {type(error).__name__}"]
    return []
