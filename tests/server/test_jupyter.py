"""Command lines and environment of the servers."""

import hashlib
import json
from pathlib import Path

import pytest

from heygem.core.errors import ParameterError
from heygem.server import jupyter, voila_page


def test_the_studio_refuses_an_open_address_without_tls_and_hides_its_token():
    with pytest.raises(ParameterError, match="without TLS"):
        jupyter.studio_command(port=7860, browser=False, host="0.0.0.0")
    for argv in (
        jupyter.studio_command(port=7860, browser=False),
        jupyter.lab_command(port=8888, notebook="notebooks/01_preview.ipynb", browser=False),
    ):
        assert "--ServerApp.ip=127.0.0.1" in argv
        assert any(jupyter.CONTENT_SECURITY_POLICY in word for word in argv), (
            "pages load nothing from elsewhere"
        )
        assert not any("secret" in word for word in argv)
    assert jupyter.environment("secret")["JUPYTER_TOKEN"] == "secret"


def test_a_page_that_answers_every_ping_stays_connected():
    settings = jupyter._SETTINGS
    # When a ping is sent, the answer to the one before is an interval old.
    assert settings["ws_ping_timeout"] >= 2 * settings["ws_ping_interval"]
    slowest_s = (settings["ws_ping_timeout"] + settings["ws_ping_interval"]) / 1000
    assert slowest_s + voila_page.GRACE_S + voila_page.CHECK_S < 60, "gone within a minute"


def test_the_script_for_jupyterlab_has_another_name_when_it_changes():
    """JupyterLab tells browsers to keep it for a year without asking again."""
    folder = Path(jupyter.__file__).parent / "jupyter_data" / "labextensions" / "heygem"
    (script,) = (folder / "static").iterdir()
    number = hashlib.sha256(script.read_bytes()).hexdigest()[:8]
    assert script.name == f"remoteEntry.{number}.js", "rename it, here and in package.json"
    built = json.loads((folder / "package.json").read_text())["jupyterlab"]["_build"]
    assert built["load"] == f"static/{script.name}"
