"""Servers for the studio: JupyterLab and Voilà, and the rules of an installation that serves others."""

ROOT_VARIABLE = "HEYGEM_SERVER_ROOT"  # names the served folder to kernels
