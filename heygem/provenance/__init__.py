"""Labels that state that a file is AI-generated, for people and machines, and their checks."""

import importlib
from typing import Any

_MODULES = {
    "AigcLabel": "aigc",
    "aigc_tags": "aigc",
    "Labeller": "labeller",
    "Verification": "verify",
    "VisibleLabel": "visible",
    "verify_file": "verify",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    # Imported on first use, so that the command line starts quickly.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
