"""The studio: pages and widgets for JupyterLab and Voilà."""
