"""HTML report of a finished batch for the end of a notebook.

It lists what was made, what failed and why, with processing times, lip-sync measures and contact
sheets. Figures are embedded, so that the executed notebook and the videos are all it needs.
"""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from heygem import media
from heygem.batch.outcome import Outcome, Status
from heygem.batch.runner import Report
from heygem.core import i18n, templating
from heygem.core.i18n import Translate
from heygem.core.types import Image
from heygem.experiments import figures

IMAGE_BYTES = 800_000  # of embedded images, base64; a notebook stays below 1 MB
THUMBNAIL_PX, FIGURE_PX = 112, 840
MAX_LABELLED = 40  # items with their names on a chart's axis; more are numbered
_STATES: dict[Status, tuple[str, str]] = {
    "done": ("made", "#2da44e"),
    "skipped": ("already there", "#57606a"),
    "failed": ("failed", "#d1242f"),
    "cancelled": ("stopped", "#bf8700"),
}
_STAGES = ("load", "listen", "track", "plan", "render")
_FIGURES = ("contact_sheet.png", "lip_curve.png")


def summary_line(report: Report, translate: Translate | None = None) -> str:
    """Counts, length of the videos and processing time, in one line."""
    translate = translate or i18n.translator("en", "pages")
    counts = [
        translate(text.replace(" ", "_"), count=len(outcomes))
        for state, (text, _) in _STATES.items()
        if (outcomes := report.of(state))
    ]
    video_s = sum(_duration_s(outcome) or 0 for outcome in report.of("done", "skipped"))
    count = len(report.outcomes)
    return translate(
        "summary",
        items=translate("one_item") if count == 1 else translate("items", count=count),
        counts=", ".join(counts),
        video=templating.clock(video_s),
        time=templating.clock(report.seconds),
    )


def to_html(report: Report, link: Callable[[Path], str]) -> str:
    """Summary, table, charts and contact sheets as HTML with embedded images.

    Parameters
    ----------
    report : heygem.batch.runner.Report
    link : callable
        Address of a file; see `heygem.batch.notebooks.relative_link`.

    Returns
    -------
    str
        All values are escaped. Images take at most `IMAGE_BYTES`; the page says how many items'
        figures were left out.
    """
    embed = _Embedder(IMAGE_BYTES)
    rows = [_row(outcome, link, embed) for outcome in report.outcomes]
    charts = [
        embed(_png(chart), "chart", FIGURE_PX)
        for chart in (time_chart(report), sync_chart(report))
        if chart is not None
    ]
    finished = report.of("done", "skipped")
    items = [{"name": outcome.name, "figures": _figures(outcome, embed)} for outcome in finished]
    with_figures = [item for item in items if any(item["figures"])]
    return templating.render(
        "heygem.batch.results",
        "report.html",
        summary=summary_line(report),
        rows=rows,
        charts=charts,
        items=with_figures,
        omitted=len(finished) - len(with_figures),
        details_address=link(report.folder / "details"),
    )


