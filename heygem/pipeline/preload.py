"""Modules that a job needs after its sound, loaded while it listens to the sound."""

import contextlib
import functools
import importlib
import threading

#: Compiled code is half a second of imports; listening leaves a core free.
MODULES = (
    "heygem.rendering.warp.renderer",
    "heygem.media.yuv_kernels",
    "heygem.provenance.watermark.kernels",
)


@functools.cache
def start() -> threading.Thread:
    """Load `MODULES` in another thread, once in a process."""
    thread = threading.Thread(target=_load, name="preload", daemon=True)
    thread.start()
    return thread


def _load() -> None:
    for name in MODULES:
        with contextlib.suppress(Exception):  # raised again where the module is used
            importlib.import_module(name)
