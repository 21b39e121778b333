"""JupyterLab, Voilà and JupyterHub: the servers of one person's pages, and of several people's."""

ROOT_VARIABLE = "HEYGEM_SERVER_ROOT"  # names the served folder to kernels
UPLOADS = "runs/uploads"  # receives the files that pages send, below the served folder
