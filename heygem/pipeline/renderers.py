"""Engines by name: which renderer draws, and which settings have no effect with it."""

from collections.abc import Callable
from importlib.metadata import entry_points

from heygem.avatar.avatar import Avatar
from heygem.config.params import Params
from heygem.core.errors import AssetError, ParameterError
from heygem.pipeline.models import Models
from heygem.rendering.base import Renderer
from heygem.rendering.warp.renderer import WarpRenderer
from heygem.rendering.wav2lip import Wav2LipRenderer

ENTRY_POINTS = "heygem.renderers"

Factory = Callable[[Avatar, Params, Models], Renderer]


def _warp(avatar: Avatar, params: Params, models: Models) -> Renderer:
    return WarpRenderer(avatar, params.renderer, models.device)


def _wav2lip(avatar: Avatar, params: Params, models: Models) -> Renderer:
    engine = models.wav2lip(params.checkpoint)
    return Wav2LipRenderer(engine, avatar, offset_ms=params.lips.offset_ms)


ENGINES: dict[str, Factory] = {"warp": _warp, "wav2lip": _wav2lip}


def make_renderer(avatar: Avatar, params: Params, models: Models) -> Renderer:
    """The renderer that `params.engine` names, for one avatar.

    Besides the built-in engines, a package can offer one as an entry point of the group
    `heygem.renderers`: a callable `(avatar, params, models) -> Renderer`.

    Raises
    ------
    ParameterError
        No engine has this name.
    AssetError
        A package's engine cannot be loaded, or a checkpoint is missing.
    """
    name = params.engine
    factory = ENGINES.get(name) or _from_package(name)
    return factory(avatar, params, models)


def _from_package(name: str) -> Factory:
    offered = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in offered:
        known = ", ".join([*ENGINES, *sorted(offered)])
        raise ParameterError("no engine has this name", seen=name, remedy=f"known: {known}")
    try:
        return offered[name].load()
    except Exception as error:  # whatever somebody else's code raises
        raise AssetError(
            f"the engine {name!r} cannot be loaded",
            seen=f"{offered[name].value}: {type(error).__name__}: {error}",
            remedy="check the package that offers it",
        ) from error
