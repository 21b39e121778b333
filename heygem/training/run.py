"""`heygem train lips DATASET`: from a folder of talking videos to a model file and its card."""

import logging
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch

from heygem import lips
from heygem.audio.encoder import SpeechEncoder
from heygem.core.errors import ParameterError
from heygem.core.version import commit
from heygem.experiments import store
from heygem.training import dataset, model_card
from heygem.training.trainer import TrainSettings, save, train

log = logging.getLogger(__name__)


def train_lips(
    folder,
    out,
    settings=None,
    *,
    device="auto",
    workers=1,
    cache=None,
    tracking_folder=None,
    progress=None,
):
    """Train a lips model on every talking video of a folder.

    Reads (and caches) the videos, checks their sync, trains, judges the result on the clips whose
    manifest says `dev`, and writes the model and its card. Run again with the same settings, it
    goes on where it stopped.

    Parameters
    ----------
    folder : path
        Videos, in one sub-folder per speaker, or with a `MANIFEST.csv`.
    out : path
        The `.safetensors` file to write; the card lies beside it as `.md`, and while training
        goes on, what is done as `.checkpoint`. What lies there as `.notes.md` goes into the card.
    settings : TrainSettings, optional
    device : str
        "auto" (a GPU where there is one), "cpu" or "cuda".
    workers : int
        Videos read at once.
    cache : path, optional
        Where what was read from the videos is kept.
    tracking_folder : path, optional
        Folder of the MLflow store that receives the curves; None: no curves.
    progress : callable, optional
        `progress(stage, done, total)`.

    Returns
    -------
    heygem.training.trainer.Trained

    Raises
    ------
    InputError
        No videos, or too few speakers.
    ParameterError
        `out` is no `.safetensors` file, or a GPU is asked for that is not there.
    """
    settings = settings or TrainSettings()
    out = Path(out)
    if out.suffix != ".safetensors":
        raise ParameterError(
            "the model file must end in .safetensors", seen=out.name, remedy="rename it"
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise ParameterError("no GPU to train on", seen="cuda", remedy="use device auto or cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    out.parent.mkdir(parents=True, exist_ok=True)
    encoder = None
    if settings.ears is not None:
        encoder = SpeechEncoder(settings.ears, layer=settings.ears_layer, device=device)
    data = dataset.load(
        dataset.find(folder),
        cache=cache,
        workers=workers,
        encoder=encoder,
        progress=progress,
    )
    checkpoint = out.with_suffix(".checkpoint")
    with _curves(tracking_folder, settings) as watch:
        trained = train(
            data,
            settings,
            device=device,
            encoder=encoder,
            checkpoint=checkpoint,
            progress=progress,
            watch=watch,
        )
        unseen = [c for c in data.clips if c.source.split == "dev" and c.source.sync in ("", "ok")]
        judged = model_card.judge(trained.model, unseen) if unseen else None
        if judged:
            watch(
                "dev/correlation", model_card.mean_correlation(judged["model"]), settings.iterations
            )
    metrics = {"held_out_correlation": model_card.mean_correlation(trained.held_out)}
    if judged:
        metrics["dev"] = {who: asdict(a) for who, a in judged["model"].items()}
    trained.model.about |= metrics | {
        "speakers": len({c.source.speaker for c in trained.used}),
        "minutes": round(sum(c.duration_s for c in trained.used) / 60, 1),
        "data_sha256": data.sha256,
        "code": commit(),
        "card": out.with_suffix(".md").name,
    }
    save(trained.model, out)
    notes = out.with_suffix(".notes.md")
    model_card.write(
        out.with_suffix(".md"),
        trained,
        data,
        judged=judged,
        notes=[notes.read_text(encoding="utf-8").strip()] if notes.exists() else (),
    )
    checkpoint.unlink(missing_ok=True)
    lips.LipsModel.load(out)  # what was written can be read
    return trained


@contextmanager
def _curves(folder, settings):
    """A function that keeps curves in MLflow, or does nothing where there is no store."""
    if folder is None:
        yield lambda name, value, step: None
        return
    store.quiet()
    try:
        import mlflow

        Path(folder).mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(store.store(folder))
        client = mlflow.MlflowClient()
        mlflow.start_run(experiment_id=store.experiment(client, folder, "train lips"))
        mlflow.log_params(settings.model_dump())
    except Exception as error:  # noqa: BLE001  a store that is away never costs a training
        log.warning("no curves are kept: %s", error)
        yield lambda name, value, step: None
        return
    lost = []

    def watch(name, value, step):
        if not lost:
            try:
                mlflow.log_metric(name, value, step=step)
            except Exception as error:  # noqa: BLE001  as above
                lost.append(error)
                log.warning("no more curves are kept: %s", error)

    status = "FAILED"
    try:
        yield watch
        status = "FINISHED"
    finally:
        if not lost:
            mlflow.end_run(status)
