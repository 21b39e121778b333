"""A browser, a page in it, and a studio that serves a folder of its own."""

import json
import os

import pytest
from helpers.browser import PROJECT, SAMPLES, SLOW_MS, Server, chromium, missing

from heygem.batch.queue import JobQueue
from heygem.server import jupyter


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("the package playwright")
    if chromium() is None:
        missing("Chromium")
    with sync_playwright() as play:
        # Chromium's own sandbox does not work for root, as in a container.
        options = ["--autoplay-policy=no-user-gesture-required"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []
        made = play.chromium.launch(executable_path=chromium(), args=options)
        yield made
        made.close()


@pytest.fixture
def page(browser):
    made = browser.new_page(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
    made.set_default_timeout(SLOW_MS)
    yield made
    made.close()


@pytest.fixture
def root(tmp_path):
    """A folder to serve, with notebooks that work on the samples and write beside themselves."""
    (tmp_path / "notebooks").mkdir()
    names = {
        "inputs": {
            "audio": str(SAMPLES / "speech_en.wav"),
            "videos": [str(SAMPLES / "hopper.mp4")],
            "output": "runs/made",
        },
        "mlflow": {"enabled": False},
    }
    for name in ("01_preview", "02_tuning", "04_studio", "20_compare"):
        notebook = json.loads((PROJECT / "notebooks" / f"{name}.ipynb").read_text())
        given = dict(names)
        if name == "04_studio":
            given["inputs"] = {"output": "runs/made"}
        if name == "02_tuning":
            given["mlflow"] = {"folder": str(tmp_path / "mlruns")}
        if name == "20_compare":
            given = {"runs": [], "last": 2, "experiment": None, "folder": str(tmp_path / "mlruns")}
            given |= {"output": "runs/compare", "instants": 2, "film": False, "log": False}
        for cell in notebook["cells"]:
            if "parameters" in cell["metadata"].get("tags", ()):
                cell["source"] = "\n".join(
                    [*(f"{key} = {value!r}" for key, value in given.items()), 'lang = "en"']
                )
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text(json.dumps(notebook))
    return tmp_path


@pytest.fixture
def studio(root):
    server = Server(jupyter.studio_command, root)
    yield server
    server.close()
    JobQueue(
        root / "notebooks" / "runs" / "studio" / "line"
    ).release_worker()  # its models stay for minutes
