"""Sessions and pages on a synthetic talking portrait; a browser and a server to open them in."""

import importlib.util
import itertools
import json
import os
import shutil

import numpy as np
import pytest
from helpers.browser import PROJECT, SAMPLES, SLOW_MS, Server, chromium, missing
from helpers.home import home_with_models
from helpers.media import tone, write_wav
from helpers.studio import GATE_OFF, WAIT_S, LoudnessLips

from heygem import media, pipeline
from heygem.batch.queue import JobQueue
from heygem.batch.workers import background
from heygem.config.params import Params
from heygem.media import RecordedFrames
from heygem.server import ROOT_VARIABLE, jupyter

if any(importlib.util.find_spec(name) is None for name in ("ipywidgets", "anywidget")):
    collect_ignore_glob = ["test_*.py"]  # the notebooks extra is not installed


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A home for keys and avatars of these tests, so that a person is tracked once."""
    return home_with_models(tmp_path_factory.mktemp("home"))


@pytest.fixture
def isolated_home(home, tmp_path, monkeypatch):
    """Nothing is written to the user's folders, and pages are served from `tmp_path`."""
    monkeypatch.setenv("HEYGEM_HOME", str(home))
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))


@pytest.fixture
def models(faces, hopper_avatar):
    """Models whose lips follow the loudness."""
    return pipeline.Models(Params(), lips=LoudnessLips(hopper_avatar.rest.neutral), faces=faces)


@pytest.fixture
def speech(tmp_path):
    """Two bursts of sound in silence: at 0.4 s and at 1.2 s, 0.4 s each."""
    samples = tone(2.0, hz=220).samples[:, 0].copy()
    t = np.arange(len(samples)) / 16000
    samples[~(((t > 0.4) & (t < 0.8)) | ((t > 1.2) & (t < 1.6)))] = 0
    return write_wav(tmp_path / "speech.wav", samples)


@pytest.fixture
def session(isolated_home, models, talking, speech, tmp_path):
    """A session with the talking portrait and the bursts."""
    from heygem.studio.session import Session

    session = Session(GATE_OFF, folder=tmp_path / "previews", models=models)
    session.load(talking[0], speech)
    return session


@pytest.fixture
def tuning(isolated_home, models, talking, speech, tmp_path):
    """The tuning page on the talking portrait and the bursts, with its first preview."""
    from heygem.studio.pages.tuning import TuningPage
    from heygem.studio.session import Session

    session = Session(GATE_OFF, folder=tmp_path / "previews", models=models)
    page = TuningPage(
        video=talking[0], audio=speech, folder=tmp_path, session=session,
        recipes_folder=tmp_path / "params",
    )  # fmt: skip
    assert page.preview.task.wait(WAIT_S)
    assert page.preview.task.error is None
    return page


@pytest.fixture
def studio(isolated_home, tmp_path, talking, speech, monkeypatch):
    """The studio app on a folder with a good and a broken video; no worker process is started."""
    from heygem.studio.pages.studio import StudioApp

    people = tmp_path / "people"
    people.mkdir()
    shutil.copy(talking[0], people / "anna.mp4")
    (people / "broken.mp4").write_bytes(talking[0].read_bytes()[:2000])
    monkeypatch.setattr(background, "start_worker", lambda queue: None)
    recipe = {"inputs": {"output": str(tmp_path / "made")}, "mlflow": {"enabled": False}}
    app = StudioApp(
        params=Params.from_dict(recipe), folder=people, queue_path=tmp_path / "queue.db"
    )
    app.batch.audio.chosen = str(speech)
    yield app
    app.batch.close()


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
        browser = play.chromium.launch(executable_path=chromium(), args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
    page.set_default_timeout(SLOW_MS)
    yield page
    page.close()


@pytest.fixture(scope="session")
def short_samples(tmp_path_factory):
    """The beginnings of samples under their names: what is made of them costs by its length."""
    folder = tmp_path_factory.mktemp("samples")
    sound = media.read_audio(SAMPLES / "speech_en.wav")
    media.write_wav(folder / "speech_en.wav", sound.samples[: 3 * sound.rate_hz], sound.rate_hz)
    for name in ("hopper.mp4", "collins.mp4"):
        with media.VideoReader(SAMPLES / name) as reader:
            video = reader.info.video
            size = {"width": video.width, "height": video.height, "rate": video.rate}
            with media.VideoWriter(folder / name, label=RecordedFrames(), **size) as writer:
                for frame in itertools.islice(reader, 60):
                    writer.write(frame.image, frame.time_s)
    return folder


@pytest.fixture
def root(tmp_path, short_samples, monkeypatch):
    """A folder to serve, with notebooks that work on the samples and write beside themselves."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("HEYGEM_QUEUE", str(tmp_path / "queue.db"))
    names = {
        "inputs": {
            "audio": str(short_samples / "speech_en.wav"),
            "videos": [str(short_samples / "hopper.mp4")],
            "output": "runs/made",
        },
        "mlflow": {"enabled": False},
    }
    for name in ("01_preview", "02_tuning", "04_studio", "20_compare"):
        notebook = json.loads((PROJECT / "notebooks" / f"{name}.ipynb").read_text())
        values = dict(names)
        if name == "04_studio":
            values["inputs"] = {"output": "runs/made"}
        if name == "02_tuning":
            values["mlflow"] = {"folder": str(tmp_path / "mlruns")}
        if name == "20_compare":
            values = {"runs": [], "last": 2, "experiment": None, "folder": str(tmp_path / "mlruns")}
            values |= {"output": "runs/compare", "instants": 2, "film": False, "log": False}
        for cell in notebook["cells"]:
            if "parameters" in cell["metadata"].get("tags", ()):
                cell["source"] = "\n".join(
                    [*(f"{key} = {value!r}" for key, value in values.items()), 'lang = "en"']
                )
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text(json.dumps(notebook))
    return tmp_path


@pytest.fixture
def studio_server(root):
    """A server as `heygem studio` starts it."""
    server = Server(jupyter.studio_command, root)
    yield server
    server.close()
    JobQueue(root / "queue.db").release_workers()
