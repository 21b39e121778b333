"""Parts that installed packages offer by name, as entry points: renderers, lips models, voices."""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from heygem.core.errors import AssetError


def offered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group, such as `heygem.renderers`, by name.

    Reads the metadata of all installed packages, about 10 ms: look for built-in names first.
    """
    return {point.name: point for point in entry_points(group=group)}


def identity(group: str, name: str) -> str:
    """Group, name, package and version of a part, for hashes: "heygem.lips:NAME PACKAGE==1.0"."""
    package = getattr(offered(group).get(name), "dist", None)
    version = f" {package.name}=={package.version}" if package is not None else ""
    return f"{group}:{name}{version}"


def load(point: EntryPoint, kind: str, build: Callable[[Any], Any] = lambda part: part) -> Any:
    """What an entry point refers to.

    Parameters
    ----------
    point
    kind
        What it is, for the message: "engine".
    build
        Makes the part from what was loaded.

    Raises
    ------
    AssetError
        The import or `build` fails.
    """
    try:
        return build(point.load())
    except Exception as error:  # whatever somebody else's code raises
        raise AssetError(
            f"the {kind} {point.name!r} cannot be loaded",
            seen=f"{point.value}: {type(error).__name__}: {error}",
            remedy="check the package that offers it",
        ) from error
