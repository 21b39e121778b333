"""Work in several threads at once, in order, with only a few items in between."""

import contextlib
import queue
import threading

IN_FLIGHT = 6  # items waiting between two threads
_END = object()


def prefetch(items):
    """The same items, made a few ahead by another thread."""
    waiting = queue.Queue(IN_FLIGHT)
    stop = threading.Event()
    failure = []

    def put(item):
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return

    def work():
        try:
            with contextlib.closing(items):
                for item in items:
                    put(item)
                    if stop.is_set():
                        return
        except BaseException as error:  # carried over to the thread that waits
            failure.append(error)
        put(_END)

    worker = threading.Thread(target=work, name="decode", daemon=True)
    worker.start()
    try:
        while (item := waiting.get()) is not _END:
            yield item
        if failure:
            raise failure[0]
    finally:
        stop.set()
        worker.join()


class BackgroundConsumer:
    """Hands items to another thread that consumes them in order."""

    def __init__(self, consume):
        self._consume = consume
        self._waiting = queue.Queue(IN_FLIGHT)
        self._failure = None
        self._worker = threading.Thread(target=self._work, name="encode", daemon=True)

    def _work(self):
        while (item := self._waiting.get()) is not _END:
            if self._failure is None:
                try:
                    self._consume(item)
                except BaseException as error:
                    self._failure = error

    def put(self, item):
        if self._failure is not None:
            raise self._failure
        self._waiting.put(item)

    def __enter__(self):
        self._worker.start()
        return self

    def __exit__(self, kind, error, trace):
        self._waiting.put(_END)
        self._worker.join()
        if kind is None and self._failure is not None:
            raise self._failure
