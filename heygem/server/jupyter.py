"""JupyterLab, and the studio as an app, on this machine, for its owner alone."""

import importlib.util
import os
import secrets
import sys
from pathlib import Path

from heygem.batch import notebooks
from heygem.core.errors import HeygemError, ParameterError
from heygem.core.i18n import language
from heygem.server import ROOT_VARIABLE, policy

LOOPBACK = "127.0.0.1"
#: What pages may load: nothing from elsewhere. Voilà's own page asks a public server for its icon
#: font and for formulas, and would tell it who uses the studio; the icons are here anyway.
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'; "
    "report-uri /api/security/csp-report"
)
_HEADERS = f"--ServerApp.tornado_settings={ {'headers': {'Content-Security-Policy': POLICY}} }"


def command(*, port, notebook, browser, root=None):
    """Arguments that start JupyterLab on loopback; the token comes by `environment`.

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
        f"--ServerApp.open_browser={browser}",
        _HEADERS,
        # Nothing leaves the machine: no catalogue of extensions (for news, see jupyter/).
        "--LabApp.extension_manager=readonly",
        # In a container everybody is root; what protects is loopback and token.
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]  # fmt: skip


STUDIO = "notebooks/04_studio.ipynb"


# What a widget needs; a kernel that takes nothing else runs no code that a page sends.
WIDGET_MESSAGES = ("comm_open", "comm_close", "comm_msg", "comm_info_request",
                   "kernel_info_request")  # fmt: skip


def studio_command(
    *, port, browser, host=LOOPBACK, tls=None, behind_proxy=False, served=False, root=None
):
    """Arguments that serve the studio notebook as an app through Voilà.

    Voilà runs inside a Jupyter server rather than alone: its own file addresses ask nobody who
    they are, while the server's `/files/` wants the token.

    Parameters
    ----------
    port, browser, root
        As for `command`.
    host : str
        Address to listen on. Others than loopback need `tls`.
    tls : (certificate, key) of paths, optional
    behind_proxy : bool
        Whether a reverse proxy that speaks HTTPS stands in front; the studio itself stays on
        loopback.
    served : bool
        Whether people other than the owner come in, by name: see `heygem.server.gate`.

    Raises
    ------
    ParameterError
        An address that others reach, without encryption.
    """
    if host not in (LOOPBACK, "::1", "localhost") and tls is None:
        raise ParameterError(
            "the studio does not listen on an address that others reach without TLS",
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
        _HEADERS,
        "--ServerApp.terminals_enabled=False",
        "--ServerApp.jpserver_extensions=jupyterlab=False",
        "--ServerApp.jpserver_extensions=voila.server_extension=True",
        # Nothing through the addresses that do not ask for the token.
        "--VoilaConfiguration.file_allowlist=[]",
        f"--VoilaConfiguration.show_tracebacks={not served}",
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]  # fmt: skip
    if served:
        argv += [
            "--ServerApp.identity_provider_class=heygem.server.gate.Doorkeeper",
            "--ServerApp.jpserver_extensions=heygem.server.gate=True",
            "--ServerApp.reraise_server_extension_failures=True",  # no door, no house
            "--VoilaConfiguration.http_header_envs=X-Heygem-User",
            f"--IdentityProvider.secure_cookie={tls is not None or behind_proxy}",
            "--ServerApp.max_body_size=1048576",  # bodies are logins; uploads use the socket
            *(f"--MappingKernelManager.allowed_message_types={kind}" for kind in WIDGET_MESSAGES),
        ]
    if tls is not None:
        certificate, key = tls
        argv += [f"--ServerApp.certfile={certificate}", f"--ServerApp.keyfile={key}"]
    if behind_proxy:
        argv.append("--ServerApp.allow_remote_access=True")
        # The door wants to know who is really at the other end, and believes only known proxies.
        argv.append(f"--ServerApp.trust_xheaders={not served}")
    return argv


_OURS = {"JUPYTER_TOKEN", "JUPYTER_TOKEN_FILE", policy.FILE_VARIABLE, policy.USER_VARIABLE}


def environment(token, root=None, rules=None):
    """The server's environment.

    The token travels here, since everybody on the machine can read a command line; and kernels
    learn which folder the page can reach, and under which `heygem.server.policy.Rules` they serve. With
    rules people have names and passwords, and there is no token.
    """
    root = Path(root) if root is not None else notebooks.root()
    # Our page_config.json switches the question about online news off.
    places = [str(Path(__file__).parent / "jupyter_config"), os.environ.get("JUPYTER_CONFIG_PATH")]
    kept = {k: v for k, v in os.environ.items() if k not in _OURS}
    if rules is not None:
        entry = {policy.FILE_VARIABLE: str(rules.path)}
    else:
        entry = {"JUPYTER_TOKEN": token}
    return {
        **kept,
        **entry,
        ROOT_VARIABLE: str(root),
        "JUPYTER_CONFIG_PATH": os.pathsep.join(p for p in places if p),
    }


def start(*, port=8888, notebook="notebooks/01_preview.ipynb", browser=True, token=None, lang=""):
    """Take this process over with JupyterLab.

    Raises
    ------
    HeygemError
        JupyterLab is not installed, or the notebook is not there.
    """
    _require("jupyterlab", notebook)
    token = token or secrets.token_urlsafe(24)
    argv = command(port=port, notebook=notebook, browser=browser)
    _become(argv, token, lang, f"http://{LOOPBACK}:{port}/lab/tree/{notebook}?token={token}")


def start_studio(
    *,
    port=7860,
    browser=True,
    token=None,
    host=LOOPBACK,
    tls=None,
    proxy=False,
    lang="",
    rules=None,
):
    """Take this process over with the studio; see `studio_command`.

    Raises
    ------
    HeygemError
        Voilà is not installed, or the address or the policy file (`rules`) is refused.
    """
    _require("voila", STUDIO)
    rules = policy.Rules(rules) if rules is not None else None
    token = token or secrets.token_urlsafe(24)
    argv = studio_command(
        port=port,
        browser=browser,
        host=host,
        tls=tls,
        behind_proxy=proxy,
        served=rules is not None,
    )
    address = f"{'https' if tls else 'http'}://{host}:{port}/voila/render/{STUDIO}"
    if rules is None:
        address += f"?token={token}"
    _become(argv, token, lang, address, rules)


def _require(module, notebook):
    if importlib.util.find_spec(module) is None:
        raise HeygemError(f"{module} is not installed", remedy="pip install -e '.[notebooks]'")
    if not (notebooks.root() / notebook).is_file():
        raise HeygemError("no such notebook", seen=notebook, remedy="see notebooks/")


def _become(argv, token, lang, address, rules=None):
    print(address, flush=True)
    os.chdir(notebooks.root())
    spoken = {"HEYGEM_LANG": language(lang)} if lang else {}
    os.execvpe(argv[0], argv, {**environment(token, rules=rules), **spoken})
