"""Recorded runs, newest first, with the files they left."""

import csv
import functools
import os
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from heygem.config.renamed import with_current_names
from heygem.core.errors import InputError, ParameterError
from heygem.experiments import store as tracking

MOST = 500  # runs that are looked at
VIDEO_ENDINGS = (".mp4", ".mov", ".mkv", ".m4v")
KINDS = ("video", "snapshot")  # of runs that made a video


@dataclass(frozen=True)
class Run:
    """One recorded run.

    Attributes
    ----------
    id, name, experiment : str
    kind : str
        "video", "snapshot", "batch", ...: the tag `heygem.kind`, or empty.
    status : str
        As MLflow says it, in small letters: finished, failed, killed, running.
    started : datetime
    seconds : float or None
        From start to end.
    params : dict of str to str
    metrics : dict of str to float
    tags : dict of str to str
    place : Path or None
        Folder of its artifacts, where that is on this machine.
    """

    id: str
    name: str
    experiment: str
    kind: str
    status: str
    started: datetime
    seconds: float | None
    params: dict = field(repr=False)
    metrics: dict = field(repr=False)
    tags: dict = field(repr=False)
    place: Path | None = field(repr=False)

    @functools.cached_property
    def video(self) -> Path | None:
        """The video it made."""
        found = sorted(self.place.glob("video/*")) if self.place is not None else []
        return next((path for path in found if path.suffix.lower() in VIDEO_ENDINGS), None)

    @functools.cached_property
    def curve(self):
        """Lip curve : (times_s, opening) float64 [n], eye distances from rest; None without one."""
        path = self.place / "lip_curve.csv" if self.place is not None else None
        if path is None or not path.is_file():
            return None
        try:
            with path.open(newline="") as stream:
                rows = [(float(r["time_s"]), float(r["opening"])) for r in csv.DictReader(stream)]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return tuple(np.array(rows).T) if rows else None


def store(folder):
    """A client of the store in a folder.

    Raises
    ------
    InputError
        Nothing was ever recorded there.
    """
    folder = Path(folder).absolute()
    if not (folder / "mlflow.db").is_file():
        raise InputError(
            "no recorded runs", seen=folder, remedy="make a video first, or name another folder"
        )
    tracking.quiet()
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=tracking.store(folder))


def listed(folder="mlruns", *, experiment=None, kinds=None) -> list[Run]:
    """Runs of a store, newest first.

    Parameters
    ----------
    folder : path
    experiment : str, optional
        Only this one; all when not given.
    kinds : tuple of str, optional
        Only these; all when not given.

    Raises
    ------
    InputError
        There is no store.
    """
    client = store(folder)
    names = {e.experiment_id: e.name for e in client.search_experiments()}
    if experiment is not None:
        if experiment not in names.values():
            raise InputError(
                "no such experiment", seen=experiment, remedy=f"known: {', '.join(names.values())}"
            )
        names = {key: name for key, name in names.items() if name == experiment}
    found = client.search_runs(
        list(names), max_results=MOST, order_by=["attributes.start_time DESC"]
    )
    runs = [_run(one, names[one.info.experiment_id]) for one in found]
    return [run for run in runs if kinds is None or run.kind in kinds]


def chosen(folder="mlruns", *, ids=(), last=2, experiment=None) -> list[Run]:
    """The runs with these ids, in that order; without ids the last ones that have a video.

    Raises
    ------
    InputError, ParameterError
        There is no store, no such run, or fewer than two to compare.
    """
    runs = listed(folder, experiment=None if ids else experiment)
    if ids:
        found = []
        for wish in dict.fromkeys(str(wish).strip() for wish in ids):
            fits = [run for run in runs if run.id.startswith(wish) or run.name == wish]
            if not wish or not fits:
                raise InputError(
                    "no such run", seen=wish, remedy="give ids or names as `heygem ui` shows them"
                )
            found.append(fits[0])  # of the same name, the newest
    else:
        if last < 2:
            raise ParameterError("one run compares with nothing", seen=last, remedy="last: 2")
        found = [run for run in runs if run.kind in KINDS and run.video is not None][:last]
    if len({run.id for run in found}) < 2:
        raise InputError(
            "there are no two runs to compare",
            seen=f"{len(found)} with a video in {Path(folder).absolute()}",
            remedy="make another with other settings, and compare again",
        )
    return found


def _run(one, experiment) -> Run:
    info, data = one.info, one.data
    ended = info.end_time
    return Run(
        id=info.run_id,
        name=info.run_name or info.run_id[:8],
        experiment=experiment,
        kind=data.tags.get("heygem.kind", ""),
        status=_status(info.status, data.tags),
        started=datetime.fromtimestamp(info.start_time / 1000, UTC),
        seconds=(ended - info.start_time) / 1000 if ended else None,
        params=with_current_names(data.params, notify=False),
        metrics=dict(data.metrics),
        tags=dict(data.tags),
        place=_place(info.artifact_uri),
    )


def _status(status, tags):
    """The item's own state says more than MLflow's, which knows no skipped item."""
    own = tags.get("heygem.status")
    return own if own in ("skipped", "cancelled") else status.lower()


def _place(uri):
    """Folder of an artifact address on this machine, else None."""
    if uri and uri.startswith("file:"):
        path = urllib.request.url2pathname(urllib.parse.urlsplit(uri).path)
        return Path(path)
    return Path(uri) if uri and os.path.isabs(uri) else None
