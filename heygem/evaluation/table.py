"""Evaluation results as Markdown and as CSV."""

import csv
from collections.abc import Collection, Iterator, Sequence

from heygem.core.types import PathLike
from heygem.evaluation.results import (
    FINETUNED,
    METRICS,
    MODEL,
    ORACLE,
    REAL,
    UNDEFINED,
    Measures,
    Results,
    metrics_of,
)

SYNC_METRICS = ("aperture_corr", "aligned_corr", "lag_corrected_corr", "lag_ms", "residual_lag_ms")
FINETUNE_METRICS = ("aperture_corr", "lag_corrected_corr", "residual_lag_ms", "amplitude_ratio")

Cells = list[list[str]]


def to_markdown(results: Results) -> str:
    """Means of every method, means by sync, the model clip by clip, the fine-tuning curve."""
    sections = [_means(results), *_reported(results), _by_group(results), _clip_by_clip(results)]
    for clip, facts in results.facts.items():
        if "words" in facts:
            sections.append(
                f"Words evaluated in {clip}: {facts['words']}; always answering with the most "
                f"frequent one is right for {facts['word_chance']:.2f}.\n"
            )
    if results.points:
        sections.append(
            "## Fine-tuning curve: predicted against tracked aperture\n\n"
            + _markdown(*_finetune_cells(results))
        )
    sections += [f"Skipped: {clip}: {reason}\n" for clip, reason in results.skipped.items()]
    return "\n".join(sections)


def write_csv(results: Results, path: PathLike) -> None:
    """One line per clip, method and audio; each metric has a column and a `_spread` column."""
    keys = metrics_of(results.rows)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["model", "speaker", "clip", "audio", "method"]
            + ["library_start_s", "library_end_s", "held_out_start_s", "held_out_end_s"]
            + [name for k in keys for name in (k, f"{k}_spread")]
        )
        for row in results.rows:
            cells = [results.model, row.speaker, row.clip, row.audio, row.method]
            cells += [f"{v:.3f}" for v in (*row.library_s, *row.held_out_s)]
            for key in keys:
                measure = row.measures.get(key, UNDEFINED)
                cells += [f"{measure.value:.5g}", f"{measure.spread:.5g}"]
            writer.writerow(cells)


def write_finetune_csv(results: Results, path: PathLike) -> None:
    """One line per clip and amount of footage, as shown in the Markdown table."""
    header, rows = _finetune_cells(results)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _means(results: Results, clips: Collection[str] | None = None, kind: str = "") -> str:
    means, keys = results.means(clips), metrics_of(results.rows)
    header = ["method", *(f"{METRICS[k].label} ({METRICS[k].target})" for k in keys)]
    rows = [[method, *_format(measures, keys)] for method, measures in means.items()]
    speakers = len({row.speaker for row in results.rows if clips is None or row.clip in clips})
    title = f"## {results.model}: mean ± deviation over {speakers} {kind}speakers\n\n"
    return title + _markdown(header, rows)


def _reported(results: Results) -> Iterator[str]:
    """The same for the speakers on whom nothing was chosen, where there are such."""
    reported = results.groups().get("report speakers")
    if reported:
        yield _means(results, reported, "report ")


def _by_group(results: Results) -> str:
    rows = []
    for group, clips in results.groups().items():
        means = results.means(clips)
        for method in (m for m in (REAL, ORACLE, MODEL, FINETUNED) if means.get(m)):
            members = [r for r in results.rows if r.clip in clips and r.method == method]
            speakers = len({r.speaker for r in members})
            rows.append([group, str(speakers), method, *_format(means[method], SYNC_METRICS)])
    header = ["clips", "speakers", "method", *(METRICS[k].label for k in SYNC_METRICS)]
    return "## Audio-visual sync, by groups of clips\n\n" + _markdown(header, rows)


def _clip_by_clip(results: Results) -> str:
    own = [row for row in results.rows if row.method in (MODEL, FINETUNED)]
    keys = metrics_of(own)
    rows = [
        [
            row.clip,
            row.method,
            row.audio,
            "{:.1f}–{:.1f}".format(*row.library_s),
            "{:.1f}–{:.1f}".format(*row.held_out_s),
            *_format(row.measures, keys),
        ]
        for row in own
    ]
    header = ["clip", "method", "audio", "library s", "held out s"]
    title = f"## {results.model}: each clip ± deviation over its windows\n\n"
    return title + _markdown([*header, *(METRICS[k].label for k in keys)], rows)


def _finetune_cells(results: Results) -> tuple[list[str], Cells]:
    rows = [
        [
            point.clip,
            f"{point.seconds:.0f}",
            "{:.1f}–{:.1f}".format(*point.held_out_s),
            "base" if point.kept_base else "fine-tuned",
            *_format(point.measures, FINETUNE_METRICS),
        ]
        for point in results.points
    ]
    header = ["clip", "footage s", "held out s", "model"]
    return [*header, *(METRICS[k].label for k in FINETUNE_METRICS)], rows


def _format(measures: Measures, keys: Sequence[str]) -> list[str]:
    return [measures.get(k, UNDEFINED).format(METRICS[k].digits) for k in keys]


def _markdown(header: Sequence[str], rows: Cells) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
