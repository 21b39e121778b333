"""JupyterLab, Voilà and JupyterHub: the servers of one person's pages, and of several people's."""

from pathlib import Path

ROOT_VARIABLE = "HEYGEM_SERVER_ROOT"  # names the served folder to kernels
ADDRESS_VARIABLE = "HEYGEM_ADDRESS"  # page that the server prints once it listens
SOURCES = "heygem/sources"  # address of the sources of results
UPLOADS = "runs/uploads"  # receives the files that pages send, below the served folder
STYLE_SHEET = Path(__file__).parent / "jupyter_data/voila/templates/heygem/static/studio.css"
STATE_VARIABLE = "HEYGEM_STATE"  # names the folder of everything that the service of a hub owns
