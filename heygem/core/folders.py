"""Where heygem keeps what it can make or fetch again: models, caches, logs."""

import os
from pathlib import Path


def home() -> Path:
    """Folder of models, caches and logs: `$HEYGEM_HOME`, else `~/.cache/heygem`."""
    configured = os.environ.get("HEYGEM_HOME")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "heygem"


def model_folder() -> Path:
    """Folder of fetched models: `$HEYGEM_MODELS`, which users may share, else in `home`."""
    configured = os.environ.get("HEYGEM_MODELS")
    return Path(configured).expanduser() if configured else home() / "models"


def avatar_folder() -> Path:
    """Folder of tracked avatars."""
    return home() / "avatars"


def make_private_folder(folder: Path) -> Path:
    """Create a folder that only this user can enter, with the folders above it, and return it.

    For what heygem keeps for itself of people's recordings. A folder that is there keeps its mode,
    and so do results, whose mode the umask decides.

    Raises
    ------
    OSError
        It cannot be created.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
