"""`heygem lab`, `heygem studio` and `heygem ui`: pages in the browser."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from heygem.cli.options import Language
from heygem.core.errors import InputError, ParameterError


def lab(
    notebook: Annotated[
        str, typer.Argument(help="Notebook to open first.")
    ] = "notebooks/01_preview.ipynb",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open it in your browser.")] = True,
    lang: Language = "",
) -> None:
    """Open JupyterLab at the notebooks, on this machine only, behind a token."""
    from heygem.server import jupyter

    jupyter.start_lab(port=port, notebook=notebook, browser=browser, lang=lang)


def studio(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port.")] = 7860,
    host: Annotated[str, typer.Option(help="Address; others than loopback need TLS.")] = (
        "127.0.0.1"
    ),
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Behind a reverse proxy with HTTPS.")
    ] = False,
    browser: Annotated[bool, typer.Option(help="Open it in your browser.")] = True,
    policy: Annotated[
        Path | None,
        typer.Option(hidden=True, help="Of earlier versions; others are served by JupyterHub."),
    ] = None,
    lang: Language = "",
) -> None:
    """Open the studio as an app, for yourself, behind a token; several people need JupyterHub."""
    from heygem.server import jupyter

    if policy is not None:
        raise ParameterError(
            "heygem studio serves its owner alone",
            seen=f"--policy {policy}",
            remedy="several people are served by JupyterHub with params/served/"
            "jupyterhub_config.py, which reads the same policy file (docs/serving.md)",
        )
    tls = (certificate, key) if certificate is not None and key is not None else None
    jupyter.start_studio(
        port=port, host=host, tls=tls, proxy=behind_proxy, browser=browser, lang=lang
    )


def ui(
    folder: Annotated[str, typer.Option(help="Folder of the store.")] = "mlruns",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Open the MLflow UI on this machine's recorded runs (loopback only)."""
    from heygem.experiments import store
    from heygem.experiments.database import prepare
    from heygem.server import jupyter

    path = Path(folder).absolute()
    if not (path / "mlflow.db").is_file():
        raise InputError("no recorded runs", seen=path, remedy="make a video first, or --folder")
    jupyter.require_free_port(jupyter.LOOPBACK, port)  # before an address is printed
    store.disable_telemetry()
    prepare(path)
    uri = store.tracking_uri(folder)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--allowed-hosts", f"127.0.0.1:{port},localhost:{port}"]
    address = f"http://127.0.0.1:{port}/{store.latest_runs_path(folder)}"
    typer.echo(f"{address}  (opens in about ten seconds; Ctrl-C stops it)")
    sys.stdout.flush()
    os.execv(command[0], command)  # signals reach the server itself
