"""The mark of an item that has begun: a manifest with the status "begun" in its folder of details.

Who makes an item writes it and removes it; after the death of that process its supervisor does.
This module is light, because workers and the queue, which hold no models, import it.
"""

import contextlib
from typing import TYPE_CHECKING, Any

from heygem.core.errors import HeygemError
from heygem.core.files import is_address, read_json
from heygem.core.leftovers import remove_leftovers
from heygem.core.logs import RUN_LOG

if TYPE_CHECKING:
    from heygem.batch.queue.job import Job

BEGUN = "begun"
MANIFEST = "manifest.json"


def is_begun(content: dict[str, Any] | None) -> bool:
    """Whether a manifest is the mark of an item that has begun."""
    return content is not None and content.get("status") == BEGUN


def clear_unfinished(job: "Job") -> None:
    """Remove what a dead process has left of an item that has no result.

    Its temporary files go, and the mark, unless there are figures beside it that it belongs to.
    Finished segments of a long item stay: another attempt continues with them. What cannot be
    removed stays, and so does what lies in a store (see `heygem.batch.cluster.results`).

    Parameters
    ----------
    job : Job
        With its recipe; nobody makes it now.
    """
    if is_address(job.params["inputs"]["output"]):
        return
    with contextlib.suppress(OSError, HeygemError):
        item = job.item()
        remove_leftovers(item.output.parent)
        remove_leftovers(item.details, own_folder=True)
        names = {path.name for path in item.details.iterdir()}
        if names <= {MANIFEST, RUN_LOG} and is_begun(read_json(item.details)):
            (item.details / MANIFEST).unlink()
            item.details.rmdir()  # stays where it holds a log of the item
            item.details.parent.rmdir()
