"""The interface of a model from speech to mouth movement, for models of one's own."""

import os
from importlib.metadata import entry_points
from typing import Any, Protocol

from heygem.core.errors import AssetError
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


def installed() -> dict[str, Any]:
    """Lips models that installed packages offer by name: entry points of the group `heygem.lips`.

    Each loads to a callable without arguments that returns a `LipsPredictor`.
    """
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def identity(name: str) -> str:
    """Name and version of an installed lips model, for hashes: "heygem.lips:NAME PACKAGE==1.0"."""
    package = getattr(installed()[name], "dist", None)
    version = f" {package.name}=={package.version}" if package is not None else ""
    return f"{ENTRY_POINTS}:{name}{version}"


def is_installed_name(name: str) -> bool:
    """Whether `lips.model` names an installed model; a file of that name goes first."""
    return not os.path.exists(name) and name in installed()


def load_installed(name: str) -> LipsPredictor:
    """The lips model that an installed package offers under this name.

    Raises
    ------
    AssetError
        It cannot be loaded.
    """
    point = installed()[name]
    try:
        return point.load()()
    except Exception as error:  # whatever somebody else's code raises
        raise AssetError(
            f"the lips model {name!r} cannot be loaded",
            seen=f"{point.value}: {type(error).__name__}: {error}",
            remedy="check the package that offers it",
        ) from error
