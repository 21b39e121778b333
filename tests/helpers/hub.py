"""A real JupyterHub on loopback, with the queue's service, and a browser as far as HTTP goes."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import yaml

from heygem.core import folders

PROJECT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"
PROXY = PROJECT / ".venv/hub/node_modules/.bin/configurable-http-proxy"


def missing():
    """What a hub needs and this machine has not; empty if nothing."""
    if shutil.which("node") is None:
        return "node is missing: the hub's proxy needs it"
    if proxy_command() is None:
        return "configurable-http-proxy is missing: run make test, which installs it"
    return ""


def proxy_command():
    """The hub's proxy: of the project's environment, else of the machine."""
    beside = Path(sys.prefix) / "hub/node_modules/.bin/configurable-http-proxy"
    return next((str(path) for path in (PROXY, beside) if path.exists()),
                shutil.which("configurable-http-proxy"))  # fmt: skip


def free_ports(count):
    """Ports of 127.0.0.1 that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def write_policy(folder, **more):
    """A policy file with its agreement; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agreement.md").write_text("Be kind. Ask whoever you show.\n")
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(more))
    return path


class Hub:
    """A hub in a folder: started with `start`, ended with `stop`."""

    def __init__(self, folder, *, reviewers=(), lines="", **policy):
        self.folder = Path(folder)
        self.policy = write_policy(self.folder / "rules", **policy)
        self.state = self.folder / "state"
        self.public, self.api, self.hub, self.service = free_ports(4)
        self.address = f"http://127.0.0.1:{self.public}"
        self._homes = str(self.folder / "homes/{username}")
        self._config = self.folder / "jupyterhub_config.py"
        self._config.write_text(
            textwrap.dedent(f"""
            from heygem.server import hub
            c = get_config()
            hub.configure(c, state={str(self.state)!r}, policy_file={str(self.policy)!r},
                          models={str(folders.model_folder())!r}, port={self.service},
                          shared_account=True)
            c.JupyterHub.bind_url = {self.address!r}
            c.JupyterHub.hub_port = {self.hub}
            c.JupyterHub.authenticator_class = "dummy"
            c.DummyAuthenticator.password = {PASSWORD!r}
            c.Authenticator.allow_all = True
            c.JupyterHub.spawner_class = "simple"
            c.SimpleLocalProcessSpawner.home_dir_template = {self._homes!r}
            c.JupyterHub.load_groups = {{"heygem-reviewers": {{"users": {list(reviewers)!r}}}}}
            c.ConfigurableHTTPProxy.command = {[proxy_command()]!r}
            c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{self.api}"
            """)
            + textwrap.dedent(lines)
        )

    def start(self):
        """Start it, and wait until hub and service answer."""
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")
        }
        environment["PYTHONPATH"] = str(PROJECT)
        environment["JUPYTER_RUNTIME_DIR"] = str(self.folder / "run")
        self._log = open(self.folder / "hub.log", "w")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "--config", str(self._config)],
            cwd=self.folder, env=environment, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        self.wait_for(lambda: Browser(self.address).ask("/services/heygem/")[0] == 200)
        return self

    def wait_for(self, condition, timeout_s=600):
        """Wait until something is so; fail if the hub ends."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if condition():
                    return
            except OSError:
                pass
            assert self._process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.5)

    def log(self):
        """The end of what the hub wrote."""
        return (self.folder / "hub.log").read_text(errors="replace")[-6000:]

    def stop(self):
        """End it with all its servers."""
        self._process.terminate()
        try:
            self._process.wait(60)
        finally:
            if self._process.poll() is None:
                self._process.kill()
            self._log.close()


class Browser:
    """A browser, as far as HTTP goes; `context` for TLS."""

    def __init__(self, address, context=None):
        self.address, self.jar = address, CookieJar()
        handlers = [urllib.request.HTTPCookieProcessor(self.jar)]
        if context is not None:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, path, data=None, method=None, **headers):
        """(status, text, final address)."""
        body = urllib.parse.urlencode(data).encode() if isinstance(data, dict) else data
        request = urllib.request.Request(self.address + path, body, method=method)
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with self._opener.open(request, timeout=300) as answer:
                return answer.status, answer.read().decode("utf-8", "replace"), answer.url
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode("utf-8", "replace"), error.url

    def log_in(self, name, password=PASSWORD, **headers):
        """Log in through the hub's own page; returns as `ask`."""
        _, page, _ = self.ask("/hub/login", **headers)
        form = {"username": name, "password": password, "_xsrf": xsrf(page)}
        return self.ask("/hub/login?next=%2Fhub%2Fhome", form, **headers)

    def agree(self):
        """Press the button of the usage agreement; returns as `ask`."""
        _, page, _ = self.ask("/services/heygem/agreement")
        form = {"_xsrf": xsrf(page), "version": re.search(r'name="version" value="(\w+)"', page)[1]}
        return self.ask("/services/heygem/agreement", form)

    def token(self, name, scope="access:services!service=heygem"):
        """A token of the user; by default as the hub gives one to the user's server."""
        cookie = next(c.value for c in self.jar if c.name == "_xsrf" and c.path.startswith("/hub"))
        body = json.dumps({"scopes": scope.split()}).encode()
        headers = {"Content_Type": "application/json", "X_XSRFToken": cookie}
        status, text, _ = self.ask(
            f"/hub/api/users/{name}/tokens", body, "POST", Referer=f"{self.address}/hub/", **headers
        )
        assert status == 201, text
        return json.loads(text)["token"]


def xsrf(page):
    """The token that a page's form must carry."""
    return re.search(r'name="_xsrf"[^>]* value="([^"]+)"', page)[1]
