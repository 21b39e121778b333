"""A real browser and a real server, for the tests of pages."""

import http.client
import importlib.resources
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from heygem.server import jupyter

PROJECT = Path(__file__).parents[2]


SAMPLES = PROJECT / "samples"


TOKEN = "a-token-of-the-tests"


SLOW_MS = 120_000


HTTP_OK = 200


DATA = ".jupyter_data"  # of a server's folder: the signatures of its notebooks


def chromium():
    """Path of the browser, or None."""
    named = os.environ.get("HEYGEM_CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome")
    return named or next((path for name in names if (path := shutil.which(name))), None)


def missing(what):
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and this is CI")
    pytest.skip(f"{what} is missing")


def ask(port, method, path, body=None, **headers):
    """(status, headers, content) of a request without anything that a client adds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def free_port():
    with socket.socket() as s:
        s.bind((jupyter.LOOPBACK, 0))
        return s.getsockname()[1]


BARRIERS = ("serious", "critical")  # what axe calls them


def barriers(page):
    """Serious findings of axe-core on the page as it is."""
    script = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js")
    page.evaluate(script.read_text() + ";0")
    answer = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        (found["id"], node["html"][:160])
        for found in answer["violations"]
        if found["impact"] in BARRIERS
        for node in found["nodes"]
    ]


class Server:
    """A server started as `heygem lab` or `heygem studio` starts it."""

    def __init__(self, make, root):
        self.port = free_port()
        self.base = f"http://{jupyter.LOOPBACK}:{self.port}"
        argv = make(port=self.port, browser=False, root=root)
        self._log = open(root / "server.log", "wb")
        environment = {**jupyter.environment(TOKEN, root), "PYTHONPATH": str(PROJECT)}
        # Its own settings and workspaces: nothing of the user's is opened or changed.
        environment |= {"JUPYTER_CONFIG_DIR": str(root / ".jupyter")}
        environment |= {"JUPYTERLAB_WORKSPACES_DIR": str(root / ".workspaces")}
        environment |= {"JUPYTER_DATA_DIR": str(root / DATA)}
        self._process = subprocess.Popen(
            argv, cwd=root, env=environment, stdout=self._log, stderr=self._log
        )
        deadline = time.monotonic() + 90
        while self.status("/api/status", token=True) != HTTP_OK:
            assert self._process.poll() is None, (root / "server.log").read_text()
            assert time.monotonic() < deadline, (root / "server.log").read_text()
            time.sleep(0.3)

    def status(self, path, *, token=False):
        """HTTP status of an address, redirects not followed; 0 where nobody answers."""
        request = urllib.request.Request(self.base + path)
        if token:
            request.add_header("Authorization", f"token {TOKEN}")
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            return opener.open(request, timeout=10).status
        except urllib.error.HTTPError as e:
            return e.code
        except OSError:
            return 0

    def kernels(self):
        """The kernels that run, as dicts."""
        request = urllib.request.Request(self.base + "/api/kernels")
        request.add_header("Authorization", f"token {TOKEN}")
        return json.load(urllib.request.urlopen(request, timeout=10))

    def close(self):
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None
