"""State of one network in training: weights, their moving average, optimiser, best step."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heygem.lips.network import LipsNetwork
from heygem.training.settings import TrainSettings
from heygem.training.windows import TrainingWindows

WARMUP_STEPS = 50  # of the learning rate
WEIGHT_DECAY = 0.02


class NetworkState:
    """A network in training, the moving average of its weights, and the best average so far."""

    def __init__(
        self, shape: dict[str, Any], settings: TrainSettings, number: int, device: str
    ) -> None:
        torch.manual_seed(settings.seed * 100 + number)
        self.network = LipsNetwork(**shape, dropout=settings.dropout).to(device)
        self.average = LipsNetwork(**shape).to(device).eval()
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=WEIGHT_DECAY
        )
        self.best, self.best_score = self.average.state_dict(), -np.inf
        self.next_step = 1
        self.device = device

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Continue from what `stored` gave; a finished network has its best weights only."""
        self.best, self.best_score = stored["best"], stored["score"]
        self.next_step = stored["step"]
        if "network" in stored:
            self.network.load_state_dict(stored["network"])
            self.average.load_state_dict(stored["average"])
            self.optimiser.load_state_dict(stored["optimiser"])

    def stored(self, *, finished: bool) -> dict[str, Any]:
        """State for a checkpoint."""
        state = {"step": self.next_step, "score": float(self.best_score), "best": self.best}
        if finished:
            return state
        return state | {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def step(
        self,
        windows: TrainingWindows,
        loss_function: Callable[[Tensor, Tensor, Tensor], Tensor],
        settings: TrainSettings,
        number: int,
    ) -> float:
        """One optimiser step and one of the moving average; returns the loss."""
        step = self.next_step
        rate = settings.learning_rate * min(1, step / WARMUP_STEPS)
        rate *= 1 - 0.97 * step / settings.iterations
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        seed = (settings.seed, number, step)
        features, target, valid = windows.batch(settings.batch, seed, self.device)
        torch.manual_seed(hash(seed) % 2**31)
        # `forward` normalises the spectra over each window, because augmentation changes a window's
        # statistics. Inference uses those of the file: measured, windows of 2.56 s would cost 0.015
        # of correlation there; see "Normalisation of the spectra" in docs/training.md.
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device != "cpu"):
            predicted = self.network.train()(features)
        error = loss_function(predicted.float(), target, valid)
        self.optimiser.zero_grad()
        error.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        decay = min(settings.ema_decay, step / (step + 10))
        with torch.no_grad():
            for slow, fast in zip(
                self.average.parameters(), self.network.parameters(), strict=True
            ):
                slow.lerp_(fast, 1 - decay)
        self.next_step += 1
        return float(error.detach())
