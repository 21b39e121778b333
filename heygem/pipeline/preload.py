"""Modules that a job needs later, loaded while it does something else."""

import contextlib
import functools
import importlib
import threading
from collections.abc import Sequence

#: Needed after the sound: compiled code is half a second of imports; listening leaves a core free.
MODULES = (
    "heygem.rendering.warp.renderer",
    "heygem.media.yuv_kernels",
    "heygem.provenance.watermark.kernels",
)


@functools.cache
def start(*modules: str) -> threading.Thread:
    """Load modules in another thread, once in a process."""
    thread = threading.Thread(target=_load, args=(modules,), name="preload", daemon=True)
    thread.start()
    return thread


def _load(modules: Sequence[str]) -> None:
    for name in modules:
        with contextlib.suppress(Exception):  # raised again where the module is used
            importlib.import_module(name)
