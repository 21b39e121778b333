"""Addresses of files for a page: a video travels over HTTP, never through the widget socket."""

import os
import urllib.parse
from pathlib import Path

from heygem.core.errors import OutputError
from heygem.core.types import PathLike
from heygem.server import ROOT_VARIABLE, SOURCES


def server_root() -> Path | None:
    """Folder served by the page's server; None without a server (as under Papermill).

    `heygem lab` sets it in the environment. A JupyterLab started by hand is looked up in Jupyter's
    list of running servers: it is the parent of this kernel.
    """
    root = os.environ.get(ROOT_VARIABLE)
    if root:
        return Path(root).resolve()
    if "JPY_PARENT_PID" not in os.environ:
        return None
    try:
        from jupyter_server.serverapp import list_running_servers

        servers = list(list_running_servers())
    except ImportError:
        return None
    for server in servers:
        if server.get("pid") == os.getppid():
            return Path(server["root_dir"]).resolve()
    return None


def page_url(path: PathLike, root: PathLike | None = None) -> str:
    """Address of a file, relative to the server's base URL.

    Parameters
    ----------
    path : path
        Inside the served folder, and not hidden.
    root : path, optional
        The served folder; by default `server_root()`.

    Returns
    -------
    str
        `files/...`, which the Jupyter server answers only with its token, under Voilà too (Voilà's
        own file addresses need no token); a `file:` address where there is no server, so that the
        result can still be named.

    Raises
    ------
    OutputError
        The file lies outside the served folder, or is hidden.
    """
    path = Path(path).resolve()
    root = server_root() if root is None else Path(root).resolve()
    if root is None:
        return path.as_uri()
    try:
        relative = path.relative_to(root)
    except ValueError as e:
        raise OutputError(
            "the page cannot reach the preview",
            seen=path,
            remedy=f"choose an output folder inside {root}",
        ) from e
    if any(part.startswith(".") for part in relative.parts):
        raise OutputError(
            "the page's server does not show hidden folders",
            seen=relative,
            remedy="choose an output folder whose name does not start with a dot",
        )
    return "files/" + urllib.parse.quote(relative.as_posix())


def source_url(details: PathLike) -> str:
    """Address of the source video of a result, by the folder of its manifest.

    The video itself may lie anywhere; see `heygem.server.sources`.

    Raises
    ------
    OutputError
        The folder lies outside the served one, or is hidden.
    """
    address = page_url(details)
    return address.replace("files/", f"{SOURCES}/", 1) if address.startswith("files/") else ""
