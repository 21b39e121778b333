"""The notebooks to tinker with run from top to bottom, headless, on the samples."""

import json
import re
from pathlib import Path

import nbformat
import papermill
import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Execute a notebook with its results in a temporary folder; returns its code cells."""
    monkeypatch.setenv("HEYGEM_RECORDS", str(tmp_path / "records"))

    def run(name, **parameters):
        path = tmp_path / f"{name}.ipynb"
        papermill.execute_notebook(
            str(ROOT / "notebooks" / f"{name}.ipynb"),
            str(path),
            parameters={"output": str(tmp_path / "out"), **parameters},
            cwd=str(ROOT),
            kernel_name="python3",
            progress_bar=False,
        )
        return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]

    return run


def pictures(cells):
    return [o for c in cells for o in c.outputs if "image/png" in getattr(o, "data", {})]


def texts(cells):
    outputs = [o for c in cells for o in c.outputs]
    plain = [o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in outputs]
    return "\n".join(plain)


def test_the_tour_shows_arrays_curves_and_frames(execute, tmp_path):
    cells = execute("00_tour", seconds=1.0)
    assert len(pictures(cells)) == 6
    assert "468, 3" in texts(cells) and "pixels changed outside the window: 0" in texts(cells)
    assert sorted(p.name for p in (tmp_path / "out").glob("*.mp4")) == [
        "louder.mp4",
        "predicted.mp4",
    ]


def test_a_model_a_voice_and_a_renderer_of_ones_own_are_drawn(execute, tmp_path):
    cells = execute("05_swap_a_model")
    assert len(pictures(cells)) == 2 and "av_corr" in texts(cells)
    assert (tmp_path / "out" / "my-model.mp4").stat().st_size > 10_000
    assert (tmp_path / "out" / "speech.wav").stat().st_size > 10_000


def test_a_small_model_is_trained_and_saved(execute, tmp_path):
    quick = {"networks": 2, "iterations": 20, "sync_iterations": 0, "eval_every": 10, "batch": 4}
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
