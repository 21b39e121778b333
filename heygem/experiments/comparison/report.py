"""A comparison as files: page, contact sheet, figures and film; and as a run in MLflow."""

import base64
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import quote

import numpy as np

from heygem import media
from heygem.core import assets, disk, templating
from heygem.core.errors import Cancelled, InputError, OutputError
from heygem.core.own_files import OwnFiles
from heygem.core.types import FloatArray, PathLike, Progress
from heygem.experiments import store
from heygem.experiments.comparison import contact_sheet, film, plots, table
from heygem.experiments.runs import Run, open_store
from heygem.face.tracking import Backend
from heygem.provenance.picture import save_labelled

PAGE, SHEET, FILM, TABLE = "compare.html", "contact_sheet.jpg", "compare.mp4", "table.csv"
PLOTS = {"measures": "measures.png", "curves": "curves.png"}
_WORDS = {
    "compare_same": "All settings are the same.",
    "compare_settings": "settings that differ",
    "compare_measures": "metrics",
    "column_status": "status",
    "column_started": "started",
    "column_kind": "kind",
}


@dataclass(frozen=True)
class Comparison:
    """Runs, and what differs between them.

    Attributes
    ----------
    runs : list of heygem.experiments.runs.Run
    letters : list of str
    settings, metrics : list of heygem.experiments.comparison.table.Row
    folder : Path or None
        Of its files.
    files : dict of str to Path
        By content: page, sheet, film, measures, curves, table.
    label : dict
        State of the film's label layers.
    mouth_centres : dict of int to (float, float)
        Of each run number, as shares of the frame's width and height.
    frame_s : float
        Frame duration of the video with the highest frame rate.
    """

    runs: list[Run]
    letters: list[str]
    settings: list[table.Row]
    metrics: list[table.Row]
    folder: Path | None = None
    files: dict[str, Path] = field(default_factory=dict)
    label: dict[str, Any] = field(default_factory=dict)
    mouth_centres: dict[int, tuple[float, float]] = field(default_factory=dict)
    frame_s: float = 0.04

    @property
    def videos(self) -> dict[int, Path]:
        """Videos by the numbers of their runs."""
        return {k: run.video for k, run in enumerate(self.runs) if run.video is not None}

    def title(self, k: int) -> str:
        """Letter and name of run number `k`."""
        return f"{self.letters[k]}   {self.runs[k].name}"


def tabulate(runs: list[Run]) -> Comparison:
    """The tables of a comparison, without files."""
    letters = table.run_letters(len(runs))
    return Comparison(runs, letters, table.settings_table(runs), table.metrics_table(runs))


