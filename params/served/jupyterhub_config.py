"""A JupyterHub that serves heygem's studio to the accounts of one Linux machine.

Copy this folder to /etc/heygem, read it and docs/serving.md, and start the hub as root:
    jupyterhub --config /etc/heygem/jupyterhub_config.py
"""

from heygem.server import hub

c = get_config()  # noqa: F821 - JupyterHub defines it

hub.configure(
    c,
    state="/var/lib/heygem",  # install -d -o heygem -g heygem -m 700 /var/lib/heygem
    policy_file="/etc/heygem/policy.yaml",
    models="/srv/heygem/models",  # HEYGEM_MODELS=/srv/heygem/models heygem models pull
    service_user="heygem",  # adduser --system --group heygem
    workers=1,
)

# Who may log in: accounts of this machine that are in the group `studio`, through PAM.
c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allowed_groups = {"studio"}
c.Authenticator.admin_users = set()  # an admin can become any user: name nobody without need

# Each user's server runs under the user's own account.
c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"

# The hub's own files.
c.JupyterHub.db_url = "sqlite:////var/lib/jupyterhub/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "/var/lib/jupyterhub/cookie_secret"
c.ConfigurableHTTPProxy.pid_file = "/var/lib/jupyterhub/proxy.pid"
