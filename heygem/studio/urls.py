"""Where the page finds a file: a video travels over HTTP, never through the widget socket."""

import os
import urllib.parse
from pathlib import Path

from heygem.core.errors import OutputError
from heygem.server import ROOT_VARIABLE


def server_root():
    """Folder that the page's server serves, or None where nobody serves (as under Papermill).

    `heygem lab` says so in the environment. A JupyterLab started by hand is found in the list
    that Jupyter keeps of its running servers: it is the parent of this kernel.
    """
    told = os.environ.get(ROOT_VARIABLE)
    if told:
        return Path(told).resolve()
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


def page_url(path, root=None):
    """Address of a file, relative to the server's base URL.

    Parameters
    ----------
    path : path
        Inside the folder that the server serves, and not hidden.
    root : path, optional
        That folder; by default `server_root()`.

    Returns
    -------
    str
        `files/...`, which the Jupyter server answers to who holds its token, under Voilà too
        (whose own file addresses ask nobody who they are); a `file:` address where there is no
        server, so that the result can still be named.

    Raises
    ------
    OutputError
        The file lies where the server does not reach.
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
