"""Whether this installation can work, for a container's or a supervisor's health check."""

import os
from pathlib import Path

from heygem.core import assets
from heygem.core.errors import HeygemError
from heygem.core.folders import home
from heygem.ops import work
from heygem.provenance import ledger


def problems() -> list[str]:
    """What keeps it from working, in one line each: queue, models, folders; empty if nothing."""
    found = []
    try:
        queue = work.open_queue()
        if queue is not None:
            queue.counts()
            queue.close()
    except HeygemError as error:
        found.append(str(error))
    for name, folder in (("cache", home()), ("records", ledger.home())):
        if not _can_write(folder):
            found.append(f"the folder of {name} cannot be written: {folder}")
    for entry in assets.inventory():
        if entry.state != "ok" and not entry.asset.only_for:
            found.append(f"the model {entry.asset.name} is {entry.state}: heygem models pull")
    return found


def _can_write(folder: Path) -> bool:
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return os.access(existing, os.W_OK | os.X_OK)
