"""One meaning of `device`: auto takes a GPU where there is one, cuda insists on it."""

import pytest

from heygem.core import gpu
from heygem.core.errors import ParameterError
from heygem.training import run


@pytest.mark.parametrize(
    ("asked", "is_there", "chosen"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_the_device_that_is_chosen(monkeypatch, asked, is_there, chosen):
    monkeypatch.setattr(gpu, "has_cuda", lambda: is_there)
    assert gpu.resolve_device(asked) == chosen


def test_a_gpu_that_is_not_there_is_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "has_cuda", lambda: False)
    with pytest.raises(ParameterError, match="PyTorch sees no GPU; seen: torch"):
        gpu.resolve_device("cuda")
    with pytest.raises(ParameterError, match="PyTorch sees no GPU"):
        run.train_lips(tmp_path, tmp_path / "mine.safetensors", device="cuda")
