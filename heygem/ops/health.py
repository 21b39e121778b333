"""Whether this installation can work, for a container's or a supervisor's health check."""

from pathlib import Path

from heygem.core import assets
from heygem.core.errors import HeygemError
from heygem.core.folders import home
from heygem.core.publish import check_folder
from heygem.ops import work
from heygem.provenance import ledger


def problems() -> list[str]:
    """What keeps it from working, in one line each: queue, models, folders; empty if nothing."""
    messages = []
    try:
        queue = work.open_queue()
        if queue is not None:
            queue.counts()
            queue.close()
    except HeygemError as error:
        messages.append(str(error))
    for folder in (home(), ledger.home()):
        try:
            check_folder(_existing(folder))
        except HeygemError as error:
            messages.append(str(error))
    for entry in assets.inventory():
        if entry.state != "ok" and not entry.asset.only_for:
            messages.append(f"the model {entry.asset.name} is {entry.state}: heygem models pull")
    return messages


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
