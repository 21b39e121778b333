"""A HEYGEM_HOME of a test's own."""

from pathlib import Path

import pytest

from heygem.core import assets


def home_with_models(folder: Path) -> Path:
    """Create a folder that holds nothing but a link to this machine's models, and return it.

    Call it before HEYGEM_HOME is set, while the models are still found. Whether another test of
    the same process has loaded a model before does not matter then. Skips the test where they are
    missing.
    """
    if any(entry.state != "ok" and not entry.asset.only_for for entry in assets.inventory()):
        pytest.skip("models are not there: run heygem models pull")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "models").symlink_to(assets.model_folder().absolute())
    return folder
