"""Recorded runs and the files they left."""

import csv
import functools
import os
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from heygem.config.renamed import Names, with_current_names
from heygem.core.errors import InputError, ParameterError
from heygem.core.types import FloatArray, PathLike
from heygem.experiments import store

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun
    from mlflow.tracking import MlflowClient

MAX_RUNS = 500  # that a list holds
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".m4v")
VIDEO_KINDS = ("video", "snapshot")  # kinds of runs that make a video

#: Metrics of runs that release 0.1 recorded, by their current names: same units and signs.
FORMER_METRICS = Names(
    {
        "measures.mouth_sound_r": "measures.av_corr",
        "measures.mouth_sound_lag_ms": "measures.av_offset_ms",
        "measures.silence_opening": "measures.silence_leakage",
        "passed_through": "skipped_frames",
    }
)


@dataclass(frozen=True)
class Run:
    """One recorded run.

    Attributes
    ----------
    id, name, experiment : str
    kind : str
        "video", "snapshot", "batch", ...: the tag `heygem.kind`, or empty.
    status : str
        finished, failed, killed, running; or skipped, cancelled.
    started : datetime
    seconds : float or None
        From start to end; None while it runs.
    params : dict of str to str
    metrics : dict of str to float
    tags : dict of str to str
    artifacts : Path or None
        Folder of its artifacts, if it is on this machine.
    result : Path or None
        The video it made, where that is not among the artifacts.
    """

    id: str
    name: str
    experiment: str
    kind: str
    status: str
    started: datetime
    seconds: float | None
    params: dict[str, str] = field(repr=False)
    metrics: dict[str, float] = field(repr=False)
    tags: dict[str, str] = field(repr=False)
    artifacts: Path | None = field(repr=False)
    result: Path | None = field(default=None, repr=False)

    @functools.cached_property
    def video(self) -> Path | None:
        """The video it made."""
        if self.result is not None or self.artifacts is None:
            return self.result
        paths = sorted(self.artifacts.glob("video/*"))
        return next((path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES), None)

    @functools.cached_property
    def lip_curve(self) -> tuple[FloatArray, FloatArray] | None:
        """Times [s] and lip aperture from rest [IOD], float64 [n] each; None if not recorded."""
        path = self.artifacts / "lip_curve.csv" if self.artifacts is not None else None
        if path is None or not path.is_file():
            return None
        try:
            with path.open(newline="") as stream:
                rows = [(float(r["time_s"]), float(r["opening"])) for r in csv.DictReader(stream)]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not rows:
            return None
        times_s, aperture = np.array(rows).T
        return times_s, aperture


def open_store(folder: PathLike) -> "MlflowClient":
    """A client of the existing store in a folder.

    Raises
    ------
    InputError
        Nothing was ever recorded there.
    """
    folder = Path(folder).absolute()
    if not store.exists(folder):
        raise InputError(
            "no recorded runs", seen=folder, remedy="make a video first, or name another folder"
        )
    return store.open_client(folder)


def list_runs(
    folder: PathLike = "mlruns",
    *,
    experiment: str | None = None,
    kinds: Sequence[str] | None = None,
) -> list[Run]:
    """The newest `MAX_RUNS` runs of a store, newest first.

    Parameters
    ----------
    folder
    experiment
        Only of this experiment.
    kinds
        Only of these kinds.

    Raises
    ------
    InputError
        There is no store, or no such experiment.
    """
    client = open_store(folder)
    names = {each.experiment_id: each.name for each in client.search_experiments()}
    if experiment is not None:
        if experiment not in names.values():
            raise InputError(
                "no such experiment",
                seen=experiment,
                remedy=f"experiments: {', '.join(names.values())}",
            )
        names = {key: name for key, name in names.items() if name == experiment}
    # MLflow's filters have no OR, and no IN for tags: one search per kind.
    filters = [f"tags.`heygem.kind` = '{kind}'" for kind in kinds] if kinds is not None else [""]
    mlflow_runs = [
        run
        for filter_string in filters
        for run in client.search_runs(
            list(names),
            filter_string=filter_string,
            order_by=["attributes.start_time DESC"],
            max_results=MAX_RUNS,
        )
    ]
    mlflow_runs.sort(key=lambda run: run.info.start_time, reverse=True)
    return [_convert(each, names[each.info.experiment_id]) for each in mlflow_runs[:MAX_RUNS]]


def select_runs(
    folder: PathLike = "mlruns",
    *,
    ids: Iterable[str] = (),
    last: int = 2,
    experiment: str | None = None,
) -> list[Run]:
    """The runs with these ids or names, in that order; without ids, the last that have a video.

    Raises
    ------
    InputError, ParameterError
        There is no store, no such run, or fewer than two to compare.
    """
    requested = list(dict.fromkeys(str(each).strip() for each in ids))
    if requested:
        runs = list_runs(folder)
        selected = [_find(runs, each) for each in requested]
    else:
        if last < 2:
            raise ParameterError("one run compares with nothing", seen=last, remedy="last: 2")
        runs = list_runs(folder, experiment=experiment, kinds=VIDEO_KINDS)
        selected = [run for run in runs if run.video is not None][:last]
    if len({run.id for run in selected}) < 2:
        raise InputError(
            "there are no two runs to compare",
            seen=f"{len(selected)} with a video in {Path(folder).absolute()}",
            remedy="make another with other settings, and compare again",
        )
    return selected


def _find(runs: list[Run], id_or_name: str) -> Run:
    """The newest run with this name, or whose id begins so."""
    matches = [
        run
        for run in runs
        if run.id.startswith(id_or_name) or id_or_name in (run.name, run.tags.get("heygem.name"))
    ]
    if not id_or_name or not matches:
        raise InputError(
            "no such run", seen=id_or_name, remedy="give ids or names as `heygem ui` shows them"
        )
    return matches[0]


def _convert(run: "MlflowRun", experiment: str) -> Run:
    info, data = run.info, run.data
    return Run(
        id=info.run_id,
        name=info.run_name or info.run_id[:8],
        experiment=experiment,
        kind=data.tags.get("heygem.kind", ""),
        status=_status(info.status, data.tags),
        started=datetime.fromtimestamp(info.start_time / 1000, UTC),
        seconds=(info.end_time - info.start_time) / 1000 if info.end_time else None,
        params=with_current_names(data.params, notify=False),
        metrics=with_current_names(
            {store.dotted_name(name): value for name, value in data.metrics.items()},
            FORMER_METRICS,
            notify=False,
        ),
        tags=dict(data.tags),
        artifacts=_local_folder(info.artifact_uri),
    )


def _status(mlflow_status: str, tags: Mapping[str, str]) -> str:
    """The item's own state where MLflow has none for it."""
    own = tags.get("heygem.status")
    return own if own in ("skipped", "cancelled") else mlflow_status.lower()


def _local_folder(uri: str | None) -> Path | None:
    """Folder of an artifact URI on this machine, else None."""
    if uri and uri.startswith("file:"):
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(uri).path))
    return Path(uri) if uri and os.path.isabs(uri) else None
