"""Notebook 12_finetune."""

import nbformat
import pytest

from heygem.batch import notebooks
from heygem.batch.notebooks import root
from heygem.config.params import Params
from heygem.finetune import bundle


@pytest.mark.slow
def test_the_notebook_makes_a_bundle_and_shows_it(own_home, footage, result, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = Params.from_yaml(root() / "params" / "finetune.yaml").override(
        {
            "inputs.videos": [str(footage[0])],
            "inputs.output": str(tmp_path / "grace.heygem"),
            "mlflow.folder": str(tmp_path / "mlruns"),
        }
    )
    done = notebooks.execute(notebooks.find("12_finetune"), params)
    (item,) = done.record["items"]
    assert item["status"] == "done" and bundle.read(item["output"])["seconds"] > 5
    book = nbformat.read(done.notebook, as_version=4)
    outputs = [
        o for c in book.cells for o in c.get("outputs", ()) if "image/png" in o.get("data", {})
    ]
    pictures = [o for c in book.cells for o in c.get("outputs", ()) if "data" in o]
    assert len(outputs) >= 3 and len(pictures) >= 5
    text = "".join(o.get("text", "") for c in book.cells for o in c.get("outputs", ()))
    assert "not recorded" not in text and (tmp_path / "mlruns" / "mlflow.db").is_file()
