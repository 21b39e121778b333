"""A message to the installation's webhook when a batch has ended.

The address is a setting of the installation and of no recipe: recipes are copied into manifests and
records, where an address with a key in it has no place, and on a server for several people only its
operator decides where messages go.
"""

import json
import logging
import os
import time
from collections import Counter
from datetime import UTC, datetime

from heygem.batch.queue.recorded_batches import EndedBatch
from heygem.core import webhook
from heygem.core.errors import HeygemError

ADDRESS_VARIABLE = "HEYGEM_WEBHOOK"
SECRET_VARIABLE = "HEYGEM_WEBHOOK_SECRET"
TIMEOUT_S = 10.0
COOL_DOWN_S = 60.0  # an address that did not answer is left alone for so long
log = logging.getLogger(__name__)
_failed_at: dict[str, float] = {}  # of addresses, by monotonic time


def announce(ended: EndedBatch) -> str:
    """Tell the webhook that a batch has ended; does nothing where none is set.

    Returns
    -------
    str
        Why it could not be told; empty if all is well.
    """
    address = os.environ.get(ADDRESS_VARIABLE, "")
    if not address:
        return ""
    if time.monotonic() - _failed_at.get(address, -COOL_DOWN_S) < COOL_DOWN_S:
        return "the webhook did not answer a moment ago"
    try:
        webhook.post(
            address,
            json.dumps(content(ended), ensure_ascii=False).encode("utf-8", "backslashreplace"),
            secret=os.environ.get(SECRET_VARIABLE, ""),
            timeout_s=TIMEOUT_S,
            waits_s=webhook.WAITS_S,
        )
    except (OSError, ValueError, HeygemError) as error:
        _failed_at[address] = time.monotonic()
        problem = f"the webhook of batches failed: {webhook.reason(error)}"
        log.warning("%s", problem)
        return problem
    _failed_at.pop(address, None)
    return ""


def content(ended: EndedBatch) -> dict[str, object]:
    """The message: the name of the batch, counts and time; no names of people, files or folders."""
    counts = Counter(item[0] for item in ended.items)
    if ended.counts is not None:
        counts = Counter(ended.counts)
    elapsed_s = ended.elapsed_s if ended.counted_s is None else ended.counted_s
    made = counts["done"] + counts["skipped"]
    parts = [f"{made} of {counts.total()} videos made"]
    parts += [f"{counts[status]} {status}" for status in ("failed", "cancelled") if counts[status]]
    return {
        "type": "batch.ended",
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        # "text" is what chat services show of a webhook.
        "text": f"heygem: {ended.batch or 'the queue'}: {', '.join(parts)}",
        "data": {
            "batch": ended.batch,
            "counts": dict(counts),
            "elapsed_s": round(elapsed_s, 1),
        },
    }
