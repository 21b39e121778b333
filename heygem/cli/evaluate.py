"""`heygem evaluate`: the command around `heygem.evaluation.evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from heygem.config.params import Params
from heygem.core.errors import ParameterError


def evaluate(
    clips: Annotated[
        list[Path],
        typer.Argument(metavar="CLIP...", help="Talking people never trained on, or folders."),
    ],
    other: Annotated[
        list[Path] | None,
        typer.Option("--other", metavar="A", help="Somebody else's speech; may be repeated."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder that receives the table.")
    ] = Path("runs/evaluate"),
    model: Annotated[
        Path | None, typer.Option("--model", help="Lips model; default: the one of the kit.")
    ] = None,
    params: Annotated[
        Path | None, typer.Option("--params", metavar="P.yaml", help="Recipe with other settings.")
    ] = None,
    share: Annotated[
        float, typer.Option(min=0.1, max=0.9, help="Last part of each clip, judged.")
    ] = 0.4,
    max_held_out_s: Annotated[
        float, typer.Option("--max-seconds", min=2, help="Judge no more of a clip than this.")
    ] = 30.0,
    anchors: Annotated[
        bool, typer.Option(help="Also draw and judge mouths that anybody can make.")
    ] = True,
    few_shot: Annotated[
        str,
        typer.Option("--few-shot", metavar="S,S,...", help="Adapt to so many seconds of footage."),
    ] = "",
    look: Annotated[
        bool, typer.Option(help="Keep a contact sheet and a comparison video of each clip.")
    ] = False,
):
    """Measure the mouths: one table and one figure, with anchors to compare with.

    Each person is learnt from the first part of the clip; the last part is drawn anew with its
    own sound, tracked again and compared with the real mouth. Stopped and started again, it goes
    on with the clips that are left.
    """
    from heygem.evaluation import record
    from heygem.evaluation.protocol import EvaluateSettings
    from heygem.evaluation.protocol import evaluate as judge

    recipe = Params.from_yaml(params) if params is not None else Params()
    if model is not None:
        recipe = recipe.override({"lips.model": str(model)})
    settings = EvaluateSettings(
        share=share,
        max_held_out_s=max_held_out_s,
        anchors=anchors,
        few_shot_s=_seconds(few_shot),
    )

    def tell(stage, done, total):
        typer.echo(f"[{done}/{total}] {stage}", err=True)

    table = judge(
        clips,
        recipe,
        settings,
        others=other or (),
        progress=tell,
        keep=out / "clips",
        look=out / "look" if look else None,
    )
    paths = record.save(table, out, recipe, settings)
    record.log_run(table, out, recipe, settings)
    typer.echo(table.to_markdown())
    for path in paths:
        typer.echo(path)


def _seconds(text):
    try:
        amounts = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        amounts = (-1.0,)
    if any(not 0 < amount < 1e5 for amount in amounts):
        raise ParameterError(
            "--few-shot takes seconds, apart by commas", seen=text, remedy="such as 15,30,60"
        )
    return amounts
