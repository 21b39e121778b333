"""The interface of a model from speech to mouth movement, for models of one's own."""

import os
from typing import Any, Protocol

from heygem.core import assets, plugins
from heygem.core.files import sha256_of_unchanged
from heygem.core.types import FloatArray
from heygem.lips.model import CAUSAL_FILE, CLEAN_FILE, LipsModel
from heygem.lips.trajectory import Trajectory

ENTRY_POINTS = "heygem.lips"
#: Models that come with heygem beside the default one, by their names in a recipe.
FILES = {"clean": CLEAN_FILE, "causal": CAUSAL_FILE}


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
    """Whether `lips.model` names a model that heygem or a package offers, and not a file."""
    return not os.path.exists(name) and (name in FILES or name in plugins.offered(ENTRY_POINTS))


def load_installed(name: str) -> LipsPredictor:
    """The lips model that heygem (`FILES`) or an installed package offers under this name.

    A package offers it as an entry point of the group `heygem.lips` that loads to a callable
    without arguments that returns a `LipsPredictor`.

    Raises
    ------
    AssetError
        It cannot be loaded.
    """
    if name in FILES:
        return LipsModel.load(assets.path(FILES[name].name))
    point = plugins.offered(ENTRY_POINTS)[name]
    predictor: LipsPredictor = plugins.load(point, "lips model", lambda factory: factory())
    return predictor


def identity(name: str) -> str:
    """What identifies an installed model: sha256 of its file, or its package and version."""
    if name in FILES:
        return sha256_of_unchanged(FILES[name])
    return plugins.identity(ENTRY_POINTS, name)
