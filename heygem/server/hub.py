"""The settings of a JupyterHub that serves the studio to several people.

`params/served/jupyterhub_config.py` is a whole configuration that uses it.
"""

import sys
from pathlib import Path
from typing import Any

from jupyterhub.spawner import SimpleLocalProcessSpawner, Spawner
from traitlets.config import Config

from heygem.core.types import PathLike
from heygem.server import STATE_VARIABLE, client, policy
from heygem.server.single_user import NOTEBOOK

SERVICE, WORKER = "heygem", "heygem-worker"
PORT = 10101
_ACCESS = f"access:services!service={SERVICE}"
_OFFLINE = {"HF_HUB_OFFLINE": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


class SharedAccount(Exception):
    """All users' servers would run as one account; shown to the user by the hub."""

    jupyterhub_message = (
        "This hub runs all servers as one system account, which shares every file. Choose a "
        "spawner that separates users (docs/serving.md), or for a trial: shared_account=True."
    )


def configure(
    c: Config,
    *,
    state: PathLike,
    policy_file: PathLike,
    models: PathLike,
    service_user: str = "",
    workers: int = 1,
    base_url: str = "/",
    port: int = PORT,
    shared_account: bool = False,
) -> None:
    """Add the queue's service, its workers and the studio to a JupyterHub's configuration.

    Authenticator and spawner are the administrator's to choose.

    Parameters
    ----------
    c : traitlets.config.Config
        What `get_config()` returns in jupyterhub_config.py.
    state : path
        Folder of queue, inputs, results, ledger and keys. It belongs to the service's account, and
        nobody else may enter it.
    policy_file : path
        See `params/served/policy.yaml`.
    models : path
        Folder of fetched models, which all read and only the administrator writes.
    service_user : str
        System account of the service and the workers; empty: the hub's own.
    workers : int
        Worker processes; 0 where systemd or a cluster runs them.
    base_url : str
        Of the hub.
    port : int
        Of the service, on 127.0.0.1.
    shared_account : bool
        Allow a spawner that runs all users as one account. For a trial on one's own machine: such
        users can read and change each other's files, and the queue's.
    """
    state, models = Path(state).absolute(), Path(models).absolute()
    prefix = f"{base_url.rstrip('/')}/services/{SERVICE}/"
    environment = _OFFLINE | {
        STATE_VARIABLE: str(state),
        policy.FILE_VARIABLE: str(Path(policy_file).absolute()),
        "HEYGEM_RECORDS": str(state / "records"),
        "HEYGEM_HOME": str(state / "cache"),
        "HEYGEM_MODELS": str(models),
        "HEYGEM_QUEUE": str(state / "queue.db"),
    }
    shared: dict[str, Any] = {"environment": environment}
    if service_user:
        shared["user"] = service_user
        c.Authenticator.blocked_users = {service_user, "root"}
    service = {
        "name": SERVICE,
        "url": f"http://127.0.0.1:{port}",
        "command": [sys.executable, "-m", "heygem.server.service"],
        "oauth_no_confirm": True,
        **shared,
    }
    worker = {"command": [str(Path(sys.executable).with_name("heygem")), "worker"], **shared}
    names = [f"{WORKER}-{number + 1}" for number in range(workers)]
    c.JupyterHub.services = [service, *({"name": name, **worker} for name in names)]
    c.JupyterHub.base_url = base_url
    # The hub and its proxy listen on loopback; others come through the reverse proxy.
    c.JupyterHub.bind_url = f"http://127.0.0.1:8000{base_url}"
    c.JupyterHub.load_groups = {policy.Rules(policy_file).policy.reviewers: {"users": []}}
    c.JupyterHub.load_roles = [
        {"name": "user", "description": "use the queue", "scopes": ["self", _ACCESS]}
    ]
    _configure_spawner(c.Spawner, prefix, models, port, shared_account)


def _configure_spawner(
    spawner: Any, prefix: str, models: Path, port: int, shared_account: bool
) -> None:
    """The users' servers: the studio as their page, and what it needs to reach the queue."""
    spawner.cmd = [sys.executable, "-m", "heygem.server.single_user"]
    spawner.default_url = f"/voila/render/{NOTEBOOK}"
    spawner.server_token_scopes = ["users:activity!user", "access:servers!server", _ACCESS]
    spawner.environment = _OFFLINE | {
        "HEYGEM_MODELS": str(models),
        client.ADDRESS_VARIABLE: f"http://127.0.0.1:{port}{prefix}",
        client.PAGE_VARIABLE: prefix,
    }
    spawner.start_timeout = spawner.http_timeout = 120

    def require_separate_accounts(started: Spawner) -> None:
        if isinstance(started, SimpleLocalProcessSpawner) and not shared_account:
            raise SharedAccount

    spawner.pre_spawn_hook = require_separate_accounts
