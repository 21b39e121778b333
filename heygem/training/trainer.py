"""Training of the lips model: `heygem train lips DATASET`.

Several networks are trained, each on all speakers but its own few, which decide when it is at its
best; so every speaker is learnt from, and no network is stopped by what it has seen. A first quick
pass finds clips whose sound is early or late, because a model taught with scattered lags learns to
mumble. Everything random is drawn from the seed and the iteration, so a training that was
interrupted goes on as if it had not been.
"""

import functools
import json
import logging
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save_file

from heygem.audio.encoder import encoder_metadata
from heygem.config.params import Settings
from heygem.core.errors import InputError
from heygem.lips.model import FORMAT, LipsModel
from heygem.lips.network import LipsNetwork
from heygem.lips.trajectory import RATE_HZ, width_direction
from heygem.training import loss, metrics
from heygem.training.windows import Basis, TrainingWindows, fit_basis, speaker_scales

log = logging.getLogger(__name__)


class TrainSettings(Settings):
    """How the lips model is trained."""

    seed: int = Field(0, ge=0, le=2**31 - 1, description="seed of everything random")
    networks: int = Field(4, ge=2, le=16, description="networks whose mean is the model")
    iterations: int = Field(600, ge=1, description="steps of each network")
    sync_iterations: int = Field(200, ge=0, description="steps of the sync check; 0: no check")
    batch: int = Field(24, ge=1, le=4096, description="windows in a step")
    window_s: float = Field(2.56, ge=0.64, le=30, description="length of a window [s]")
    coefficients: int = Field(16, ge=2, le=64, description="mouth coefficients")
    width: int = Field(192, ge=8, le=2048, description="channels of a network")
    dilations: tuple[int, ...] = Field((1, 2, 4, 1, 2), description="one residual block each")
    dropout: float = Field(0.15, ge=0, lt=1, description="share of channels left out [share]")
    learning_rate: float = Field(1.2e-3, gt=0, le=1, description="at its highest")
    level: bool = Field(
        True, description="bring each sound's spectra to the same mean and spread, band by band"
    )
    likeness: float = Field(
        1.0, ge=0, le=100, description="weight of the correlation of gap and width in a window"
    )
    average: float = Field(0.995, ge=0, lt=1, description="memory of the averaged weights [share]")
    check_every: int = Field(150, ge=1, description="steps between looks at the held-out speakers")
    exclude_licences: tuple[str, ...] = Field(
        ("research-only",), description="licence classes not to be learnt from"
    )
    ears: str | None = Field(
        None, description="folder, or name in the hub's cache, of a speech encoder to hear with"
    )
    ears_layer: int | None = Field(None, ge=0, description="its layer; none: three quarters up")


@dataclass
class Trained:
    """What a training gave.

    model : LipsModel
    history : list of dict, one per look at the held-out speakers
    sync : list of heygem.training.metrics.Sync, for the clips learnt from
    held_out : dict of speaker to Agreement, each by a network that never saw the speaker
    used, dropped : list of Clip
    seconds : float
        Processor time, that of earlier starts included.
    """

    model: LipsModel
    basis: Basis
    settings: TrainSettings
    history: list = field(default_factory=list)
    sync: list = field(default_factory=list)
    held_out: dict = field(default_factory=dict)
    used: list = field(default_factory=list)
    dropped: list = field(default_factory=list)
    seconds: float = 0.0


def train(
    dataset,
    settings=None,
    *,
    device="cpu",
    encoder=None,
    checkpoint=None,
    progress=None,
    watch=None,
):
    """Train a lips model.

    Parameters
    ----------
    dataset : heygem.training.dataset.Dataset
    settings : TrainSettings, optional
    device : str
        "cpu" or "cuda"; mixed precision on the latter.
    encoder : heygem.audio.encoder.SpeechEncoder, optional
        Those that the clips were heard with, too.
    checkpoint : path, optional
        Where to keep what is done, and to go on from.
    progress : callable, optional
        `progress(stage, done, total)`.
    watch : callable, optional
        `watch(name, value, step)` for curves.

    Returns
    -------
    Trained

    Raises
    ------
    InputError
        Too few speakers to hold any out.
    """
    settings = settings or TrainSettings()
    run = _Run(settings, device, encoder, checkpoint, progress, watch)
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
    clips, sync, dropped = run.sync_pass(clips)
    scales, opening_std = speaker_scales(clips)
    basis = fit_basis(clips, settings.coefficients)
    networks, held_out = [], {}
    said = {}  # clip index -> predicted gap, by the network that never saw the speaker
    for fold in range(settings.networks):
        outside = _fold(clips, fold, settings.networks)
        network = run.network(f"network{fold}", clips, outside, basis, scales, fold)
        networks.append(network)
        for i in outside:
            said[i] = run.say(network, clips[i]) @ basis.aperture
    for who in sorted({c.source.speaker for c in clips}):
        own = [i for i in said if clips[i].source.speaker == who]
        if own:
            held_out[who] = metrics.agreement(
                [(said[i], clips[i].aperture, clips[i].valid) for i in own]
            )
    unit = np.ones(len(basis.shapes))
    model = LipsModel(networks, basis.shapes, unit, {}, device=device, encoder=encoder)
    model.gain = _calibrate(model, clips, said, basis, opening_std)
    model.about = {"opening_std": opening_std, "coefficients_explain": basis.explained}
    return Trained(
        model,
        basis,
        settings,
        run.history,
        sync,
        held_out,
        clips,
        dropped,
        run.spent_s(),
    )


