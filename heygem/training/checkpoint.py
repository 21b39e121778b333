"""Checkpoint of a training: finished and unfinished networks, curves, processor time."""

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch

from heygem.core.files import replacing
from heygem.core.types import PathLike
from heygem.training.settings import TrainSettings

log = logging.getLogger(__name__)


class Checkpoint:
    """State of a training, kept in memory and, with a path, on disk.

    Parameters
    ----------
    settings : TrainSettings
        A file of other settings is not used.
    path : path, optional

    Attributes
    ----------
    networks : dict of str to dict
        State of each network by name.
    history : list of dict
        One entry per evaluation.
    """

    def __init__(self, settings: TrainSettings, path: PathLike | None = None) -> None:
        self.networks: dict[str, dict[str, Any]] = {}
        self.history: list[dict[str, Any]] = []
        self._settings = settings.model_dump_json()
        self._path = Path(path) if path is not None else None
        self._earlier_s, self._started_s = 0.0, time.process_time()
        if self._path is not None and self._path.exists():
            self._read(self._path)

    @property
    def processor_s(self) -> float:
        """Processor time of this training, that of interrupted runs included."""
        return self._earlier_s + time.process_time() - self._started_s

    def save(self) -> None:
        """Write everything to disk, atomically."""
        if self._path is None:
            return
        with replacing(self._path) as staged:
            torch.save(
                {
                    "settings": self._settings,
                    "networks": self.networks,
                    "history": json.dumps(self.history),
                    "processor_s": self.processor_s,
                },
                staged,
            )

    def _read(self, path: Path) -> None:
        stored = torch.load(path, weights_only=True, map_location="cpu")
        if stored.get("settings") != self._settings:
            log.warning("%s was made with other settings: starting over", path)
            return
        self.networks = stored["networks"]
        self.history = json.loads(stored["history"])
        self._earlier_s = stored["processor_s"]
