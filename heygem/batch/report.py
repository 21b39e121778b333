"""A finished batch at a glance: one small page for the end of a notebook.

Whoever opens the executed notebook next week sees what was made, what was not and why, how long it
took and how it sounds against how it moves, without anything beside the notebook but the videos.
"""

import base64
import html
import io

import numpy as np

from heygem import media
from heygem.experiments import figures

PAGE_BYTES = 800_000  # of pictures; the rest of a notebook is text
THUMB_PX, SHEET_PX = 112, 840
MOST_NAMED = 40  # items named on an axis; more are numbered
_STATES = {
    "done": ("made", "#2da44e"),
    "skipped": ("already there", "#57606a"),
    "failed": ("failed", "#d1242f"),
    "cancelled": ("stopped", "#bf8700"),
}
_STAGES = ("load", "listen", "track", "plan", "render")


def summary_line(report) -> str:
    """How it went, in one line."""
    parts = [
        f"{len(found)} {words}"
        for state, (words, _) in _STATES.items()
        if (found := report.of(state))
    ]
    made_s = sum(_length_s(one) or 0 for one in report.of("done", "skipped"))
    items = f"{len(report.outcomes)} item{'s' * (len(report.outcomes) != 1)}"
    return f"{items}: {', '.join(parts)}; {_clock(made_s)} of video, in {_clock(report.seconds)}"


def page(report, link) -> str:
    """Summary, table, figures and contact sheets as HTML with its pictures inside.

    Parameters
    ----------
    report : heygem.batch.runner.Report
    link : callable
        Address of a file, as `heygem.batch.notebooks.relative` gives it.

    Returns
    -------
    str
        Everything from outside is escaped; pictures take `PAGE_BYTES` at most, and what did not
        fit is said.
    """
    room = _Room(PAGE_BYTES)
    table = _table(report, link, room)
    drawn = [_figure(figure, room) for figure in (times(report), measures(report)) if figure]
    sheets, left_out = _sheets(report, room)
    if left_out:
        sheets += (
            f"<p>{left_out} more contact sheets and lip curves lie beside the videos, in "
            f'<a href="{_escaped(link(report.folder / "details"))}">details</a>.</p>'
        )
    title = f"<p><b>{html.escape(summary_line(report))}</b></p>"
    return title + table + "".join(drawn) + sheets


def _table(report, link, room):
    rows = []
    for one in report.outcomes:
        words, colour = _STATES[one.status]
        name, picture = html.escape(one.name), ""
        if one.output is not None:
            name = f'<a href="{_escaped(link(one.output))}" target="_blank">{name}</a>'
            picture = room.image(_thumbnail(one.output), one.name, THUMB_PX)
        said = [one.error] if one.error else list(one.warnings)
        cells = [
            picture,
            f"{name}<br><small>{html.escape(one.video.name)} + {html.escape(_sound(one))}</small>",
            f'<span style="color:{colour}">●</span> {words}',
            f"{one.seconds:.1f} s",
            "" if _length_s(one) is None else f"{_length_s(one):.1f} s",
            "<br>".join(html.escape(text) for text in said),
        ]
        style = "text-align:left;vertical-align:top"
        rows.append("".join(f'<td style="{style}">{cell}</td>' for cell in cells))
    heads = ("", "video", "state", "took", "length", "why, and what to look at")
    head = "".join(f'<th style="text-align:left">{title}</th>' for title in heads)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _sheets(report, room):
    parts, left_out = [], 0
    for one in report.of("done", "skipped"):
        inside = ""
        for name in ("contact_sheet.png", "lip_curve.png"):
            path = one.details / name
            if path.is_file():
                inside += room.image(path, f"{name} of {one.name}", SHEET_PX)
        if not inside:
            left_out += 1
            continue
        # Few are all open; of many, one opens what one wants to see.
        state = " open" if len(report.outcomes) <= 3 else ""
        title = html.escape(one.name)
        parts.append(f"<details{state}><summary>{title}</summary>{inside}</details>")
    return "".join(parts), left_out


