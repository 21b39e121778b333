"""A comparison as files: page, sheet, figures, film; and as a run of its own in MLflow."""

import base64
import csv
import html
import io
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import numpy as np

from heygem import media
from heygem.core import assets
from heygem.core.errors import Cancelled, InputError, OutputError
from heygem.experiments import figures, runs, store
from heygem.experiments.comparison import contact_sheet, film, plots, table

PAGE, SHEET, FILM = "compare.html", "contact_sheet.jpg", "compare.mp4"


@dataclass(frozen=True)
class Comparison:
    """Runs, and what was found out about them.

    Attributes
    ----------
    runs : list of heygem.experiments.runs.Run
    letters : list of str
    settings, measures : list of heygem.experiments.comparison.table.Row
    folder : Path or None
        Where its files are.
    files : dict of str to Path
        By what they are: page, sheet, film, measures, curves, table.
    label : dict
        What the label layer says of the film.
    mouths : dict of int to (float, float)
        Where the mouth is in the picture, shares of width and height, by the run's number.
    frame_s : float
        Duration of a frame, of the video with the most of them a second.
    """

    runs: list
    letters: list
    settings: list
    measures: list
    folder: Path | None = None
    files: dict = field(default_factory=dict)
    label: dict = field(default_factory=dict)
    mouths: dict = field(default_factory=dict)
    frame_s: float = 0.04

    @property
    def shown(self) -> list[int]:
        """Numbers of the runs that have a video."""
        return [k for k, run in enumerate(self.runs) if run.video is not None]

    def title(self, k) -> str:
        """Letter and name of a run."""
        return f"{self.letters[k]}   {self.runs[k].name}"


def compare(found) -> Comparison:
    """The tables of some runs; no pictures yet."""
    return Comparison(found, table.letters(found), table.settings(found), table.measures(found))


def make(found, folder, *, count=6, faces=None, progress=None, cancel=None) -> Comparison:
    """Compare runs; tables, contact sheet and figures go into a folder.

    Parameters
    ----------
    found : list of heygem.experiments.runs.Run
    folder : path
    count : int
        Instants on the contact sheet.
    faces : face backend, optional
    progress, cancel : optional
        As for `heygem.pipeline.generate`.

    Raises
    ------
    InputError, OutputError, AssetError, Cancelled
    """
    told = replace(compare(found), folder=Path(folder))
    try:
        told.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            "cannot make the folder of the comparison", seen=folder, remedy="choose another"
        ) from error
    files = {"table": _csv(told, told.folder / "table.csv")}
    shown, times_s = told.shown, ()
    if shown:
        infos = [media.probe(found[k].video) for k in shown]
        told = replace(told, frame_s=1 / max(float(info.video.rate) for info in infos))
        lengths_s = [info.duration_s for info in infos]
        times_s = contact_sheet.instants(lengths_s, [found[k].curve for k in shown], count=count)
        if faces is None:
            from heygem.face.backends import MediaPipeBackend

            faces = MediaPipeBackend(assets.path)
        rows = []
        for number, k in enumerate(shown):
            if cancel is not None and cancel.is_set():
                raise Cancelled("stopped on request")
            if progress is not None:
                progress("pictures", number, len(shown))
            rows.append(contact_sheet.moments(found[k].video, times_s, faces))
        told = replace(told, mouths=_mouths(shown, rows))
        image = contact_sheet.sheet(rows, [told.title(k) for k in shown])
        files["sheet"] = figures.save_image(image, told.folder / SHEET)
    for name, figure in (
        ("measures", plots.bars(told.measures, told.letters)),
        ("curves", plots.curves(found, told.letters, instants=times_s)),
    ):
        if figure is not None:
            files[name] = told.folder / f"{name}.png"
            figure.savefig(files[name], dpi=110)
    return _with_page(told, files)


def _mouths(shown, rows):
    found = {}
    for k, row in zip(shown, rows, strict=True):
        places = [one.mouth.centre for one in row if one is not None and one.mouth is not None]
        if places:
            found[k] = tuple(float(v) for v in np.mean(places, axis=0))
    return found


def add_film(told, *, sound=0, progress=None, cancel=None) -> Comparison:
    """Put the videos of a comparison beside each other in one; as it is where two are missing.

    Parameters
    ----------
    told : Comparison
        From `make`.
    sound : int
        Number of the run that is heard.
    progress, cancel : optional
    """
    shown = told.shown[: film.MOST]
    if len(shown) < 2:
        return told
    made = film.side_by_side(
        [told.runs[k].video for k in shown],
        told.folder / FILM,
        captions=[told.title(k) for k in shown],
        sound=shown.index(sound) if sound in shown else 0,
        facts={"runs": [told.runs[k].id for k in shown]},
        progress=progress,
        cancel=cancel,
    )
    return _with_page(replace(told, label=made.label), {**told.files, "film": made.path})


def _with_page(told, files):
    told = replace(told, files={**files, "page": told.folder / PAGE})
    told.files["page"].write_text(page(told), encoding="utf-8")
    return told


def _csv(told, path):
    with path.open("w", newline="", encoding="utf-8-sig") as stream:  # spreadsheets want the mark
        out = csv.writer(stream)
        out.writerow(["", *(told.title(k) for k in range(len(told.runs)))])
        out.writerow(["run", *(run.id for run in told.runs)])
        for row in (*told.settings, *told.measures):
            out.writerow([row.key, *("" if value is None else value for value in row.values)])
    return path


