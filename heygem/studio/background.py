"""Work beside the kernel's main thread; the newest request replaces all others."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import traitlets

from heygem.batch.workers.estimate import SmoothedTimeLeft
from heygem.core.errors import Cancelled
from heygem.core.types import Progress

log = logging.getLogger(__name__)

Work = Callable[[Progress, threading.Event], Any]


class LatestTask(traitlets.HasTraits):
    """Runs one function at a time on a thread and reports its progress through traits.

    While a preview is rendered, a moved control requests a newer one. A new request therefore
    cancels the running function and takes its place; requests in between are dropped, since
    nobody would look at their results.

    Attributes
    ----------
    busy : bool
    stage : str
        Current stage, as named by the function.
    done, total : int
        Steps of that stage; total 0 where unknown.
    remaining_s : float
        Estimated time left in this stage; 0 where unknown.
    stopped : bool
        Whether the last function was cancelled.
    error : BaseException or None
        Exception that ended the last function, if it was not cancelled. The next one clears it.
    """

    busy = traitlets.Bool(False)
    stopped = traitlets.Bool(False)
    stage = traitlets.Unicode("")
    done = traitlets.Int(0)
    total = traitlets.Int(0)
    remaining_s = traitlets.Float(0.0)
    error = traitlets.Any(None, allow_none=True)

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()  # an observer may submit the next function
        self._next: tuple[Work, Callable[[Any], None] | None] | None = None
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._idle = threading.Event()
        self._idle.set()
        self._stage_began_s = 0.0
        self._time_left = SmoothedTimeLeft()

    def submit(self, work: Work, on_done: Callable[[Any], None] | None = None) -> None:
        """Start `work(progress, cancel)` soon, in place of what is running now.

        Parameters
        ----------
        work : callable
            It may call `progress(stage, done, total)`, and has to check the `threading.Event`
            `cancel` often.
        on_done : callable, optional
            Called with the result on the background thread, unless the work was cancelled.
        """
        with self._lock:
            self._next = (work, on_done)
            self._cancel.set()
            self._idle.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, daemon=True, name="heygem")
                self._thread.start()

    def cancel(self) -> None:
        """Stop the running function and drop the next one."""
        with self._lock:
            self._next = None
            self._cancel.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until nothing runs; False when that took longer than `timeout_s`."""
        return self._idle.wait(timeout_s)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Report progress from inside the running function."""
        now_s = time.monotonic()
        if stage != self.stage or done == 0:
            self._stage_began_s = now_s
            self._time_left.restart()
        spent_s = now_s - self._stage_began_s
        left_s = 0.0
        if done and total > done >= total / 20:  # the first steps wait for what is compiled
            left_s = self._time_left.update(spent_s / done * (total - done))
        with self.hold_trait_notifications():
            self.stage, self.done, self.total = stage, int(done), int(total or 0)
            self.remaining_s = left_s

    def _loop(self) -> None:
        while True:
            with self._lock:
                if self._next is None:
                    self._thread = None
                    self._idle.set()
                    self._set_trait("busy", False)
                    return
                work, on_done = self._next
                self._next = None
                self._cancel = cancel = threading.Event()
            self._run(work, on_done, cancel)

    def _run(
        self, work: Work, on_done: Callable[[Any], None] | None, cancel: threading.Event
    ) -> None:
        self._set_trait("error", None)
        self._set_trait("stopped", False)
        self._set_trait("busy", True)
        try:
            result = work(self.progress, cancel)
            if on_done is not None and not cancel.is_set():
                on_done(result)
        except Cancelled:
            self._set_trait("stopped", True)
        except Exception as error:  # shown in the error box; the studio must stay alive
            if not cancel.is_set():
                log.debug("background work failed", exc_info=error)
                self._set_trait("error", error)
        finally:
            with self.hold_trait_notifications():
                self.stage, self.done, self.total, self.remaining_s = "", 0, 0, 0.0

    def _set_trait(self, name: str, value: Any) -> None:
        """Set a trait; an observer that fails to redraw must not end the thread."""
        try:
            setattr(self, name, value)
        except Exception:
            log.exception("an observer of %s failed", name)
