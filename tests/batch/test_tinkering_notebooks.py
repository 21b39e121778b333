"""The notebooks to tinker with run from top to bottom, headless, on the samples."""

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from heygem import media

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A second and a half of the sample's speech: what is drawn and encoded costs by its length."""
    sound = media.read_audio(ROOT / "samples" / "speech_en.wav")
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    media.write_wav(path, sound.samples[: int(1.5 * sound.rate_hz)], sound.rate_hz)
    return path


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One kernel for all notebooks: each begins with no names, the modules stay imported."""
    variables = {**os.environ, "HEYGEM_RECORDS": str(tmp_path_factory.mktemp("records"))}
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(ROOT), env=variables)
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.fixture
def execute(kernel, tmp_path):
    """Execute a notebook with its results in a temporary folder; returns its code cells."""

    def run(name, **parameters):
        notebook = load_notebook_node(str(ROOT / "notebooks" / f"{name}.ipynb"))
        changes = {"output": str(tmp_path / "out"), **parameters}
        notebook = parameterize_notebook(notebook, changes)
        notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
        NotebookClient(notebook, km=kernel, timeout=600).execute(cwd=str(ROOT))
        return [c for c in notebook.cells if c.cell_type == "code"]

    return run


def pictures(cells):
    return [o for c in cells for o in c.outputs if "image/png" in getattr(o, "data", {})]


def texts(cells):
    outputs = [o for c in cells for o in c.outputs]
    plain = [o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in outputs]
    return "\n".join(plain)


def test_the_tour_shows_arrays_curves_and_frames(execute, speech, tmp_path):
    cells = execute("00_tour", audio=str(speech), seconds=0.5)
    assert len(pictures(cells)) == 6
    assert "468, 3" in texts(cells) and "pixels changed outside the window: 0" in texts(cells)
    assert sorted(p.name for p in (tmp_path / "out").glob("*.mp4")) == [
        "louder.mp4",
        "predicted.mp4",
    ]


def test_a_model_a_voice_and_a_renderer_of_ones_own_are_drawn(execute, speech, tmp_path):
    cells = execute("05_swap_a_model", audio=str(speech), text="Good morning.")
    assert len(pictures(cells)) == 2 and "av_corr" in texts(cells)
    assert (tmp_path / "out" / "my-model.mp4").stat().st_size > 10_000
    assert (tmp_path / "out" / "speech.wav").stat().st_size > 10_000


def test_a_small_model_is_trained_and_saved(execute, tmp_path):
    quick = {"networks": 2, "iterations": 6, "sync_iterations": 0, "eval_every": 3, "batch": 4}
    cells = execute("06_train_small", settings=quick)
    assert len(pictures(cells)) == 3
    assert (tmp_path / "out" / "small.safetensors").is_file()


def test_metrics_are_a_table_and_the_worst_clip_is_shown(execute):
    cells = execute("22_inspect_metrics", settings={"max_held_out_s": 2})
    assert len(pictures(cells)) == 3 and "oracle motion" in texts(cells)


def test_the_page_of_the_tour_is_that_of_its_notebook():
    """`make tour` writes it; a change of the notebook without the page is told here."""
    page = (ROOT / "docs" / "tour.md").read_text()
    cells = json.loads((ROOT / "notebooks" / "00_tour.ipynb").read_text())["cells"]
    for cell in cells:
        assert "".join(cell["source"]).strip() in page
    shown = set(re.findall(r"tour_files/(\S+?\.png)", page))
    assert len(shown) == 6
    assert shown == {path.name for path in (ROOT / "docs" / "tour_files").iterdir()}
