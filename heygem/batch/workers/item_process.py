"""The process that a worker supervises: it makes items one after the other, with models in memory.

It reads orders from its standard input and writes messages to a pipe, both as lines of JSON. When
its worker is gone, even by kill -9, its input ends: it then ends itself and every process that it
has started. On Linux the kernel does the same where its own code does not come to it.
"""

import contextlib
import ctypes
import importlib
import json
import logging
import os
import queue
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from heygem.batch.queue.job import Job
from heygem.batch.queue.recorded_batches import EndedBatch
from heygem.batch.workers.estimate import ItemEstimate, StageRates
from heygem.core import logs, memory
from heygem.core.errors import HeygemError
from heygem.core.interrupts import StopEvent
from heygem.core.leftovers import remove_leftovers

PROGRESS_S = 0.3  # a stage reports at most this often
REPEAT_S = 1.0  # the time left keeps running while a stage counts no steps
_DEATH_SIGNAL = 1  # prctl's PR_SET_PDEATHSIG

log = logging.getLogger(__name__)


def main() -> None:
    """Entry point: `python -m heygem.batch.workers.item_process MODULE:FUNCTION PIPE PARENT`."""
    name, pipe, parent = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker decides
    logs.start_log()
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    cancel = StopEvent()
    threading.Thread(target=_read_orders, args=(orders, cancel), daemon=True).start()
    with os.fdopen(pipe, "w", encoding="utf-8", buffering=1) as messages:
        remove_leftovers(tempfile.gettempdir())
        _serve(name, orders, cancel, messages)


def _end_with_parent(parent: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it died before this line
        _end_group()


def _end_group() -> None:
    """End this process and those it has started; it leads a group of its own."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _read_orders(orders: "queue.SimpleQueue[dict[str, Any]]", cancel: StopEvent) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        if order["order"] in ("cancel", "stop"):
            cancel.keeps_work = order["order"] == "stop"
            cancel.set()
        else:
            cancel.clear()  # here, so that a cancellation that follows is not cleared too
            orders.put(order)
    _end_group()


def _serve(
    name: str,
    orders: "queue.SimpleQueue[dict[str, Any]]",
    cancel: threading.Event,
    messages: IO[str],
) -> None:
    """Carry out orders for ever; an order that raises ends the process, and the worker says so."""
    lock = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        with lock:
            messages.write(json.dumps(message, default=str) + "\n")
            messages.flush()

    make: Callable[..., Any] | None = None
    models: Any = None
    rates = StageRates()
    while True:
        order = orders.get()
        if order["order"] == "end":
            send({"ended": _end_batch(EndedBatch(*order["ended"]))})
            continue
        job = Job(**order["job"])
        if order["order"] == "room":
            from heygem.batch.item import guards  # PyAV, which an idle process does without

            send({"room": guards.has_room(job)})
            continue
        send({"oom_kills": memory.oom_kills()})
        estimate = ItemEstimate(rates, job.length_s, has_models=make is not None)
        report = _Reporter(send, estimate)
        try:
            if make is None:
                report("load models", 0, 1)
                make, models = _load(name)
            outcome = make(job, models, report, cancel)
        finally:
            report.end()
        send({"outcome": outcome.message()})


def _load(name: str) -> tuple[Callable[..., Any], Any]:
    """The function that makes items, and what keeps its models."""
    module_name, _, function_name = name.partition(":")
    module = importlib.import_module(module_name)
    return getattr(module, function_name), getattr(module, "ModelCache", dict)()


def _end_batch(ended: EndedBatch) -> str:
    from heygem.batch.queued_batch import end_batch

    try:
        return end_batch(ended)
    except (HeygemError, OSError) as error:  # a recipe of another version; a full disk
        log.warning("the end of the batch %r is not recorded: %s", ended.batch, error)
        return str(error)


class _Reporter:
    """Sends progress to the worker: when an item reports it, and while a stage is silent."""

    def __init__(self, send: Callable[[dict[str, Any]], None], estimate: ItemEstimate) -> None:
        self._send, self._estimate = send, estimate
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._stage, self._sent = "", 0.0
        threading.Thread(target=self._repeat, daemon=True).start()

    def __call__(self, stage: str, done: int, total: int) -> None:
        with self._lock:
            self._estimate.report(stage, done, total)
            is_new, self._stage = stage != self._stage, stage
            if is_new or done >= total or time.monotonic() - self._sent >= PROGRESS_S:
                self._send_now()

    def _send_now(self) -> None:
        self._sent = time.monotonic()
        self._send({"progress": self._estimate.progress()})

    def _repeat(self) -> None:
        while not self._ended.wait(REPEAT_S):
            with self._lock:
                if self._stage and not self._ended.is_set():
                    self._send_now()

    def end(self) -> None:
        """Send nothing more."""
        with self._lock:
            self._ended.set()
            self._estimate.end()


if __name__ == "__main__":
    main()
