"""Start JupyterLab, and the studio as an app, on this machine."""

import importlib.util
import os
import secrets
import socket
import sys
from pathlib import Path

from heygem.batch import notebooks
from heygem.core.errors import HeygemError, ParameterError
from heygem.core.i18n import LANGUAGES, language
from heygem.server import ADDRESS_VARIABLE, ROOT_VARIABLE

LOOPBACK = "127.0.0.1"
#: Pages load nothing from other hosts, which would reveal who uses the studio. Violations are not
#: reported to the server: its log would show addresses with their tokens.
CONTENT_SECURITY_POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'"
)
_SETTINGS = {
    "headers": {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "same-origin",
    },
    # A page that no longer answers (milliseconds) is disconnected: its kernel is not kept. The
    # timeout counts from the last answer, which is one interval old when it is looked at.
    "ws_ping_interval": 8_000,
    "ws_ping_timeout": 18_000,
}
_HEADERS = f"--ServerApp.tornado_settings={_SETTINGS}"
_KERNELS = "--ServerApp.kernel_manager_class=heygem.server.kernels.KernelManager"
_CONTENTS = "--ServerApp.contents_manager_class=heygem.server.contents.Contents"
_EXTENSION = "--ServerApp.jpserver_extensions=heygem.server.extension=True"
_HERE = Path(__file__).parent


def lab_command(*, port, notebook, browser, root=None):
    """Arguments that start JupyterLab on loopback; the token is in `environment`.

    Parameters
    ----------
    port : int
    notebook : str
        Path of the notebook to open, below `root`.
    browser : bool
        Whether to open it in the user's browser.
    root : path, optional
        Folder to serve; by default the project's.

    Returns
    -------
    list of str
    """
    return [
        sys.executable, "-m", "jupyterlab",
        f"--ServerApp.ip={LOOPBACK}",
        f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={root or notebooks.root()}",
        f"--LabApp.default_url=/lab/tree/{notebook}",
        "--ServerApp.port_retries=0",  # the printed address is the one listened on
        _EXTENSION,
        _KERNELS,
        _CONTENTS,
        f"--ServerApp.open_browser={browser}",
        _HEADERS,
        # Nothing leaves the machine: no catalogue of extensions (for news, see jupyter/).
        "--LabApp.extension_manager=readonly",
        # Containers run as root; loopback and the token protect the server.
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]  # fmt: skip


STUDIO = "notebooks/04_studio.ipynb"


def studio_command(*, port, browser, host=LOOPBACK, tls=None, behind_proxy=False, root=None):
    """Arguments that serve the studio notebook as an app through Voilà.

    Voilà runs inside a Jupyter server rather than alone: its own file URLs need no
    authentication, while the server's `/files/` requires the token.

    Parameters
    ----------
    port, browser, root
        As for `lab_command`.
    host : str
        Address to listen on; any but loopback needs `tls`.
    tls : (certificate, key) of paths, optional
    behind_proxy : bool
        Whether a reverse proxy terminates HTTPS; the studio itself listens on loopback.

    Raises
    ------
    ParameterError
        An address that others can reach, without encryption.
    """
    if host not in (LOOPBACK, "::1", "localhost") and tls is None:
        raise ParameterError(
            "the studio does not listen on an address that others can reach without TLS",
            seen=host,
            remedy="give --certificate and --key, or keep to 127.0.0.1 behind a reverse proxy "
            "(--behind-proxy)",
        )
    argv = [
        sys.executable, "-m", "jupyter_server",
        f"--ServerApp.ip={host}",
        f"--ServerApp.port={port}",
        f"--ServerApp.root_dir={root or notebooks.root()}",
        f"--ServerApp.default_url=/voila/render/{STUDIO}",
        f"--ServerApp.open_browser={browser}",
        *studio_options(),
    ]  # fmt: skip
    if tls is not None:
        certificate, key = tls
        argv += [f"--ServerApp.certfile={certificate}", f"--ServerApp.keyfile={key}"]
    if behind_proxy:
        argv.append("--ServerApp.allow_remote_access=True")
        argv.append("--ServerApp.trust_xheaders=True")
    return argv


