"""From a folder of talking videos to a model file and its card; see docs/training.md."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from heygem import lips
from heygem.core import publish
from heygem.core.errors import ParameterError
from heygem.core.gpu import resolve_device
from heygem.core.types import PathLike, Progress, Watch
from heygem.core.version import commit
from heygem.experiments import store
from heygem.training import dataset, model_card
from heygem.training.settings import TrainSettings
from heygem.training.trainer import TrainingResult, save, train

OVERWRITE = "replace it with --overwrite (overwrite=True)"

log = logging.getLogger(__name__)


def train_lips(
    folder: PathLike,
    out: PathLike,
    settings: TrainSettings | None = None,
    *,
    device: str = "auto",
    workers: int = 1,
    cache: PathLike | None = None,
    tracking_folder: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> TrainingResult:
    """Train a lips model on every talking video of a folder.

    Tracks (and caches) the videos, checks their sync, trains, evaluates the result on the clips
    whose manifest says `dev`, and writes the model and its card. Run again with the same settings,
    it continues where it stopped.

    Parameters
    ----------
    folder : path
        Videos, in one sub-folder per speaker, or with a `MANIFEST.csv`.
    out : path
        The `.safetensors` file to write. Beside it: the card as `.md`, the checkpoint of an
        unfinished training as `.checkpoint`, and, if you write it, `.notes.md`, which is copied
        into the card.
    settings : TrainSettings, optional
    device : str
        "auto" (a GPU where there is one), "cpu" or "cuda".
    workers : int
        Videos read at once.
    cache : path, optional
        Folder for tracked videos.
    tracking_folder : path, optional
        Folder of the MLflow store that receives the curves; None: no curves.
    overwrite : bool
        Whether a model, or another file, under the name of `out` or its card is replaced.
    progress : callable, optional
        `progress(stage, done, total)`.

    Raises
    ------
    OutputError
        A file has that name and is not to be replaced.
    InputError
        No videos, or too few speakers.
    ParameterError
        `out` is no `.safetensors` file, or there is no GPU for "cuda".
    """
    settings = settings or TrainSettings()
    out, device = Path(out), resolve_device(device)
    if out.suffix != ".safetensors":
        raise ParameterError(
            "the model file must end in .safetensors", seen=out.name, remedy="rename it"
        )
    card = out.with_suffix(".md")
    may_replace = publish.always if overwrite else publish.never
    out.parent.mkdir(parents=True, exist_ok=True)
    for path in (out, card):
        publish.check(path, may_replace=may_replace, way_out=OVERWRITE)
    data = dataset.load(
        dataset.find(folder),
        cache=cache,
        workers=workers,
        embedding=settings.speech_embedding,
        progress=progress,
    )
    checkpoint = out.with_suffix(".checkpoint")
    with _log_curves(tracking_folder, settings) as watch:
        result = train(
            data,
            settings,
            device=device,
            checkpoint=checkpoint,
            progress=progress,
            watch=watch,
        )
        evaluation = _evaluate(result, data, watch)
    result.model.about |= _about(result, data, evaluation) | {"card": card.name}
    with publish.publishing(out, may_replace=may_replace) as staged:
        save(result.model, staged)
    notes = out.with_suffix(".notes.md")
    with publish.publishing(card, may_replace=may_replace) as staged:
        model_card.write(
            staged,
            result,
            data,
            evaluation=evaluation,
            notes=[notes.read_text(encoding="utf-8").strip()] if notes.exists() else (),
        )
    checkpoint.unlink(missing_ok=True)
    lips.LipsModel.load(out)  # the file can be read back
    return result


def _evaluate(
    result: TrainingResult, data: dataset.Dataset, watch: Watch
) -> model_card.Evaluation | None:
    """Agreement on the clips of split `dev` whose sync is not in doubt."""
    unseen = [c for c in data.clips if c.source.split == "dev" and c.source.sync in ("", "ok")]
    if not unseen:
        return None
    evaluation = model_card.evaluate(result.model, unseen)
    correlation = model_card.mean_correlation(evaluation["model"])
    watch("dev/correlation", correlation, result.settings.iterations)
    return evaluation


def _about(
    result: TrainingResult, data: dataset.Dataset, evaluation: model_card.Evaluation | None
) -> dict[str, object]:
    """Metadata of the model file."""
    about: dict[str, object] = {
        "held_out_correlation": model_card.mean_correlation(result.held_out)
    }
    if evaluation:
        about["dev"] = {who: asdict(a) for who, a in evaluation["model"].items()}
    return about | {
        "speakers": len({c.source.speaker for c in result.clips}),
        "minutes": round(sum(c.duration_s for c in result.clips) / 60, 1),
        "data_sha256": data.sha256,
        "code": commit(),
    }


@contextmanager
def _log_curves(folder: PathLike | None, settings: TrainSettings) -> Iterator[Watch]:
    """A function that logs curves to MLflow, or does nothing where there is no store."""
    if folder is None:
        yield lambda name, value, step: None
        return
    store.disable_telemetry()
    try:
        import mlflow

        client = store.open_client(folder)
        mlflow.set_tracking_uri(store.tracking_uri(folder))
        mlflow.start_run(experiment_id=store.experiment_id(client, folder, "train lips"))
        mlflow.log_params(settings.model_dump())
    except Exception as error:  # noqa: BLE001  without a store, training continues
        log.warning("curves are not logged: %s", error)
        yield lambda name, value, step: None
        return
    failed = False

    def watch(name: str, value: float, step: int) -> None:
        nonlocal failed
        if failed:
            return
        try:
            mlflow.log_metric(name, value, step=step)
        except Exception as error:  # noqa: BLE001  as above
            failed = True
            log.warning("curves are no longer logged: %s", error)

    status = "FAILED"
    try:
        yield watch
        status = "FINISHED"
    finally:
        if not failed:
            mlflow.end_run(status)
