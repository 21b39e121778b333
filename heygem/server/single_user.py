"""A user's own server on JupyterHub: the studio, in a folder of the user's home.

The hub starts this program under the user's account, in place of `jupyterhub-singleuser`.
"""

import os
import sys
from pathlib import Path

import nbformat
from nbformat import v4

from heygem.server.jupyter import environment, studio_options

FOLDER = "heygem"  # of the user's home: inputs, previews, uploads
NOTEBOOK = "studio.ipynb"  # in it; made anew at each start
_SOURCE = """\
from heygem.studio.pages.served import ServedStudio

ServedStudio()"""


def prepare(home: Path) -> Path:
    """Make the user's folder and put the studio's notebook into it; returns the folder."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = v4.new_notebook(cells=[v4.new_code_cell(_SOURCE)], metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / NOTEBOOK)
    return folder


def main() -> None:
    """Replace this process with the user's Jupyter server; arguments are the hub's."""
    folder = prepare(Path.home())
    os.chdir(folder)
    command = [
        sys.executable, "-m", "jupyterhub.singleuser",
        f"--ServerApp.root_dir={folder}",
        *studio_options(),
        *sys.argv[1:],
    ]  # fmt: skip
    own = environment("", folder)
    del own["JUPYTER_TOKEN"]  # the hub says who may come in
    os.execve(command[0], command, own)


if __name__ == "__main__":
    main()
