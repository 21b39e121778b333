"""JupyterLab and Voilà servers, and the access policy of an installation for several users."""

ROOT_VARIABLE = "HEYGEM_SERVER_ROOT"  # names the served folder to kernels
UPLOADS = "runs/uploads"  # receives the files that pages send, below the served folder
