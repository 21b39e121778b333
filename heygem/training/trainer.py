"""Training of the lips model.

Several networks are trained, each on all speakers but a few of its own, which decide at which step
it is best; so every speaker is trained on, and no network is stopped by its own training data. A
first quick pass finds clips whose sound is early or late, because scattered lags in the training
data reduce the amplitude of the model. All random numbers depend on the seed and the step only, so
an interrupted training gives the same result as an uninterrupted one.
"""

import functools
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor

from heygem.audio.embedding import PROJECTIONS
from heygem.core.errors import InputError
from heygem.core.files import replacing
from heygem.core.types import FloatArray, PathLike, Progress, Watch
from heygem.lips.features import has_embedding
from heygem.lips.model import FORMAT, LipsModel
from heygem.lips.network import LipsNetwork
from heygem.lips.trajectory import RATE_HZ, Trajectory, width_direction
from heygem.training import loss, metrics
from heygem.training.checkpoint import Checkpoint
from heygem.training.clip import Clip
from heygem.training.dataset import Dataset
from heygem.training.network_state import NetworkState
from heygem.training.settings import TrainSettings
from heygem.training.sync import SyncCheck, check_sync
from heygem.training.windows import Basis, TrainingWindows, fit_basis, speaker_scales

log = logging.getLogger(__name__)

GAIN_LIMITS = (0.5, 3.0)
LOOKAHEAD_ROWS = 4  # of a causal model, beside what its embedding looks ahead: 232 ms together


@dataclass
class TrainingResult:
    """A trained model and how it was trained.

    Attributes
    ----------
    model : LipsModel
    basis : Basis
    settings : TrainSettings
    history : list of dict
        One per evaluation on the held-out speakers: network, step, loss, correlation.
    sync : list of SyncCheck
        One for each of `clips`.
    held_out : dict of str to Agreement
        Speaker to agreement of the network that was not trained on that speaker.
    clips : list of Clip
        The clips trained on, in sync.
    dropped : list of Clip
        Clips whose sound is not that of the picture.
    seconds : float
        Processor time, that of interrupted runs included.
    device : str
    """

    model: LipsModel
    basis: Basis
    settings: TrainSettings
    history: list[dict[str, Any]] = field(default_factory=list)
    sync: list[SyncCheck] = field(default_factory=list)
    held_out: dict[str, metrics.Agreement] = field(default_factory=dict)
    clips: list[Clip] = field(default_factory=list)
    dropped: list[Clip] = field(default_factory=list)
    seconds: float = 0.0
    device: str = "cpu"


