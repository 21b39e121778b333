"""`heygem generate`, `heygem run` and `heygem check`."""

import os
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heygem.cli.options import Change, Overwrite, Recipe, printable, read_changes, renamed
from heygem.core import interrupts, logs
from heygem.core.errors import HeygemError, ParameterError

if TYPE_CHECKING:
    from heygem.avatar import Avatar
    from heygem.config.params import Params


Videos = Annotated[
    list[str] | None,
    typer.Option("--video", metavar="V", help="Video or portrait; may be repeated."),
]
Audio = Annotated[
    str | None, typer.Option("--audio", metavar="A", help="Audio file with the speech.")
]
Text = Annotated[str | None, typer.Option("--text", help="Text to be spoken, instead of --audio.")]
Pairs = Annotated[
    str | None,
    typer.Option(
        "--pairs",
        metavar="TABLE.csv",
        help="Table with columns video, audio (or text), name, and settings as lips.offset_ms.",
    ),
]
Out = Annotated[
    str | None, typer.Option("--out", metavar="DIR", help="Folder that receives the videos.")
]


def generate(
    videos: Videos = None,
    audio: Audio = None,
    text: Text = None,
    pairs: Pairs = None,
    out: Out = None,
    params: Recipe = None,
    changes: Change = None,
    overwrite: Overwrite = False,
) -> None:
    """Make videos: every given person speaks the same audio; or one video per row of a table.

    A video that an earlier run finished with the same inputs and settings is not made again. A
    file that heygem did not make is not replaced, unless --overwrite says so; an input never is.
    Ctrl-C stops; finished videos stay and no partial file is left.
    """
    settings = read_recipe(videos, audio, text, pairs, out, params, changes, overwrite)
    from heygem.audio import ahead

    if settings.inputs.audio is not None and settings.inputs.pairs is None:
        ahead.start(settings.inputs.audio, settings.audio)
    from heygem.batch import runner
    from heygem.core import progress

    with logs.quiet_libraries(), interrupts.stoppable() as cancel, progress.Bar() as bar:
        report = runner.run(settings, progress=bar, cancel=cancel)
    print_items(runner.summary(report, settings))
    raise typer.Exit(report.exit_code)


def run(
    params: Annotated[Path, typer.Argument(metavar="PARAMS.yaml", help="Recipe; see params/.")],
    notebook: Annotated[
        str, typer.Option("--notebook", help="Notebook to run it through.")
    ] = "10_generate",
    changes: Change = None,
    overwrite: Overwrite = False,
) -> None:
    """Run a recipe through a notebook, and keep the executed notebook in runs/."""
    settings = _read_params(params, changes, {"inputs.overwrite": True} if overwrite else {})
    from heygem.batch import notebooks

    with logs.quiet_libraries():
        execution = notebooks.execute(
            notebooks.find(notebook),
            settings,
            name=params.stem,
            stream=sys.stderr if sys.stderr.isatty() else None,
        )
    print_items(execution.record)
    typer.echo(f"notebook: {execution.notebook}")
    if settings.mlflow.enabled:
        folder = shlex.quote(settings.mlflow.folder)
        typer.echo(f"compare runs: {_command_name()} ui --folder {folder}")
    raise typer.Exit(execution.record["exit_code"])


def check(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="AUDIO VIDEO...", hidden=True)
    ] = None,
    audio: Annotated[
        str | None, typer.Option("--audio", metavar="A", help="Audio file with the speech.")
    ] = None,
    videos: Annotated[
        list[str] | None,
        typer.Option("--video", metavar="V", help="Video or portrait; may be repeated."),
    ] = None,
    params: Recipe = None,
) -> None:
    """Report the quality of inputs, and what to improve, before any work."""
    settings = _read_params(params, None, {})
    from heygem.core import progress
    from heygem.pipeline.people import load_person

    files, videos = list(files or ()), list(videos or ())
    if files:  # the form before --audio and --video
        renamed("heygem check AUDIO VIDEO...", "heygem check --audio AUDIO --video VIDEO...")
        audio = audio if audio is not None else files.pop(0)
        videos += files
    names = [*([audio] if audio is not None else []), *videos]
    if not names:
        raise ParameterError("no file is named", remedy="give --audio, --video or both")
    unusable = 0
    with logs.quiet_libraries(), progress.Bar() as bar:
        for number, name in enumerate(names):
            try:
                if audio is not None and number == 0:
                    lines = _describe_audio(name)
                else:
                    report_progress = partial(bar, Path(name).name, number, len(names))
                    person = load_person(name, settings.face, progress=report_progress)
                    lines = _describe_avatar(person)
            except HeygemError as error:
                unusable += 1
                lines = [f"UNUSABLE: {error}"]
            bar.clear()
            typer.echo(printable(name))
            for line in lines:
                typer.echo(f"  {line}")
    raise typer.Exit(2 if unusable else 0)