def compare_runs(
    runs: list[Run],
    folder: PathLike,
    *,
    count: int = 6,
    faces: Backend | None = None,
    progress: Progress | None = None,
    cancel: Event | None = None,
) -> Comparison:
    """Compare runs; tables, contact sheet and figures are written into a folder.

    Parameters
    ----------
    runs
    folder
    count
        Instants on the contact sheet.
    faces
        Finds the mouths; by default the MediaPipe backend.
    progress, cancel
        As for `heygem.pipeline.generate`.

    Raises
    ------
    InputError, OutputError, AssetError, Cancelled
    """
    folder = Path(folder)
    comparison = replace(tabulate(runs), folder=folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "cannot make the folder of the comparison"
        raise disk.write_error(error, folder, what=what) from error
    instants_s: FloatArray = np.zeros(0)
    own_files = OwnFiles(folder)
    own_files.check(TABLE, SHEET, PAGE, *PLOTS.values())
    with own_files.writing(TABLE) as staged:
        _write_csv(comparison, staged)
    files = {"table": folder / TABLE}
    videos = comparison.videos
    if videos:
        infos = [media.probe(video) for video in videos.values()]
        curves = [runs[k].lip_curve for k in videos]
        instants_s = contact_sheet.instants([i.duration_s for i in infos], curves, count=count)
        rows = _moments(list(videos.values()), instants_s, faces, progress, cancel)
        comparison = replace(
            comparison,
            frame_s=1 / max(float(info.video.rate) for info in infos if info.video is not None),
            mouth_centres=_mouth_centres(list(videos), rows),
        )
        titles = [comparison.title(k) for k in videos]
        image = contact_sheet.draw_sheet(rows, titles)
        with own_files.writing(SHEET) as staged:
            save_labelled(image, staged)
        files["sheet"] = folder / SHEET
    for name, figure in (
        ("measures", plots.metric_bars(comparison.metrics, comparison.letters)),
        ("curves", plots.lip_curves(runs, comparison.letters, instants_s=instants_s)),
    ):
        if figure is not None:
            with own_files.writing(PLOTS[name]) as staged:
                figure.savefig(staged, dpi=110)
            files[name] = folder / PLOTS[name]
    return _write_page(comparison, files)


def _moments(
    videos: Sequence[PathLike],
    instants_s: FloatArray,
    faces: Backend | None,
    progress: Progress | None,
    cancel: Event | None,
) -> list[list[contact_sheet.Moment | None]]:
    """The same instants of every video, one row each."""
    if faces is None:
        from heygem.face.backends import MediaPipeBackend

        faces = MediaPipeBackend(assets.path)
    rows = []
    for number, video in enumerate(videos):
        if cancel is not None and cancel.is_set():
            raise Cancelled("stopped on request")
        if progress is not None:
            progress("pictures", number, len(videos))
        rows.append(contact_sheet.moments(video, instants_s, faces))
    return rows


def _mouth_centres(
    numbers: Sequence[int], rows: Sequence[Sequence[contact_sheet.Moment | None]]
) -> dict[int, tuple[float, float]]:
    centres = {}
    for k, row in zip(numbers, rows, strict=True):
        points = [each.mouth.centre for each in row if each is not None and each.mouth is not None]
        if points:
            x, y = np.mean(points, axis=0)
            centres[k] = (float(x), float(y))
    return centres


def add_film(
    comparison: Comparison,
    *,
    sound: int = 0,
    progress: Progress | None = None,
    cancel: Event | None = None,
) -> Comparison:
    """Add a side-by-side film of the runs' videos; unchanged with fewer than two.

    Parameters
    ----------
    comparison
        From `compare_runs`.
    sound
        Number of the run whose audio the film gets.
    progress, cancel
        As for `heygem.pipeline.generate`.
    """
    numbers = list(comparison.videos)[: film.MAX_VIDEOS]
    if len(numbers) < 2 or comparison.folder is None:
        return comparison
    result = film.side_by_side(
        [comparison.videos[k] for k in numbers],
        comparison.folder / FILM,
        captions=[comparison.title(k) for k in numbers],
        sound=numbers.index(sound) if sound in numbers else 0,
        facts={"runs": [comparison.runs[k].id for k in numbers]},
        progress=progress,
        cancel=cancel,
    )
    labelled = replace(comparison, label=result.label)
    return _write_page(labelled, {**comparison.files, "film": result.path})


def _write_page(comparison: Comparison, files: Mapping[str, Path]) -> Comparison:
    assert comparison.folder is not None
    page = comparison.folder / PAGE
    comparison = replace(comparison, files={**files, "page": page})
    with OwnFiles(page.parent).writing(PAGE) as staged:
        staged.write_text(page_html(comparison), encoding="utf-8")
    return comparison


def _write_csv(comparison: Comparison, path: Path) -> None:
    numbers = range(len(comparison.runs))
    # With a byte order mark, without which spreadsheets do not recognise UTF-8.
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        out = csv.writer(stream)
        out.writerow(["", *(comparison.title(k) for k in numbers)])
        out.writerow(["run", *(run.id for run in comparison.runs)])
        for row in (*comparison.settings, *comparison.metrics):
            out.writerow([row.key, *("" if value is None else value for value in row.values)])


def tables_html(comparison: Comparison, translate: Callable[[str], str] | None = None) -> str:
    """Runs, settings that differ, and metrics as HTML tables; all values are escaped.

    `translate` returns the text of a key such as `column_status`; English by default.
    """
    translate = translate or _WORDS.__getitem__
    return templating.render(
        "heygem.experiments",
        "comparison_tables.html",
        filters={"text": _text, "number": _number},
        comparison=comparison,
        words={key: translate(key) for key in _WORDS},
        colours=[plots.run_colour(k) for k in range(len(comparison.runs))],
        started=[f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}" for run in comparison.runs],
        run_ids=[run.id[:8] for run in comparison.runs],
    )


def _text(value: object) -> str:
    return "–" if value is None or value == "" else str(value)


def _number(value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def body_html(
    comparison: Comparison, film_url: str = "", translate: Callable[[str], str] | None = None
) -> str:
    """Tables, contact sheet and figures as self-contained HTML; the film is linked by its URL."""
    pictures = {
        name: data_url(comparison.files[name])
        for name in ("sheet", "curves", "measures")
        if name in comparison.files
    }
    has_film = "film" in comparison.files
    return templating.render(
        "heygem.experiments",
        "comparison_body.html",
        tables=tables_html(comparison, translate),
        pictures=pictures,
        film_url=film_url if has_film else "",
        film_name=comparison.files["film"].name if has_film else "",
    )


def page_html(comparison: Comparison) -> str:
    """The whole report as one HTML page, beside which the film lies."""
    return templating.render(
        "heygem.experiments",
        "comparison.html",
        title=" / ".join(run.name for run in comparison.runs),
        now=datetime.now(UTC),
        body=body_html(comparison, quote(FILM)),
    )


def data_url(path: PathLike, *, longest_px: int = 1400) -> str:
    """A picture as a data URL of a reduced JPEG, for self-contained pages."""
    from PIL import Image

    with Image.open(path) as opened:
        image = opened.convert("RGB")
        image.thumbnail((longest_px, longest_px * 4))
        data = io.BytesIO()
        image.save(data, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def record_comparison(
    comparison: Comparison,
    folder: PathLike = "mlruns",
    *,
    experiment: str | None = None,
    note: str = "",
) -> str:
    """Record a comparison in MLflow, as a run of its own.

    Parameters
    ----------
    comparison
        From `compare_runs`.
    folder
        Of the store.
    experiment
        By default that of the first run.
    note
        Shown by MLflow with the run.

    Returns
    -------
    str
        Id of the run.

    Raises
    ------
    InputError
        The comparison has no files.
    OutputError
        The store refuses it.
    """
    if not comparison.files:
        raise InputError("the comparison has no files yet", remedy="make it first")
    client = open_store(folder)
    from mlflow.exceptions import MlflowException

    try:
        name = experiment or comparison.runs[0].experiment
        tags = {
            "heygem.kind": "compare",
            "heygem.compared": ",".join(run.id for run in comparison.runs),
            "mlflow.note.content": note,
        }
        run_name = " / ".join(run.name for run in comparison.runs)[:200]
        experiment_id = store.experiment_id(client, folder, name)
        run_id = client.create_run(experiment_id, run_name=run_name, tags=tags).info.run_id
        for key, path in comparison.files.items():
            client.log_artifact(run_id, str(path), "video" if key == "film" else None)
        client.set_terminated(run_id)
    except (MlflowException, OSError) as error:
        raise OutputError(
            "MLflow did not take the comparison",
            seen=" ".join(str(error).split())[:200],
            remedy="look at the store",
        ) from error
    return run_id
