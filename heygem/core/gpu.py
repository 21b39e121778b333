"""Where to compute, without loading PyTorch, which takes two seconds and 200 MB."""

import ctypes
import sys
from importlib.metadata import version
from pathlib import Path

from heygem.core.errors import ParameterError

_NVIDIA_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_AMD_DRIVER = Path("/dev/kfd")


def has_cuda() -> bool:
    """Whether PyTorch can compute on a GPU (device "cuda", which AMD's ROCm builds use too).

    PyTorch itself is asked only where a driver is installed.
    """
    if not has_driver():
        return False
    import torch

    return torch.cuda.is_available()


def resolve_device(name: str) -> str:
    """Torch device of "auto", "cpu" or "cuda".

    Raises
    ------
    ParameterError
        cuda was asked for, and PyTorch has none.
    """
    if name == "auto":
        return "cuda" if has_cuda() else "cpu"
    if name == "cuda" and not has_cuda():
        raise ParameterError(
            "device: cuda was asked for, and PyTorch sees no GPU",
            seen=f"torch {version('torch')}",
            remedy="set device: auto, or install a PyTorch build for your GPU",
        )
    return name


def has_driver() -> bool:
    """Whether a GPU's driver is installed, of which nothing more is known yet."""
    try:
        ctypes.CDLL(_NVIDIA_DRIVER)
    except OSError:
        return _AMD_DRIVER.exists()
    return True
