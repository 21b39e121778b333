"""The notebooks of the studio, executed without a page."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("isolated_home")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["01_preview", "02_tuning", "04_studio"])
def test_a_notebook_runs_under_papermill_without_a_page(name, talking, speech, tmp_path):
    papermill = pytest.importorskip("papermill")
    parameters = {"inputs": {"output": str(tmp_path / "made")}, "mlflow": {"enabled": False}}
    if name != "04_studio":
        parameters["inputs"] |= {"videos": [str(talking[0])], "audio": str(speech)}
    source = Path(__file__).parents[2] / "notebooks" / f"{name}.ipynb"
    done = papermill.execute_notebook(
        str(source), str(tmp_path / "done.ipynb"), parameters=parameters, cwd=str(tmp_path),
        progress_bar=False, store_widget_state=False,
    )  # fmt: skip
    kinds = [
        kind
        for cell in done.cells
        for output in cell.get("outputs", ())
        for kind in output.get("data", {})
    ]
    assert "application/vnd.jupyter.widget-view+json" in kinds
    assert (tmp_path / "done.ipynb").stat().st_size < 2_000_000
    if name != "04_studio":
        assert "image/png" in kinds, "frames of the preview are in the notebook"


@pytest.mark.slow
def test_a_notebook_refuses_a_mistyped_key(tmp_path):
    papermill = pytest.importorskip("papermill")
    source = Path(__file__).parents[2] / "notebooks" / "02_tuning.ipynb"
    with pytest.raises(papermill.PapermillExecutionError, match="openness_gain"):
        papermill.execute_notebook(
            str(source), str(tmp_path / "done.ipynb"), cwd=str(tmp_path), progress_bar=False,
            parameters={"lips": {"opennes_gain": 1.2}},
        )  # fmt: skip
