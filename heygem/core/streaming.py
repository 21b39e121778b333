"""Work in several threads at once, in order, with only a few items in between."""

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import Generic, TypeVar

import cv2

IN_FLIGHT = 6  # items between two threads, unless another number is given
_END = object()

Item = TypeVar("Item")

_opencv_lock = threading.Lock()
_opencv_users = 0
_opencv_threads = 0  # before the first user


@contextlib.contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Let each call of OpenCV run in its caller's thread alone.

    Where several threads draw, OpenCV's own ones bring nothing, and wait for work in a loop that
    takes the time of a core: 2 ms a frame.
    """
    global _opencv_users, _opencv_threads
    with _opencv_lock:
        if not _opencv_users:
            _opencv_threads = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _opencv_users += 1
    try:
        yield
    finally:
        with _opencv_lock:
            _opencv_users -= 1
            if not _opencv_users:
                cv2.setNumThreads(_opencv_threads)


def prefetch(
    items: Generator[Item, None, None] | Iterator[Item], *, ahead: int = IN_FLIGHT
) -> Iterator[Item]:
    """The same items, up to `ahead` of them computed in advance by another thread.

    An exception in that thread is raised here, in its place among the items. Closing the iterator
    stops the thread and closes `items`.
    """
    ready: queue.Queue[object] = queue.Queue(ahead)
    stop = threading.Event()
    failures: list[BaseException] = []

    def put(item: object) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            with contextlib.closing(items):  # type: ignore[type-var]
                for item in items:
                    put(item)
                    if stop.is_set():
                        return
        except BaseException as error:  # carried over to the thread that waits
            failures.append(error)
        put(_END)

    # In this thread's context, so that a cancellation of its work is one of the other's.
    run = contextvars.copy_context().run
    worker = threading.Thread(target=run, args=(work,), name="decode", daemon=True)
    worker.start()
    try:
        while (item := ready.get()) is not _END:
            yield item  # type: ignore[misc]
        if failures:
            raise failures[0]
    finally:
        stop.set()
        worker.join()


class BackgroundConsumer(Generic[Item]):
    """A context manager that hands items to another thread, which consumes them in order.

    Parameters
    ----------
    consume : callable
        Called with each item; an exception in it is raised by the next `put`, or at the end.
    waiting : int
        Items that may wait for it.
    """

    def __init__(self, consume: Callable[[Item], object], *, waiting: int = IN_FLIGHT) -> None:
        self._consume = consume
        self._pending: queue.Queue[object] = queue.Queue(waiting)
        self._failure: BaseException | None = None
        self._worker = threading.Thread(target=self._work, name="encode", daemon=True)

    def _work(self) -> None:
        while (item := self._pending.get()) is not _END:
            if self._failure is None:
                try:
                    self._consume(item)  # type: ignore[arg-type]
                except BaseException as error:
                    self._failure = error

    def put(self, item: Item) -> None:
        """Hand over an item; waits while too many are pending."""
        if self._failure is not None:
            raise self._failure
        self._pending.put(item)

    def __enter__(self) -> "BackgroundConsumer[Item]":
        self._worker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pending.put(_END)
        self._worker.join()
        if kind is None and self._failure is not None:
            raise self._failure
