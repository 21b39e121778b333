"""Whether a GPU is there, without loading PyTorch, which takes two seconds and 200 MB."""

import ctypes
import sys
from pathlib import Path

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


def has_driver() -> bool:
    """Whether a GPU's driver is installed, of which nothing more is known yet."""
    try:
        ctypes.CDLL(_NVIDIA_DRIVER)
    except OSError:
        return _AMD_DRIVER.exists()
    return True
