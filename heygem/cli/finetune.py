"""`heygem finetune PERSON.mp4 [more.mp4] --out anna.heygem`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from heygem.cli.options import read_changes
from heygem.core import interrupts, logs
from heygem.core.errors import ConsentError

_QUESTIONS = (
    ("who", "Who agreed (a code is better than a name)"),
    ("purpose", "To what use"),
    ("until", "Until which day (YYYY-MM-DD)"),
    ("reference", "Where the agreement is kept (a reference, not a scan)"),
)


def finetune(
    footage: Annotated[
        list[Path],
        typer.Argument(
            metavar="PERSON.mp4 [MORE.mp4]", help="The first becomes the avatar's video."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="NAME.heygem", help="Folder to make.")],
    consent: Annotated[
        str | None,
        typer.Option(help="Basis: own (yourself), synthetic, recorded (a recorded consent)."),
    ] = None,
    who: Annotated[str, typer.Option(help="Who agreed, for --consent recorded.")] = "",
    purpose: Annotated[str, typer.Option(help="To what.")] = "",
    until: Annotated[str, typer.Option(help="Last day, YYYY-MM-DD.")] = "",
    reference: Annotated[str, typer.Option(help="Where the agreement is kept.")] = "",
    same_person: Annotated[
        list[Path] | None,
        typer.Option(
            "--same-person",
            metavar="MORE.mp4",
            help="State that this file shows the same person, where the faces leave a doubt.",
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Base lips model; none: the bundled one.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="As in --set face.select=index."),
    ] = None,
) -> None:
    """Fine-tune an avatar to one person's footage: articulation and mouth pictures.

    Use the folder in place of a video: heygem generate --video NAME.heygem ...
    Started again after a stop, it continues where it was.
    """
    from heygem.config.params import FaceSettings, checked
    from heygem.core import progress
    from heygem.finetune.consent import Statement
    from heygem.finetune.run import finetune
    from heygem.finetune.settings import FinetuneSettings

    overrides = read_changes(changes)
    prefix = "face."
    of_face = {k.removeprefix(prefix): v for k, v in overrides.items() if k.startswith(prefix)}
    of_finetune = {k: v for k, v in overrides.items() if not k.startswith(prefix)}
    settings, face = checked(FinetuneSettings, of_finetune), checked(FaceSettings, of_face)
    answers = {"who": who, "purpose": purpose, "until": until, "reference": reference}
    statement = Statement(**(_ask(answers) if consent is None else {"basis": consent} | answers))
    with logs.quiet_libraries(), interrupts.stoppable() as cancel, progress.Bar() as bar:
        result = finetune(
            footage,
            out,
            settings,
            consent=statement,
            face=face,
            base=model,
            same_person=same_person or (),
            progress=lambda stage, done, total: bar(out.name, 0, 1, stage, done, total),
            cancel=cancel,
        )
    typer.echo(f"{out}  ({sum(result.seconds.values()):.1f} s)")
    for note in result.notes:
        typer.echo(f"  {note}")
    typer.echo(f"  look at: {out / 'report.html'}")


def _ask(answers: dict[str, str]) -> dict[str, str]:
    """Prompt for the basis of consent; a ConsentError where stdin is not a terminal."""
    if not sys.stdin.isatty():
        raise ConsentError(
            "no basis for using this likeness is stated",
            remedy="give --consent own, synthetic or recorded (with --who, --purpose, --until "
            "and --reference)",
        )
    typer.echo("By law a person whose face is edited must be informed and agree.", err=True)
    kinds = {"1": "own", "2": "synthetic", "3": "recorded"}
    typer.echo("  1  it is me\n  2  no real person\n  3  somebody else, who agreed", err=True)
    choice = typer.prompt("Whose likeness is it", err=True).strip()
    basis = kinds.get(choice, choice)
    if basis == "recorded":
        for key, question in _QUESTIONS:
            answers[key] = answers[key] or typer.prompt(question, err=True)
    return {"basis": basis} | answers