def tables_html(told, say=None) -> str:
    """Runs, settings that differ and measures as HTML tables; all text from outside is escaped."""
    heads = "".join(
        f'<th style="text-align:left"><span style="color:{plots.colour(k)}">■</span> '
        f"{html.escape(told.title(k))}</th>"
        for k in range(len(told.runs))
    )
    about = [
        (_words(say, "column_status"), [run.status for run in told.runs]),
        (
            _words(say, "column_started"),
            [f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}" for run in told.runs],
        ),
        (_words(say, "column_kind"), [run.kind for run in told.runs]),
        ("run", [run.id[:8] for run in told.runs]),
    ]
    same = "" if told.settings else f"<p>{html.escape(_words(say, 'compare_same'))}</p>"
    rows = [_row(key, values) for key, values in about]
    rows += [_heading(_words(say, "compare_settings"), len(told.runs))] if told.settings else []
    rows += [_row(row.key, row.values) for row in told.settings]
    rows += [_heading(_words(say, "compare_measures"), len(told.runs))] if told.measures else []
    rows += [_row(row.key, [_number(v) for v in row.values], row.best) for row in told.measures]
    return (
        f'{same}<table style="border-collapse:collapse;line-height:1.5">'
        f"<tr><th></th>{heads}</tr>{''.join(rows)}</table>"
    )


_ENGLISH = {
    "compare_same": "All settings are the same.",
    "compare_settings": "settings that differ",
    "compare_measures": "measures",
    "column_status": "status",
    "column_started": "started",
    "column_kind": "kind",
}


def _words(say, key):
    return say(key) if say is not None else _ENGLISH[key]


def _heading(text, count):
    style = "padding-top:10px;text-align:left"
    return f'<tr><td colspan="{count + 1}" style="{style}"><b>{html.escape(text)}</b></td></tr>'


def _row(key, values, best=None):
    style = "padding:1px 10px;text-align:left"
    cells = [html.escape(_shown(value)) for value in values]
    cells = [f"<b>{cell}</b>" if k == best else cell for k, cell in enumerate(cells)]
    cells = [f'<td style="{style}">{cell}</td>' for cell in cells]
    return f'<tr><td style="{style};opacity:.75">{html.escape(key)}</td>{"".join(cells)}</tr>'


def _shown(value):
    return "–" if value is None or value == "" else str(value)


def _number(value):
    if value is None:
        return None
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def body(told, link="") -> str:
    """Tables, sheet and figures as HTML that can be passed on alone; the film by its address."""
    parts = [tables_html(told)]
    for name in ("sheet", "curves", "measures"):
        if name in told.files:
            picture = inline(told.files[name])
            parts.append(f'<p><img src="{picture}" alt="{name}" style="max-width:100%"></p>')
    if "film" in told.files and link:
        address, name = html.escape(link, quote=True), html.escape(told.files["film"].name)
        parts.append(
            f'<p><video src="{address}" controls preload="metadata" style="max-width:100%">'
            f'</video><br><a href="{address}" target="_blank">{name}</a></p>'
        )
    return "".join(parts)


def page(told) -> str:
    """The whole report as one page; the film lies beside it."""
    title = html.escape(" / ".join(run.name for run in told.runs))
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    style = "body{font:14px system-ui,sans-serif;margin:24px;color:#1f2328;background:#fff}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{title}</title><style>{style}</style></head>"
        f"<body><h1>{title}</h1><p>{when}</p>{body(told, quote(FILM))}</body></html>\n"
    )


def inline(path, *, longest_px=1400) -> str:
    """A picture as a small data address, for pages that are passed on alone."""
    from PIL import Image

    with Image.open(path) as image:
        image = image.convert("RGB")
        image.thumbnail((longest_px, longest_px * 4))
        data = io.BytesIO()
        image.save(data, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def record(told, folder="mlruns", *, experiment=None, note="") -> str:
    """Log a comparison that `make` wrote back into MLflow, as a run of its own.

    Parameters
    ----------
    told : Comparison
    folder : path
        Of the store.
    experiment : str, optional
        By default the first run's own.
    note : str

    Returns
    -------
    str
        Id of the run.

    Raises
    ------
    InputError
        Nothing was written yet.
    OutputError
        The store does not take it.
    """
    if not told.files:
        raise InputError("the comparison has no files yet", remedy="make it first")
    client = runs.store(folder)
    from mlflow.exceptions import MlflowException

    try:
        home = store.experiment(client, folder, experiment or told.runs[0].experiment)
        tags = {
            "heygem.kind": "compare",
            "heygem.compared": ",".join(run.id for run in told.runs),
            "mlflow.note.content": note,
        }
        name = " / ".join(run.name for run in told.runs)[:200]
        run_id = client.create_run(home, run_name=name, tags=tags).info.run_id
        for key, path in told.files.items():
            client.log_artifact(run_id, str(path), "video" if key == "film" else None)
        client.set_terminated(run_id)
    except (MlflowException, OSError) as error:
        raise OutputError(
            "MLflow did not take the comparison",
            seen=" ".join(str(error).split())[:200],
            remedy="look at the store",
        ) from error
    return run_id
