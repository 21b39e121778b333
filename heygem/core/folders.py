"""Where heygem keeps what it can make or fetch again: models, caches, logs."""

import os
from pathlib import Path


def home() -> Path:
    """Folder of models, caches and logs: `$HEYGEM_HOME`, else `~/.cache/heygem`."""
    configured = os.environ.get("HEYGEM_HOME")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "heygem"


def model_folder() -> Path:
    """Folder of fetched models."""
    return home() / "models"


def avatar_folder() -> Path:
    """Folder of tracked avatars."""
    return home() / "avatars"
