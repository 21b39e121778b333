"""`heygem evaluate`: the command around `heygem.evaluation.evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from heygem.config.params import Params
from heygem.core.errors import ParameterError


def evaluate(
    clips: Annotated[
        list[Path],
        typer.Argument(
            metavar="CLIP...", help="Videos of people the model was not trained on, or folders."
        ),
    ],
    cross_audio: Annotated[
        list[Path] | None,
        typer.Option(
            "--cross-audio", metavar="A", help="Another person's speech; may be repeated."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder that receives the table.")
    ] = Path("runs/evaluate"),
    model: Annotated[
        Path | None, typer.Option("--model", help="Lips model; default: the one that is shipped.")
    ] = None,
    params: Annotated[
        Path | None, typer.Option("--params", metavar="P.yaml", help="Recipe with other settings.")
    ] = None,
    test_fraction: Annotated[
        float, typer.Option(min=0.1, max=0.9, help="Last part of each clip, held out.")
    ] = 0.4,
    max_held_out_s: Annotated[
        float, typer.Option("--max-seconds", min=2, help="Evaluate no more of a clip than this.")
    ] = 30.0,
    baselines: Annotated[bool, typer.Option(help="Render and measure the baselines too.")] = True,
    finetune_seconds: Annotated[
        str,
        typer.Option(
            "--finetune-seconds", metavar="S,S,...", help="Fine-tune on so many seconds of footage."
        ),
    ] = "",
    save_visuals: Annotated[
        bool,
        typer.Option(
            "--save-visuals", help="Write a contact sheet and a comparison video of each clip."
        ),
    ] = False,
    old_cross_audio: Annotated[list[Path] | None, typer.Option("--other", hidden=True)] = None,
    old_test_fraction: Annotated[
        float | None, typer.Option("--share", min=0.1, max=0.9, hidden=True)
    ] = None,
    old_baselines: Annotated[
        bool | None, typer.Option("--anchors/--no-anchors", hidden=True)
    ] = None,
    old_finetune_seconds: Annotated[str | None, typer.Option("--few-shot", hidden=True)] = None,
    old_save_visuals: Annotated[bool | None, typer.Option("--look/--no-look", hidden=True)] = None,
) -> None:
    """Measure the mouths: one table and one figure, with baselines to compare with.

    Each person is fitted on the first part of the clip; the last part is rendered again with its
    own audio, tracked, and compared with the real mouth. Started again after a stop, it continues
    with the clips that are left.
    """
    from heygem.evaluation import record, table
    from heygem.evaluation.protocol import EvaluateSettings
    from heygem.evaluation.protocol import evaluate as run_evaluation

    # The names of options before they were renamed; to be removed after one release.
    if old_cross_audio:
        cross_audio = [*(cross_audio or ()), *old_cross_audio]
        _warn_renamed("--other", "--cross-audio")
    if old_test_fraction is not None:
        test_fraction = old_test_fraction
        _warn_renamed("--share", "--test-fraction")
    if old_baselines is not None:
        baselines = old_baselines
        _warn_renamed("--anchors/--no-anchors", "--baselines/--no-baselines")
    if old_finetune_seconds is not None:
        finetune_seconds = old_finetune_seconds
        _warn_renamed("--few-shot", "--finetune-seconds")
    if old_save_visuals is not None:
        save_visuals = old_save_visuals
        _warn_renamed("--look", "--save-visuals")

    recipe = Params.from_yaml(params) if params is not None else Params()
    if model is not None:
        recipe = recipe.override({"lips.model": str(model)})
    settings = EvaluateSettings(
        test_fraction=test_fraction,
        max_held_out_s=max_held_out_s,
        baselines=baselines,
        finetune_seconds=parse_seconds(finetune_seconds),
    )

    def report_progress(stage: str, done: int, total: int) -> None:
        typer.echo(f"[{done}/{total}] {stage}", err=True)

    results = run_evaluation(
        clips,
        recipe,
        settings,
        cross_audio=cross_audio or (),
        progress=report_progress,
        cache_dir=out / "clips",
        visuals_dir=out / "visuals" if save_visuals else None,
    )
    paths = record.save(results, out, recipe, settings)
    record.log_run(results, out, recipe, settings)
    typer.echo(table.to_markdown(results))
    for path in paths:
        typer.echo(path)


def _warn_renamed(old: str, new: str) -> None:
    typer.echo(f"{old} is now called {new}; the old name works for one more release", err=True)


def parse_seconds(text: str) -> tuple[float, ...]:
    """Amounts of footage from "15,30,60".

    Raises
    ------
    ParameterError
        One is not a positive number of seconds.
    """
    try:
        amounts = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        amounts = (-1.0,)
    if any(not 0 < amount < 1e5 for amount in amounts):
        raise ParameterError(
            "--finetune-seconds takes seconds, separated by commas",
            seen=text,
            remedy="such as 15,30,60",
        )
    return amounts