def train(
    dataset: Dataset,
    settings: TrainSettings | None = None,
    *,
    device: str = "cpu",
    checkpoint: PathLike | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> TrainingResult:
    """Train a lips model.

    Parameters
    ----------
    dataset : Dataset
    settings : TrainSettings, optional
    device : str
        "cpu" or "cuda"; mixed precision on the latter.
    checkpoint : path, optional
        File of what is done; an interrupted training continues from it.
    progress : callable, optional
        `progress(stage, done, total)`.
    watch : callable, optional
        `watch(name, value, step)` for curves.

    Raises
    ------
    InputError
        Too few speakers to hold any out.
    """
    settings = settings or TrainSettings()
    trainer = _Trainer(settings, Checkpoint(settings, checkpoint), device, progress, watch)
    clips, sync, dropped = trainer.check_sync(_usable_clips(dataset, settings))
    scales, opening_std = speaker_scales(clips)
    basis = fit_basis(clips, settings.coefficients)
    networks, predicted = trainer.train_folds(clips, basis, scales)
    unit = np.ones(len(basis.shapes))
    embedding = _embedding_in(clips, settings)
    frozen = [network.for_inference() for network in networks]
    model = LipsModel(frozen, basis.shapes, unit, {}, embedding=embedding)
    model.gain = _calibrate(networks, device, clips, predicted, basis, opening_std)
    model.about = {"opening_std": opening_std, "coefficients_explain": basis.explained}
    return TrainingResult(
        model,
        basis,
        settings,
        trainer.checkpoint.history,
        sync,
        dict(sorted(_held_out_agreement(clips, predicted).items())),
        clips,
        dropped,
        trainer.checkpoint.processor_s,
        device,
    )


def save(model: LipsModel, path: PathLike) -> None:
    """Write a model file that `LipsModel.load` reads; weights in half precision."""
    tensors: dict[str, NDArray[Any]] = {
        f"network{i}.{key}": np.ascontiguousarray(value, np.float16)
        for i, network in enumerate(model.networks)
        for key, value in network.weights.items()
    }
    tensors["basis"] = np.ascontiguousarray(model.basis)
    tensors["gain"] = model.gain
    name = model.embedding
    embedding = {} if name is None else {"speech_embedding": PROJECTIONS[name].asset.sha256}
    with replacing(path) as staged:
        save_file(
            tensors,
            staged,
            metadata={
                "format": FORMAT,
                "network": json.dumps(model.networks[0].shape),
                "networks": str(len(model.networks)),
                "about": json.dumps(model.about, ensure_ascii=False),
                **embedding,
            },
        )


def _embedding_in(clips: Sequence[Clip], settings: TrainSettings) -> str | None:
    """Projection of the speech embedding in the clips' features; None: none."""
    return settings.speech_embedding if has_embedding(clips[0].features) else None


def _usable_clips(dataset: Dataset, settings: TrainSettings) -> list[Clip]:
    """Clips of the train split under allowed licences, a second or more of each."""
    clips = [
        c
        for c in dataset.clips
        if c.source.split == "train"
        and c.source.licence_class not in settings.exclude_licences
        and c.duration_s >= 1
    ]
    speakers = {c.source.speaker for c in clips}
    if len(speakers) < settings.networks:
        raise InputError(
            "too few speakers to train on",
            seen=f"{len(speakers)} with usable clips",
            remedy=f"give videos of {settings.networks} people or more, one folder each",
        )
    return clips


def _fold(clips: Sequence[Clip], fold: int, count: int) -> list[int]:
    """Indices of the clips whose speakers network `fold` is not trained on.

    Speakers with much footage and those with little are distributed evenly.
    """
    seconds: dict[str, float] = defaultdict(float)
    for clip in clips:
        seconds[clip.source.speaker] += clip.duration_s
    ranked = sorted(seconds, key=lambda speaker: (-seconds[speaker], speaker))
    # Half of the speakers over all folds: the others are worth more for training.
    held_out = {who for rank, who in enumerate(ranked) if rank % (2 * count) == fold}
    return [i for i, clip in enumerate(clips) if clip.source.speaker in held_out]


def _held_out_agreement(
    clips: Sequence[Clip], predicted: Mapping[int, FloatArray]
) -> dict[str, metrics.Agreement]:
    """Agreement by speaker; `predicted` : clip index to predicted aperture."""
    by_speaker = defaultdict(list)
    for i, curve in predicted.items():
        by_speaker[clips[i].source.speaker].append((curve, clips[i].aperture, clips[i].valid))
    return {who: metrics.agreement(pairs) for who, pairs in by_speaker.items()}


def _calibrate(
    networks: Sequence[LipsNetwork],
    device: str,
    clips: Sequence[Clip],
    predicted: Mapping[int, FloatArray],
    basis: Basis,
    opening_std: float,
) -> FloatArray:
    """Gain that gives the predictions the amplitude of real mouths : float32 [K].

    A regression predicts the mean of what is possible, so its amplitude is too small. The amplitude
    of each network on its held-out speakers is brought to the real one, and what averaging over
    networks takes away is added.
    """
    ratios, shrinkage = [], []
    for i, single in predicted.items():
        speaking = clips[i].speaking
        if speaking.sum() < 2 * RATE_HZ:
            continue
        ratios.append(single[speaking].std() / opening_std)
        each = [_predict(n, clips[i], device) @ basis.aperture for n in networks]
        mean_std = np.mean([e[speaking].std() for e in each])
        shrinkage.append(np.mean(each, 0)[speaking].std() / max(mean_std, 1e-9))
    if not ratios:
        return np.ones(len(basis.shapes), np.float32)
    gain = 1 / max(np.median(ratios) * np.median(shrinkage), 1e-3)
    return np.full(len(basis.shapes), np.clip(gain, *GAIN_LIMITS), np.float32)


@torch.inference_mode()
def _predict(network: LipsNetwork, clip: Clip, device: str) -> FloatArray:
    """Coefficients for a clip : float32 [N, K].

    The spectra are normalised over the whole clip, as in `LipsModel.predict_features`, so that
    evaluation and gain hold for inference.
    """
    x = torch.from_numpy(clip.features)[None].to(device)
    return network.eval()(x)[0].float().cpu().numpy()


class _Trainer:
    """One training: its settings, its checkpoint and its callbacks."""

    def __init__(
        self,
        settings: TrainSettings,
        checkpoint: Checkpoint,
        device: str,
        progress: Progress | None,
        watch: Watch | None,
    ) -> None:
        self.settings, self.checkpoint = settings, checkpoint
        self.device = device
        self._progress: Progress = progress or (lambda stage, done, total: None)
        self._watch: Watch = watch or (lambda name, value, step: None)

    def check_sync(self, clips: list[Clip]) -> tuple[list[Clip], list[SyncCheck], list[Clip]]:
        """Correct each clip's lag: (clips in sync, SyncCheck of each, clips dropped)."""
        if not self.settings.sync_iterations:
            return clips, [SyncCheck(0.0, 1.0, 0.0, 1.0)] * len(clips), []
        quick = self.settings.model_copy(update={"iterations": self.settings.sync_iterations})
        basis = fit_basis(clips, quick.coefficients)
        scales, _ = speaker_scales(clips)
        predicted: dict[int, Trajectory] = {}
        speakers = sorted({c.source.speaker for c in clips})
        for half in range(2):
            judged = set(speakers[half::2])
            held_out = [i for i, c in enumerate(clips) if c.source.speaker in judged]
            network = self._train_network(
                f"sync{half}", clips, held_out, basis, scales, half, quick, evaluate=False
            )
            for i in held_out:
                coefficients = _predict(network, clips[i], self.device)
                predicted[i] = Trajectory(coefficients, RATE_HZ, basis.shapes)
        checks = check_sync(clips, [predicted[i] for i in range(len(clips))])
        pairs = [(c, s) for c, s in zip(clips, checks, strict=True) if s.verdict != "off"]
        dropped = [c for c, s in zip(clips, checks, strict=True) if s.verdict == "off"]
        return [c.shifted(s.correction_s) for c, s in pairs], [s for _, s in pairs], dropped

    def train_folds(
        self, clips: list[Clip], basis: Basis, scales: Mapping[str, float]
    ) -> tuple[list[LipsNetwork], dict[int, FloatArray]]:
        """All networks, and for each held-out clip (by index) the aperture its network predicts."""
        networks: list[LipsNetwork] = []
        predicted: dict[int, FloatArray] = {}
        for fold in range(self.settings.networks):
            held_out = _fold(clips, fold, self.settings.networks)
            network = self._train_network(
                f"network{fold}", clips, held_out, basis, scales, fold, self.settings
            )
            networks.append(network)
            for i in held_out:
                predicted[i] = _predict(network, clips[i], self.device) @ basis.aperture
        return networks, predicted

    def _train_network(
        self,
        name: str,
        clips: Sequence[Clip],
        held_out: Collection[int],
        basis: Basis,
        scales: Mapping[str, float],
        number: int,
        settings: TrainSettings,
        *,
        evaluate: bool = True,
    ) -> LipsNetwork:
        """Train one network on all clips but `held_out`, by which its best step is chosen."""
        embedding = _embedding_in(clips, settings)
        causal = embedding is not None and PROJECTIONS[embedding].causal
        shape = dict(
            outputs=settings.coefficients,
            width=settings.width,
            dilations=settings.dilations,
            inputs=clips[0].features.shape[1],
            lookahead=LOOKAHEAD_ROWS if causal else None,
            normalize=settings.normalize_spectra and not causal,
        )
        state = NetworkState(shape, settings, number, self.device)
        if name in self.checkpoint.networks:
            state.restore(self.checkpoint.networks[name])
        if state.next_step <= settings.iterations:
            excluded = set(held_out)
            windows = TrainingWindows(
                [c for i, c in enumerate(clips) if i not in excluded],
                basis,
                scales,
                rows=round(settings.window_s * RATE_HZ),
                embedding=embedding,
            )
            loss_function = self._loss_function(basis, settings)
        while state.next_step <= settings.iterations:
            step = state.next_step
            error = state.step(windows, loss_function, settings, number)
            self._progress(f"train {name}", step, settings.iterations)
            if step % settings.eval_every and step < settings.iterations:
                continue
            score = self._evaluate(state.average, clips, held_out, basis) if evaluate else 0.0
            self._report(name, step, error, score if evaluate else None)
            if score >= state.best_score or not evaluate:
                state.best_score = score
                state.best = {k: v.clone() for k, v in state.average.state_dict().items()}
            finished = step == settings.iterations
            self.checkpoint.networks[name] = state.stored(finished=finished)
            self.checkpoint.save()
        state.average.load_state_dict(state.best)
        return state.average

    def _report(self, name: str, step: int, error: float, score: float | None) -> None:
        """Add an evaluation to history, curves and log."""
        self.checkpoint.history.append(
            {"network": name, "step": step, "loss": error, "correlation": score or 0.0}
        )
        self._watch(f"{name}/loss", error, step)
        if score is not None:
            self._watch(f"{name}/correlation", score, step)
            log.info("%s step %d: loss %.3f, held out %.3f", name, step, error, score)

    def _loss_function(
        self, basis: Basis, settings: TrainSettings
    ) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        weights = (basis.spread / basis.spread[0]) ** 0.7
        measures = np.stack([basis.aperture, width_direction(basis.shapes)], 1)  # [K, 2]
        measures = measures / np.linalg.norm(measures, axis=0)  # coefficients have a std of 1
        return functools.partial(
            loss.motion_loss,
            weights=torch.tensor(weights, dtype=torch.float32, device=self.device),
            measures=torch.tensor(measures, dtype=torch.float32, device=self.device),
            correlation_weight=settings.correlation_weight,
        )

    def _evaluate(
        self, network: LipsNetwork, clips: Sequence[Clip], held_out: Collection[int], basis: Basis
    ) -> float:
        """Correlation with the tracked aperture, mean over held-out speakers."""
        predicted = {i: _predict(network, clips[i], self.device) @ basis.aperture for i in held_out}
        agreements = _held_out_agreement(clips, predicted).values()
        return float(np.mean([a.correlation for a in agreements]))
