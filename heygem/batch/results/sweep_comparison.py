"""The comparison of a sweep: one page, and for each video and speech a film of its variants.

Pictures, curves, tables and films are those of `heygem.experiments.comparison`, made from the items
of the batch instead of from runs in MLflow, which may be away or switched off.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from heygem.batch.results.item_table import Row
from heygem.core import i18n, templating
from heygem.core.i18n import Translate
from heygem.core.own_files import OwnFiles
from heygem.core.types import Progress
from heygem.experiments.batch_summary import manifest_metrics
from heygem.experiments.comparison import film as film_writer
from heygem.experiments.comparison import report as comparisons
from heygem.experiments.comparison.report import Comparison
from heygem.experiments.runs import Run

PAGE, FOLDER = "comparison.html", "comparison"
MAX_GROUPS = 12  # shown on the page; each has a page and a film of its own in any case
_MEANS = (
    ("measures.av_corr", "r"),
    ("measures.av_offset_ms", "ms"),
    ("measures.silence_leakage", ""),
    ("timings.render_s", "s"),
)


@dataclass(frozen=True)
class SweepComparison:
    """What was written: the page, and the files in its folder."""

    page: Path
    files: list[Path]


def write(
    table: Sequence[Row],
    own_files: OwnFiles,
    *,
    film: bool = True,
    lang: str = "",
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> SweepComparison | None:
    """Compare the variants of each video and speech; None where nothing can be compared.

    Parameters
    ----------
    table : sequence of Row
        The items of a batch.
    own_files : OwnFiles
        Of the folder of the results, which receives the page and a folder `comparison`.
    film : bool
        Whether to write the films.
    lang : str
        Language of the page; see `heygem.core.i18n.language`.
    progress, cancel
        As for `heygem.pipeline.generate`.

    Raises
    ------
    InputError, OutputError, AssetError, Cancelled
    """
    folder = own_files.folder
    groups = _groups(table)
    if not groups:
        return None
    translate, interface = i18n.translator(lang, "pages"), i18n.translator(lang)
    compared: dict[str, Comparison] = {}
    for name, rows in groups.items():
        comparison = comparisons.compare_runs(
            [_run(row) for row in rows], folder / FOLDER / name, progress=progress, cancel=cancel
        )
        if film:
            comparison = comparisons.add_film(comparison, progress=progress, cancel=cancel)
        compared[name] = comparison
    text = templating.render(
        "heygem.batch.results",
        "comparison.html",
        title=translate("variants", name=folder.absolute().name, count=_variants(table)),
        lang=i18n.language_of(translate),
        t=translate,
        now=datetime.now(UTC),
        means=_means(groups) if len(groups) > 1 else [],
        mean_titles=[_mean_title(key, unit, translate) for key, unit in _MEANS],
        groups=[_section(name, compared[name], interface) for name in [*compared][:MAX_GROUPS]],
        others=[(name, quote(f"{FOLDER}/{name}/{comparisons.PAGE}")) for name in compared][
            MAX_GROUPS:
        ],
        failed=[row for row in table if row.variant and row.outcome.status == "failed"],
        film_limit=film_writer.MAX_VIDEOS,
    )
    with own_files.writing(PAGE) as staged:
        staged.write_text(text, encoding="utf-8", errors="backslashreplace")
    files = [path for each in compared.values() for path in each.files.values()]
    return SweepComparison(folder / PAGE, files)


def _groups(table: Sequence[Row]) -> dict[str, list[Row]]:
    """Finished variants by their group, of groups with two or more."""
    groups: dict[str, list[Row]] = {}
    for row in table:
        if row.variant and row.outcome.output is not None and row.outcome.output.is_file():
            groups.setdefault(row.group, []).append(row)
    return {name: rows for name, rows in groups.items() if len(rows) > 1}


def _variants(table: Sequence[Row]) -> int:
    return len({row.variant for row in table if row.variant})


def _run(row: Row) -> Run:
    """An item as a recorded run, which is what is compared."""
    outcome = row.outcome
    content = outcome.manifest
    finished = str(content.get("finished") or datetime.now(UTC).isoformat())
    params = outcome.params.dotted() if outcome.params is not None else {}
    return Run(
        id=str(content.get("id", outcome.name)),
        name=row.variant,
        experiment="",
        kind="video",
        status="finished" if outcome.status == "done" else outcome.status,
        started=datetime.fromisoformat(finished),
        seconds=row.seconds,
        params={key: "" if value is None else str(value) for key, value in params.items()},
        metrics=manifest_metrics(content),
        tags={"heygem.video": str(outcome.video), "heygem.sound": outcome.speech},
        artifacts=outcome.details,
        result=outcome.output,
    )


def _means(groups: dict[str, list[Row]]) -> list[dict[str, Any]]:
    """For each variant the number of its videos, and the means of their measures."""
    by_variant: dict[str, list[dict[str, float]]] = {}
    for rows in groups.values():
        for row in rows:
            by_variant.setdefault(row.variant, []).append(manifest_metrics(row.outcome.manifest))
    listed = []
    for variant, measured in by_variant.items():
        values = []
        for key, _ in _MEANS:
            numbers = [each[key] for each in measured if key in each]
            values.append(f"{np.mean(numbers):.3g}" if numbers else "–")
        listed.append({"variant": variant, "count": len(measured), "values": values})
    return listed


def _mean_title(key: str, unit: str, translate: Translate) -> str:
    return f"{translate(key.partition('.')[2])} [{unit or translate('of_speech')}]"


def _section(name: str, comparison: Comparison, translate: Translate) -> dict[str, Any]:
    film = comparison.files.get("film")
    address = quote(f"{FOLDER}/{name}/{film.name}") if film is not None else ""
    return {
        "name": name,
        "body": comparisons.body_html(comparison, address, translate),
        "videos": len(comparison.videos),
    }
