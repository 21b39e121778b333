"""The interface of a model from speech to mouth movement, for models of one's own."""

import os
from typing import Any, Protocol

from heygem.core import plugins
from heygem.core.types import FloatArray
from heygem.lips.trajectory import Trajectory

ENTRY_POINTS = "heygem.lips"


class LipsPredictor(Protocol):
    """Predicts mouth movement from speech.

    Attributes
    ----------
    opening_std : float
        Standard deviation of a typical speaker's lip gap in speech [IOD]; a person's own amplitude
        is measured against it.
    about : dict
        Facts about the model; `finetuned` says that it predicts one person's own amplitude.
    """

    @property
    def opening_std(self) -> float: ...

    @property
    def about(self) -> dict[str, Any]: ...

    def predict(self, samples: FloatArray, /) -> Trajectory:
        """Mouth movement for speech (float32 [n], mono, 16 kHz, -1..1), from its beginning."""


def is_installed_name(name: str) -> bool:
    """Whether `lips.model` names a model that a package offers; a file of that name goes first."""
    return not os.path.exists(name) and name in plugins.offered(ENTRY_POINTS)


def load_installed(name: str) -> LipsPredictor:
    """The lips model that an installed package offers under this name.

    A package offers it as an entry point of the group `heygem.lips` that loads to a callable
    without arguments that returns a `LipsPredictor`.

    Raises
    ------
    AssetError
        It cannot be loaded.
    """
    point = plugins.offered(ENTRY_POINTS)[name]
    predictor: LipsPredictor = plugins.load(point, "lips model", lambda factory: factory())
    return predictor
