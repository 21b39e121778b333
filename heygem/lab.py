"""JupyterLab on this machine, at the notebooks, for its owner alone."""

import os
import secrets
import sys
from pathlib import Path

from heygem import notebooks
from heygem.errors import HeygemError
from heygem.widgets.serving import ROOT_VARIABLE

LOOPBACK = "127.0.0.1"


def command(*, port, token, notebook, browser):
    """Arguments that start JupyterLab: loopback only, a token always.

    Parameters
    ----------
    port : int
        0 takes any free one.
    token : str
    notebook : str
        Path of the notebook to open, below the project's folder.
    browser : bool
        Whether to open it in the user's browser.

    Returns
    -------
    list of str
    """
    return [
        sys.executable, "-m", "jupyterlab",
        f"--ServerApp.ip={LOOPBACK}",
        f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={notebooks.root()}",
        f"--IdentityProvider.token={token}",
        f"--LabApp.default_url=/lab/tree/{notebook}",
        f"--ServerApp.open_browser={browser}",
        # Nothing leaves the machine: no catalogue of extensions (for news, see jupyter/).
        "--LabApp.extension_manager=readonly",
        # In a container everybody is root; what protects is loopback and token.
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]  # fmt: skip


def environment(root=None):
    """The server's environment: kernels learn from it which folder the page can reach."""
    root = Path(root) if root is not None else notebooks.root()
    # Our page_config.json switches the question about online news off.
    places = [str(Path(__file__).parent / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH")]
    return {
        **os.environ,
        ROOT_VARIABLE: str(root),
        "JUPYTER_CONFIG_PATH": os.pathsep.join(p for p in places if p),
    }


def start(*, port=8888, notebook="notebooks/01_preview.ipynb", browser=True, token=None):
    """Take this process over with JupyterLab.

    Raises
    ------
    HeygemError
        JupyterLab is not installed, or the notebook is not there.
    """
    import importlib.util

    if importlib.util.find_spec("jupyterlab") is None:
        raise HeygemError("JupyterLab is not installed", remedy="pip install -e '.[notebooks]'")
    if not (notebooks.root() / notebook).is_file():
        raise HeygemError("no such notebook", seen=notebook, remedy="see notebooks/")
    token = token or os.environ.get("HEYGEM_LAB_TOKEN") or secrets.token_urlsafe(24)
    argv = command(port=port, token=token, notebook=notebook, browser=browser)
    print(f"http://{LOOPBACK}:{port}/lab/tree/{notebook}?token={token}", flush=True)
    os.chdir(notebooks.root())
    os.execvpe(argv[0], argv, environment())