def studio_options():
    """Arguments that make a Jupyter server the studio's, its user's own or one of JupyterHub."""
    return [
        _HEADERS,
        "--ServerApp.port_retries=0",
        "--ServerApp.terminals_enabled=False",
        _EXTENSION,
        _KERNELS,
        "--ServerApp.jpserver_extensions=heygem.server.voila_page=True",
        "--ServerApp.jpserver_extensions=jupyterlab=False",
        "--ServerApp.jpserver_extensions=voila.server_extension=True",
        # Voilà's own file URLs, which need no token, serve nothing.
        "--VoilaConfiguration.file_allowlist=[]",
        "--VoilaConfiguration.show_tracebacks=True",
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]


_OWN_VARIABLES = {"JUPYTER_TOKEN", "JUPYTER_TOKEN_FILE"}


def environment(token, root=None, lang=""):
    """The server's environment.

    It carries the token, since every user of the machine can read a command line, the folder that
    pages can reach, and the language of the interface.

    Parameters
    ----------
    token : str
    root : path, optional
        Folder to serve; by default the project's.
    lang : {"en", "zh", ""}
        Empty: as `HEYGEM_LANG` says, else English.
    """
    root = Path(root) if root is not None else notebooks.root()
    # Our page_config.json disables JupyterLab's question about online news.
    settings = [str(_HERE / "jupyter_config"), os.environ.get("JUPYTER_CONFIG_PATH")]
    lang = language(lang)
    if lang != LANGUAGES[0]:  # JupyterLab's own menus
        settings.insert(0, str(_HERE / f"jupyter_config_{lang}"))
    templates = [str(_HERE / "jupyter_data"), os.environ.get("JUPYTER_PATH")]  # of Voilà's page
    inherited = {k: v for k, v in os.environ.items() if k not in _OWN_VARIABLES}
    return {
        **inherited,
        "JUPYTER_TOKEN": token,
        ROOT_VARIABLE: str(root),
        "HEYGEM_LANG": lang,
        "JUPYTER_CONFIG_PATH": os.pathsep.join(f for f in settings if f),
        "JUPYTER_PATH": os.pathsep.join(f for f in templates if f),
    }


def start_lab(
    *, port=8888, notebook="notebooks/01_preview.ipynb", browser=True, token=None, lang=""
):
    """Replace this process with JupyterLab.

    Raises
    ------
    HeygemError
        JupyterLab is not installed, there is no such notebook, or the port is taken.
    """
    _require("jupyterlab", notebook)
    require_free_port(LOOPBACK, port)
    token = token or secrets.token_urlsafe(24)
    argv = lab_command(port=port, notebook=notebook, browser=browser)
    _exec_server(argv, token, lang, f"http://{LOOPBACK}:{port}/lab/tree/{notebook}")


def start_studio(
    *,
    port=7860,
    browser=True,
    token=None,
    host=LOOPBACK,
    tls=None,
    proxy=False,
    lang="",
):
    """Replace this process with the studio; see `studio_command`.

    Raises
    ------
    HeygemError
        Voilà is not installed, the port is taken, or the address is rejected.
    """
    _require("voila", STUDIO)
    token = token or secrets.token_urlsafe(24)
    argv = studio_command(port=port, browser=browser, host=host, tls=tls, behind_proxy=proxy)
    require_free_port(host, port)
    address = f"{'https' if tls else 'http'}://{host}:{port}/voila/render/{STUDIO}"
    _exec_server(argv, token, lang, address)


def require_free_port(host: str, port: int) -> None:
    """Refuse a port that cannot be listened on, before a server is started.

    Raises
    ------
    ParameterError
        Another program listens there, or this user may not.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server itself does, so that a port that was in use just now can be taken again.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as e:
        raise ParameterError(
            "cannot listen on this address",
            seen=f"{host}:{port} ({e.strerror})",
            remedy="end the program that uses the port, or choose another: --port",
        ) from e


def _require(module, notebook):
    if importlib.util.find_spec(module) is None:
        raise HeygemError(f"{module} is not installed", remedy="pip install -e '.[notebooks]'")
    if not (notebooks.root() / notebook).is_file():
        raise HeygemError("no such notebook", seen=notebook, remedy="see notebooks/")


def _exec_server(argv, token, lang, address):
    os.chdir(notebooks.root())
    # The server prints it once it listens there; see `heygem.server.extension`.
    os.execvpe(argv[0], argv, environment(token, lang=lang) | {ADDRESS_VARIABLE: address})