def time_chart(report: Report) -> Figure | None:
    """Processing time of each item by stage, beside its video's length; None if none was made."""
    outcomes = report.of("done")
    if not outcomes:
        return None
    figure, axes = _bar_chart(outcomes)
    rows, left = np.arange(len(outcomes)), np.zeros(len(outcomes))
    for stage in _STAGES:
        stage_s = [o.manifest.get("timings", {}).get(f"{stage}_s", 0.0) for o in outcomes]
        axes.barh(rows, stage_s, left=left, label=stage)
        left += stage_s
    rest = np.maximum([outcome.seconds for outcome in outcomes] - left, 0)
    axes.barh(rows, rest, left=left, label="check, write", color="0.75")
    lengths = [_duration_s(outcome) or np.nan for outcome in outcomes]
    axes.plot(lengths, rows, "k|", ms=12, mew=2, label="video's length")
    axes.set_xlabel("seconds")
    axes.legend(fontsize=8, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def sync_chart(report: Report) -> Figure | None:
    """Lip-sync measures of each item (see `heygem.lips.av_sync`); None if no item has any."""
    outcomes = [
        outcome
        for outcome in report.of("done", "skipped")
        if "av_corr" in (outcome.manifest.get("measures") or {})
    ]
    if not outcomes:
        return None
    figure, axes = _bar_chart(outcomes)
    rows = np.arange(len(outcomes))
    for shift, key, text in (
        (-0.2, "av_corr", "lip-audio correlation [r], higher is better"),
        (0.2, "silence_leakage", "silence leakage [of speech], lower is better"),
    ):
        values = [outcome.manifest["measures"].get(key, np.nan) for outcome in outcomes]
        axes.barh(rows + shift, values, height=0.38, label=text)
    axes.legend(fontsize=8, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def _bar_chart(outcomes: Sequence[Outcome]) -> tuple[Figure, Axes]:
    """An empty chart with one row for each item."""
    figure = Figure(figsize=(9, min(1.1 + 0.3 * len(outcomes), 12)), layout="constrained")
    axes = figure.subplots()
    if len(outcomes) <= MAX_LABELLED:
        names = [o.name if len(o.name) < 40 else o.name[:38] + "…" for o in outcomes]
        axes.set_yticks(range(len(outcomes)), names, fontsize=8)
    axes.set_ylim(len(outcomes) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


@dataclass(frozen=True)
class _Embedded:
    """A JPEG for a data URL."""

    base64: str
    alt: str


class _Embedder:
    """Encodes images until their total size reaches a limit."""

    def __init__(self, max_bytes: int):
        self._bytes_left = max_bytes

    def __call__(
        self, source: Path | IO[bytes] | Image | None, alt: str, width_px: int
    ) -> _Embedded | None:
        """Shrink and encode an image; None if there is none, or it does not fit any more."""
        from PIL import Image as PILImage

        if source is None:
            return None
        if isinstance(source, np.ndarray):
            opened = PILImage.fromarray(source)
        else:
            opened = PILImage.open(source)
        with opened:
            image = opened.convert("RGB")
        image.thumbnail((width_px, 4 * width_px))
        data = io.BytesIO()
        image.save(data, "JPEG", quality=78, optimize=True)
        encoded = base64.b64encode(data.getvalue()).decode()
        if len(encoded) > self._bytes_left:
            return None
        self._bytes_left -= len(encoded)
        return _Embedded(encoded, alt)


def _row(outcome: Outcome, link: Callable[[Path], str], embed: _Embedder) -> dict[str, Any]:
    state, colour = _STATES[outcome.status]
    video = outcome.output
    thumbnail = _thumbnail(video) if video is not None else None
    return {
        "name": outcome.name,
        "address": link(video) if video is not None else "",
        "thumbnail": embed(thumbnail, outcome.name, THUMBNAIL_PX),
        "inputs": f"{outcome.video.name} + {speech_label(outcome)}",
        "state": state,
        "colour": colour,
        "seconds": outcome.seconds,
        "duration_s": _duration_s(outcome),
        "messages": [outcome.error] if outcome.error else list(outcome.warnings),
    }


def _figures(outcome: Outcome, embed: _Embedder) -> list[_Embedded | None]:
    """Contact sheet and lip curve, as far as they exist and fit."""
    if outcome.details is None:
        return []
    paths = [outcome.details / name for name in _FIGURES]
    return [
        embed(path, f"{path.name} of {outcome.name}", FIGURE_PX) for path in paths if path.is_file()
    ]


def _thumbnail(video: Path) -> Image | None:
    """A frame from the middle; None if the file cannot be read any more."""
    try:
        return figures.thumbnail(video, (media.probe(video).duration_s or 0.0) / 2)
    except Exception:  # the report is worth more than one thumbnail
        return None


def _png(figure: Figure) -> IO[bytes]:
    data = io.BytesIO()
    figure.savefig(data, dpi=90)
    data.seek(0)
    return data


def speech_label(outcome: Outcome) -> str:
    """Name of the audio file, or the beginning of the text in quotes."""
    label = " ".join(outcome.speech.split())
    if outcome.params is not None and outcome.params.inputs.audio is None:
        return f"“{label[:40]}{'…' * (len(label) > 40)}”"
    return label.rpartition("/")[2]


def _duration_s(outcome: Outcome) -> float | None:
    return (outcome.manifest.get("output") or {}).get("duration_s")