def times(report):
    """Time per item, stage by stage, beside its video's length: a figure, or None.

    Parameters
    ----------
    report : heygem.batch.runner.Report

    Returns
    -------
    matplotlib.figure.Figure or None
        None where nothing was made this time.
    """
    made = report.of("done")
    if not made:
        return None
    figure, axes = _canvas(len(made))
    at, left = np.arange(len(made)), np.zeros(len(made))
    for stage in _STAGES:
        took = [one.manifest.get("timings", {}).get(f"{stage}_s", 0.0) for one in made]
        axes.barh(at, took, left=left, label=stage)
        left += took
    rest = np.maximum([one.seconds for one in made] - left, 0)
    axes.barh(at, rest, left=left, label="check, write", color="0.75")
    axes.plot(
        [_length_s(one) or np.nan for one in made], at, "k|", ms=12, mew=2, label="video's length"
    )
    _named(axes, made)
    axes.set_xlabel("seconds")
    axes.legend(fontsize=8, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def measures(report):
    """How mouth and sound agree, per item: a figure, or None.

    Parameters
    ----------
    report : heygem.batch.runner.Report

    Returns
    -------
    matplotlib.figure.Figure or None
        None where no item has such measures; see `heygem.lips.av_sync` for their meaning.
    """
    shown = [
        one
        for one in report.of("done", "skipped")
        if "av_corr" in (one.manifest.get("measures") or {})
    ]
    if not shown:
        return None
    figure, axes = _canvas(len(shown))
    at = np.arange(len(shown))
    for shift, key, text in (
        (-0.2, "av_corr", "mouth follows sound [r], more is better"),
        (0.2, "silence_leakage", "movement in silence [of speech], less is better"),
    ):
        values = [one.manifest["measures"].get(key, np.nan) for one in shown]
        axes.barh(at + shift, values, height=0.38, label=text)
    _named(axes, shown)
    axes.legend(fontsize=8, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))
    return figure


def _canvas(count):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, min(1.1 + 0.3 * count, 12)), layout="constrained")
    return figure, figure.subplots()


def _named(axes, outcomes):
    names = [one.name if len(one.name) < 40 else one.name[:38] + "…" for one in outcomes]
    if len(outcomes) <= MOST_NAMED:
        axes.set_yticks(range(len(outcomes)), names, fontsize=8)
    axes.set_ylim(len(outcomes) - 0.4, -0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _figure(figure, room):
    data = io.BytesIO()
    figure.savefig(data, dpi=90)
    data.seek(0)
    return f"<p>{room.image(data, 'figure', SHEET_PX)}</p>"


class _Room:
    """How many bytes of pictures still fit."""

    def __init__(self, size):
        self._left = size

    def image(self, source, alt, width_px) -> str:
        """A picture (path, stream or uint8 array) as a small one inside the page; empty if full."""
        from PIL import Image

        if source is None:
            return ""
        plain = isinstance(source, np.ndarray)
        with Image.fromarray(source) if plain else Image.open(source) as image:
            image = image.convert("RGB")
            image.thumbnail((width_px, 4 * width_px))
            data = io.BytesIO()
            image.save(data, "JPEG", quality=78, optimize=True)
        coded = base64.b64encode(data.getvalue()).decode()
        if len(coded) > self._left:
            return ""
        self._left -= len(coded)
        style = "max-width:100%;background:#fff"
        return f'<img src="data:image/jpeg;base64,{coded}" alt="{_escaped(alt)}" style="{style}">'


def _thumbnail(path):
    """A frame from the middle; None where the file cannot be read any more."""
    try:
        middle_s = media.probe(path).duration_s / 2
        return figures.thumbnail(path, middle_s)
    except Exception:  # a picture that cannot be drawn costs nobody a report
        return None


def _sound(outcome):
    text = " ".join(outcome.sound.split())
    spoken = (outcome.params is not None) and outcome.params.inputs.audio is None
    if spoken:
        return f"“{text[:40]}{'…' * (len(text) > 40)}”"
    return text.rpartition("/")[2]


def _length_s(outcome):
    return (outcome.manifest.get("output") or {}).get("duration_s")


def _clock(seconds):
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes or hours)
    return " ".join([*parts, f"{rest} s"])


def _escaped(text):
    return html.escape(str(text), quote=True)