def _fold(clips, fold, count):
    """Indices of the clips whose speakers network `fold` does not learn from.

    Speakers with much footage and those with little are dealt out evenly.
    """
    seconds = defaultdict(float)
    for clip in clips:
        seconds[clip.source.speaker] += clip.duration_s
    ranked = sorted(seconds, key=lambda who: (-seconds[who], who))
    # Half of them in all: the rest are worth more as teachers than as judges.
    chosen = {who for rank, who in enumerate(ranked) if rank % (2 * count) == fold}
    return [i for i, clip in enumerate(clips) if clip.source.speaker in chosen]


def _calibrate(model, clips, said, basis, opening_std):
    """Gain that gives the answers the spread of real mouths.

    A regression answers with the mean of what is possible, so its mouths open too little. The
    spread of each network on speakers it never saw is brought to the real one, and what the mean
    over networks takes away is given back.
    """
    ratios, shrink = [], []
    for i, single in said.items():
        clip = clips[i]
        spoken = clip.speaking
        if spoken.sum() < 2 * RATE_HZ:
            continue
        ratios.append(single[spoken].std() / opening_std)
        each = [_say(n, clip, model.device) @ basis.aperture for n in model.networks]
        shrink.append(
            np.mean(each, 0)[spoken].std() / max(np.mean([e[spoken].std() for e in each]), 1e-9)
        )
    if not ratios:
        return np.ones(len(basis.shapes), np.float32)
    gain = 1 / max(np.median(ratios) * np.median(shrink), 1e-3)
    return np.full(len(basis.shapes), np.clip(gain, 0.5, 3), np.float32)


@torch.inference_mode()
def _say(network, clip, device):
    x = torch.from_numpy(clip.heard)[None].to(device)
    return network.eval()(x)[0].float().cpu().numpy()


