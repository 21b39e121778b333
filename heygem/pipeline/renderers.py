"""Engines by name: which renderer draws, and which settings have no effect with it."""

from typing import Protocol

from heygem.avatar.avatar import Avatar
from heygem.config.params import Params
from heygem.core import plugins
from heygem.core.errors import ParameterError
from heygem.pipeline.models import Models
from heygem.rendering.base import Renderer

ENTRY_POINTS = "heygem.renderers"


class Engine(Protocol):
    """Makes the renderers of one engine.

    Attributes
    ----------
    uses_motion : bool
        As of its renderers: whether they draw a trajectory.
    """

    uses_motion: bool

    def __call__(self, avatar: Avatar, params: Params, models: Models) -> Renderer:
        """The renderer of one avatar."""


class _Warp:
    uses_motion = True

    def __call__(self, avatar: Avatar, params: Params, models: Models) -> Renderer:
        if models.device == "cpu":
            from heygem.rendering.warp.renderer import WarpRenderer  # loads compiled code

            return WarpRenderer(avatar, params.renderer)
        from heygem.rendering.torch_warp.renderer import TorchWarpRenderer  # loads PyTorch

        return TorchWarpRenderer(avatar, params.renderer, models.device)


class _Wav2Lip:
    uses_motion = False

    def __call__(self, avatar: Avatar, params: Params, models: Models) -> Renderer:
        from heygem.rendering.wav2lip import Wav2LipRenderer  # loads PyTorch

        network = models.wav2lip(params.checkpoint)
        return Wav2LipRenderer(network, avatar, offset_ms=params.lips.offset_ms)


ENGINES: dict[str, Engine] = {"warp": _Warp(), "wav2lip": _Wav2Lip()}


def make_renderer(avatar: Avatar, params: Params, models: Models) -> Renderer:
    """The renderer that `params.engine` names, for one avatar.

    Raises
    ------
    ParameterError
        No engine has this name.
    AssetError
        A package's engine cannot be loaded, or a checkpoint is missing.
    """
    return find_engine(params.engine)(avatar, params, models)


def find_engine(name: str) -> Engine:
    """An engine by name: a built-in one, or one that an installed package offers.

    A package offers an engine as an entry point of the group `heygem.renderers` that loads to an
    `Engine`.

    Raises
    ------
    ParameterError
        No engine has this name.
    AssetError
        A package's engine cannot be loaded.
    """
    if name in ENGINES:
        return ENGINES[name]
    offered = plugins.offered(ENTRY_POINTS)
    if name not in offered:
        names = ", ".join([*ENGINES, *sorted(offered)])
        raise ParameterError("no engine has this name", seen=name, remedy=f"known: {names}")
    engine: Engine = plugins.load(offered[name], "engine")
    return engine
