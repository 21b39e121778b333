"""What a worker's orders mean in the process that makes the items."""

import io
import json
import queue

import pytest

from heygem.batch.workers import item_process as worker_process
from heygem.core.interrupts import StopEvent


@pytest.mark.parametrize(("order", "is_kept"), [("cancel", False), ("stop", True)])
def test_a_worker_that_ends_keeps_finished_segments_and_a_cancellation_does_not(
    monkeypatch, order, is_kept
):
    lines = io.StringIO("".join(json.dumps({"order": name}) + "\n" for name in ("make", order)))
    monkeypatch.setattr("sys.stdin", lines)
    monkeypatch.setattr(worker_process, "_end_group", lambda: None)
    orders, cancel = queue.SimpleQueue(), StopEvent()
    worker_process._read_orders(orders, cancel)
    assert cancel.is_set() and cancel.keeps_work == is_kept
    assert orders.get()["order"] == "make" and orders.empty()