class _Run:
    """One training: its settings, its checkpoint and its curves."""

    def __init__(self, settings, device, encoder, checkpoint, progress, watch):
        self.settings, self.device, self.encoder = settings, device, encoder
        self.history = []
        self._began_s = time.process_time()
        self._progress = progress or (lambda stage, done, total: None)
        self._watch = watch or (lambda name, value, step: None)
        self._checkpoint = Path(checkpoint) if checkpoint is not None else None
        self._done = {"settings": settings.model_dump_json()}
        if self._checkpoint is not None and self._checkpoint.exists():
            kept = torch.load(self._checkpoint, weights_only=True, map_location="cpu")
            if kept.get("settings") == self._done["settings"]:
                self._done = kept
                self.history = json.loads(kept.get("history", "[]"))
            else:
                log.warning("%s is of other settings: starting anew", self._checkpoint)

    def _keep(self):
        if self._checkpoint is not None:
            self._done["history"] = json.dumps(self.history)
            self._done["spent_s"], self._began_s = self.spent_s(), time.process_time()
            part = self._checkpoint.with_suffix(".part")
            torch.save(self._done, part)
            part.replace(self._checkpoint)

    def spent_s(self):
        """Processor time of this training, over all its starts."""
        return self._done.get("spent_s", 0.0) + time.process_time() - self._began_s

    def say(self, network, clip):
        return _say(network, clip, self.device)

    def sync_pass(self, clips):
        """Put right each clip's lag; returns (clips to learn from, Sync of each, clips dropped)."""
        if not self.settings.sync_iterations:
            return clips, [metrics.Sync(0.0, 1.0, 0.0, 1.0)] * len(clips), []
        quick = self.settings.model_copy(update={"iterations": self.settings.sync_iterations})
        basis = fit_basis(clips, quick.coefficients)
        scales, _ = speaker_scales(clips)
        said = [np.zeros(len(c.valid)) for c in clips]
        who = sorted({c.source.speaker for c in clips})
        for half in range(2):
            judged = set(who[half::2])
            outside = [i for i, c in enumerate(clips) if c.source.speaker in judged]
            name = f"sync{half}"
            network = self.network(name, clips, outside, basis, scales, half, quick, stop=False)
            for i in outside:
                said[i] = self.say(network, clips[i]) @ basis.aperture
        sync = metrics.check_sync(clips, said)
        used, kept, dropped = [], [], []
        for clip, found in zip(clips, sync, strict=True):
            if found.verdict == "off":
                dropped.append(clip)
            else:
                used.append(clip.shifted(found.correction_s))
                kept.append(found)
        return used, kept, dropped

    def network(self, name, clips, outside, basis, scales, number, settings=None, *, stop=True):
        """Train one network on all clips but those of `outside`."""
        settings = settings or self.settings
        shape = dict(
            outputs=settings.coefficients,
            width=settings.width,
            dilations=settings.dilations,
            inputs=clips[0].heard.shape[1],
            level=settings.level,
        )
        torch.manual_seed(settings.seed * 100 + number)
        network = LipsNetwork(**shape, dropout=settings.dropout).to(self.device)
        mean = LipsNetwork(**shape).to(self.device).eval()
        mean.load_state_dict(network.state_dict())
        state = self._done.get(name)
        if state is not None and state["step"] > settings.iterations:
            mean.load_state_dict(state["best"])
            return mean
        optimiser = torch.optim.AdamW(
            network.parameters(), settings.learning_rate, weight_decay=0.02
        )
        best, best_score, first = mean.state_dict(), -np.inf, 1
        if state is not None:
            network.load_state_dict(state["network"])
            mean.load_state_dict(state["mean"])
            optimiser.load_state_dict(state["optimiser"])
            best, best_score, first = state["best"], state["score"], state["step"]
        skip = set(outside)
        examples = TrainingWindows(
            [c for i, c in enumerate(clips) if i not in skip],
            basis,
            scales,
            rows=round(settings.window_s * RATE_HZ),
            encoder=self.encoder,
        )
        weights = (basis.spread / basis.spread[0]) ** 0.7
        measures = np.stack([basis.aperture, width_direction(basis.shapes)], 1)  # [K, 2]
        measures = measures / np.linalg.norm(measures, axis=0)  # coefficients have a spread of 1
        judge = functools.partial(
            loss.motion_loss,
            weights=torch.tensor(weights, dtype=torch.float32, device=self.device),
            measures=torch.tensor(measures, dtype=torch.float32, device=self.device),
            likeness=settings.likeness,
        )
        for step in range(first, settings.iterations + 1):
            rate = settings.learning_rate * min(1, step / 50)
            rate *= 1 - 0.97 * step / settings.iterations
            for group in optimiser.param_groups:
                group["lr"] = rate
            seed = (settings.seed, number, step)
            error = self._step(network.train(), optimiser, examples, judge, seed, settings)
            memory = min(settings.average, step / (step + 10))
            with torch.no_grad():
                for slow, fast in zip(mean.parameters(), network.parameters(), strict=True):
                    slow.lerp_(fast, 1 - memory)
            self._progress(f"train {name}", step, settings.iterations)
            if step % settings.check_every and step < settings.iterations:
                continue
            score = self._score(mean, clips, outside, basis) if stop else 0.0
            entry = {"network": name, "step": step, "loss": error, "correlation": score}
            self.history.append(entry)
            self._watch(f"{name}/loss", error, step)
            if stop:
                self._watch(f"{name}/correlation", score, step)
                log.info("%s step %d: loss %.3f, held out %.3f", name, step, error, score)
            if score >= best_score or not stop:
                best_score, best = score, {k: v.clone() for k, v in mean.state_dict().items()}
            self._done[name] = {
                "step": step + 1,
                "score": float(best_score),
                "best": best,
                "network": network.state_dict(),
                "mean": mean.state_dict(),
                "optimiser": optimiser.state_dict(),
            }
            self._keep()
        mean.load_state_dict(best)
        for unneeded in ("network", "mean", "optimiser"):
            self._done[name].pop(unneeded, None)
        self._keep()
        return mean

    def _step(self, network, optimiser, examples, judge, seed, settings):
        heard, wanted, valid = examples.batch(settings.batch, seed, self.device)
        torch.manual_seed(hash(seed) % 2**31)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device != "cpu"):
            said = network(heard)
        error = judge(said.float(), wanted, valid)
        optimiser.zero_grad()
        error.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        return float(error.detach())

    def _score(self, network, clips, outside, basis):
        by_speaker = defaultdict(list)
        for i in outside:
            said = self.say(network, clips[i]) @ basis.aperture
            by_speaker[clips[i].source.speaker].append((said, clips[i].aperture, clips[i].valid))
        return float(np.mean([metrics.agreement(p).correlation for p in by_speaker.values()]))


def save(model, path):
    """Write a model file that `LipsModel.load` reads; weights in half precision."""
    tensors = {
        f"network{i}.{key}": value.detach().half().cpu().contiguous()
        for i, network in enumerate(model.networks)
        for key, value in network.state_dict().items()
    }
    tensors["basis"] = torch.from_numpy(np.ascontiguousarray(model.basis))
    tensors["gain"] = torch.from_numpy(model.gain)
    encoder = {}
    if model.encoder is not None:
        encoder["speech_encoder"] = json.dumps(encoder_metadata(model.encoder))
    part = Path(path).with_suffix(".part")
    save_file(
        tensors,
        part,
        metadata={
            "format": FORMAT,
            "network": json.dumps(model.networks[0].shape),
            "networks": str(len(model.networks)),
            "about": json.dumps(model.about, ensure_ascii=False),
            **encoder,
        },
    )
    part.replace(path)
