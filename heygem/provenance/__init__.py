"""Saying that a file is AI-made, to people and to machines, and reading it back."""

import importlib

_HOMES = {
    "AigcLabel": "aigc",
    "aigc_tags": "aigc",
    "Labeller": "labeller",
    "LabelReading": "verify",
    "read": "verify",
    "VisibleLabel": "visible",
}
__all__ = sorted(_HOMES)


def __getattr__(name):
    # Loaded when asked for, so that the command line answers at once.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
