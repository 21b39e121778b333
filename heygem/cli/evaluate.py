"""`heygem evaluate`: the command around `heygem.evaluation.evaluate`."""

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from heygem.cli.options import Overwrite, renamed
from heygem.core.errors import ParameterError

T = TypeVar("T")

# Options by their names before they were renamed; to be removed after one release.
OldCrossAudio = Annotated[list[Path] | None, typer.Option("--other", hidden=True)]
OldTestFraction = Annotated[float | None, typer.Option("--share", min=0.1, max=0.9, hidden=True)]
OldBaselines = Annotated[bool | None, typer.Option("--anchors/--no-anchors", hidden=True)]
OldFinetuneSeconds = Annotated[str | None, typer.Option("--few-shot", hidden=True)]
OldSaveVisuals = Annotated[bool | None, typer.Option("--look/--no-look", hidden=True)]


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
    report_speakers: Annotated[
        str,
        typer.Option(
            "--report-speakers",
            metavar="NAME,NAME,...",
            help="Speakers on whom nothing was chosen: reported apart.",
        ),
    ] = "",
    save_visuals: Annotated[
        bool,
        typer.Option(
            "--save-visuals", help="Write a contact sheet and a comparison video of each clip."
        ),
    ] = False,
    overwrite: Overwrite = False,
    old_cross_audio: OldCrossAudio = None,
    old_test_fraction: OldTestFraction = None,
    old_baselines: OldBaselines = None,
    old_finetune_seconds: OldFinetuneSeconds = None,
    old_save_visuals: OldSaveVisuals = None,
) -> None:
    """Measure the mouths: one table and one figure, with baselines to compare with.

    Each person is fitted on the first part of the clip; the last part is rendered again with its
    own audio, tracked, and compared with the real mouth. Started again after a stop, it continues
    with the clips that are left.
    """
    from heygem.config.params import Params
    from heygem.evaluation import record, table
    from heygem.evaluation.protocol import EvaluateSettings
    from heygem.evaluation.protocol import evaluate as run_evaluation

    test_fraction = _renamed("--share", "--test-fraction", old_test_fraction, test_fraction)
    baselines = _renamed("--[no-]anchors", "--[no-]baselines", old_baselines, baselines)
    finetune_seconds = _renamed(
        "--few-shot", "--finetune-seconds", old_finetune_seconds, finetune_seconds
    )
    save_visuals = _renamed("--look", "--save-visuals", old_save_visuals, save_visuals)
    cross_audio = _renamed("--other", "--cross-audio", old_cross_audio or None, cross_audio)

    recipe = Params.from_yaml(params) if params is not None else Params()
    if model is not None:
        recipe = recipe.override({"lips.model": str(model)})
    if overwrite:
        recipe = recipe.override({"inputs.overwrite": True})
    settings = EvaluateSettings(
        test_fraction=test_fraction,
        max_held_out_s=max_held_out_s,
        baselines=baselines,
        finetune_seconds=parse_seconds(finetune_seconds),
        report_speakers=tuple(name for name in report_speakers.split(",") if name),
    )

    def report_progress(stage: str, done: int, total: int) -> None:
        typer.echo(f"[{done}/{total}] {stage}", err=True)

    record.check_folder(out, recipe)
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


def _renamed(old: str, new: str, old_value: T | None, value: T) -> T:
    """The value of an option that may have been given by its old name."""
    if old_value is None:
        return value
    renamed(old, new)
    return old_value


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