def _describe_audio(name: str) -> list[str]:
    from heygem import audio

    speech = audio.load(name)
    findings = audio.check(speech)
    lines = [f"{speech.duration_s:.1f} s of sound"]
    lines += [f"{finding.level}: {finding.message}" for finding in findings]
    lines += [f"note: {note}" for note in speech.notes]
    if all(finding.level == "info" for finding in findings):
        lines.append("good")
    return lines


def _describe_avatar(avatar: "Avatar") -> list[str]:
    from heygem.avatar.reasons import describe

    report, info = avatar.report, avatar.info
    size = f"{info.video.width}x{info.video.height}, " if info.video is not None else ""
    length = "still portrait" if info.is_still else f"{info.duration_s:.1f} s"
    lines = [
        f"{size}{length}, face {report['face_px']:.0f} px wide",
        f"{report['usable_frames']} of {report['frames']} frames usable",
    ]
    lines += [
        f"warning: {count} frames stay unchanged: {describe(reason)}"
        for reason, count in avatar.unusable_frames.items()
        if count
    ]
    lines += [f"warning: {advice}" for advice in report["advice"]]
    lines += [f"note: {note}" for note in report["notes"]]
    if not report["advice"] and not any(avatar.unusable_frames.values()):
        lines.append("good")
    return lines


def read_recipe(
    videos: list[str] | None,
    audio: str | None,
    text: str | None,
    pairs: str | None,
    out: str | None,
    params: Path | None,
    changes: list[str] | None,
    overwrite: bool,
) -> "Params":
    """The recipe that the options of `heygem generate` say."""
    options: dict[str, Any] = {"inputs.videos": list(videos or ()) or None, "inputs.output": out}
    options |= {"inputs.audio": audio, "inputs.text": text, "inputs.pairs": pairs}
    options["inputs.overwrite"] = overwrite or None
    if pairs is not None and not videos:  # the table replaces the recipe's videos
        options["inputs.videos"] = []
    return _read_params(params, changes, {k: v for k, v in options.items() if v is not None})


def _read_params(path: Path | None, changes: list[str] | None, options: dict[str, Any]) -> "Params":
    """Recipe file, changed by --set, changed by the command's own options."""
    from heygem.config.params import Params

    settings = Params.from_yaml(path) if path is not None else Params()
    overrides = read_changes(changes) | options
    # Speech given as an option replaces that of the recipe.
    if "inputs.audio" in options and "inputs.text" not in options:
        overrides["inputs.text"] = None
    if "inputs.text" in options and "inputs.audio" not in options:
        overrides["inputs.audio"] = None
    return settings.override(overrides) if overrides else settings


def _command_name() -> str:
    """How to call heygem again: in an environment that is not activated, by its path."""
    script = Path(sys.argv[0])
    on_path = shutil.which("heygem") or script.name != "heygem"
    return "heygem" if on_path else os.path.relpath(script)


def print_items(record: dict[str, Any]) -> None:
    """Print a batch's record: videos to stdout, one a line; failures to stderr, one line each."""
    several = len({item["sound"] for item in record["items"]}) > 1
    for item in record["items"]:
        inputs = printable(item["video"])
        if several:
            inputs += f" with {printable(item['sound'])[:60]}"
        if item["status"] in ("done", "skipped"):
            state = "already there" if item["status"] == "skipped" else f"{item['seconds']:.1f} s"
            typer.echo(f"{printable(item['output'])}  ({state})")
            for warning in item["warnings"]:
                typer.echo(f"  warning: {warning}")
        elif item["status"] == "failed":
            typer.echo(f"failed: {inputs}: {item['error']}", err=True)
            if item["code"] == "INTERNAL":
                typer.echo(f"  details: {logs.log_file()}", err=True)
        else:
            typer.echo(f"not made: {inputs}", err=True)
    for warning in record["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
