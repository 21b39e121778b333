"""Progress callbacks that notice a cancellation, also during a step that reports nothing."""

import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

from heygem.core.errors import Cancelled
from heygem.core.types import Progress

T = TypeVar("T")
POLL_S = 0.1


class CancellableProgress:
    """Passes progress on, and raises `Cancelled` once `cancel` is set.

    Parameters
    ----------
    progress : callable, optional
    cancel : threading.Event, optional
    """

    def __init__(self, progress: Progress | None, cancel: threading.Event | None) -> None:
        self._progress = progress
        self._cancel = cancel if cancel is not None else threading.Event()
        self._abandoned = threading.Event()

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Report progress; raises `Cancelled`."""
        if self._abandoned.is_set():
            raise _cancelled()
        self._raise_if_cancelled()
        if self._progress is not None:
            self._progress(stage, done, total)

    def run(self, work: Callable[[], T]) -> T:
        """Call `work` in a thread and return its result.

        Raises `Cancelled` within a moment of a cancellation; the thread ends at its next report,
        or in the next loop that looks (`heygem.core.interrupts`).
        """
        results: list[T] = []
        errors: list[BaseException] = []

        def call() -> None:
            try:
                results.append(work())
            except BaseException as error:
                errors.append(error)

        # In this thread's context, so that a cancellation of its work is one of the other's.
        run = contextvars.copy_context().run
        thread = threading.Thread(target=run, args=(call,), daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(POLL_S)
                self._raise_if_cancelled()
        except BaseException:
            self._abandoned.set()
            raise
        if errors:
            raise errors[0]
        return results[0]

    def _raise_if_cancelled(self) -> None:
        if self._cancel.is_set():
            raise _cancelled()


def _cancelled() -> Cancelled:
    return Cancelled("stopped on request", remedy="run it again to continue")
