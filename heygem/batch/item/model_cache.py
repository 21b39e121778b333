"""Models that stay in memory from one item of the queue to the next."""

import os
from typing import Any

from heygem import pipeline
from heygem.config.params import Params
from heygem.core.types import Progress
from heygem.pipeline.models import Models


class ModelCache:
    """Models in memory, kept for the next item where its settings allow; one set at a time."""

    def __init__(self) -> None:
        self._key: Any = None
        self._audio: Any = None
        self._models: Models | None = None

    def get(self, params: Params, report_progress: Progress) -> Models:
        """The models for a recipe; loaded if those in memory are others."""
        key = _models_key(params)
        if self._models is None or key != self._key:
            self.clear()
            report_progress("load models", 0, 1)
            self._models, self._key = pipeline.load_models(params), key
        audio = _file_state(params.inputs.audio)
        if audio is None or audio != self._audio:
            self._models.forget_audio()
        self._audio = audio
        return self._models

    def clear(self) -> None:
        """Free the memory; also after an error that may have left models in an unknown state."""
        self._key = self._models = None


def _models_key(params: Params) -> Any:
    """Settings that must be equal for loaded models to be used again."""
    files = tuple(_file_state(path) for path in (params.lips.model, params.checkpoint))
    return params.device, params.engine, params.face, files


def _file_state(path: str | None) -> Any:
    """Path, modification time and size of a file; None for None."""
    if path is None:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return path, 0, 0
    return path, status.st_mtime_ns, status.st_size
