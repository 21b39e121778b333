"""Long work beside the kernel's main thread, the newest request first."""

import logging
import threading
import time

import traitlets

from heygem.core.errors import Cancelled

log = logging.getLogger(__name__)


class Worker(traitlets.HasTraits):
    """Runs one job at a time on a thread of its own and tells how it goes through traits.

    A knob that moves while a picture is being made asks for a newer picture. So a new job
    stops the running one and takes its place; jobs asked for in between are dropped, since
    nobody would see their result.

    Attributes
    ----------
    busy : bool
    stage : str
        What is being done, as the job names it.
    done, total : int
        Steps of that stage; total 0 where nobody knows.
    remaining_s : float
        Estimate of the time left in this stage; 0 where nobody knows.
    stopped : bool
        Whether the last job was stopped before its end.
    error : BaseException or None
        What ended the last job, if it was not cancelled. Cleared by the next one.
    """

    busy = traitlets.Bool(False)
    stopped = traitlets.Bool(False)
    stage = traitlets.Unicode("")
    done = traitlets.Int(0)
    total = traitlets.Int(0)
    remaining_s = traitlets.Float(0.0)
    error = traitlets.Any(None, allow_none=True)

    def __init__(self):
        super().__init__()
        self._lock = threading.RLock()  # an observer may ask for the next job
        self._waiting = None  # the newest job that has not begun
        self._cancel = threading.Event()
        self._thread = None
        self._idle = threading.Event()
        self._idle.set()
        self._stage_began = 0.0

    def submit(self, work, on_done=None):
        """Start `work(progress, cancel)` soon, in place of what runs now.

        Parameters
        ----------
        work : callable
            `progress(stage, done, total)` may be called from it, and `cancel` is a
            `threading.Event` that it looks at often.
        on_done : callable, optional
            Called with the result, on the worker's thread, unless the job was stopped.
        """
        with self._lock:
            self._waiting = (work, on_done)
            self._cancel.set()
            self._idle.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, daemon=True, name="heygem")
                self._thread.start()

    def cancel(self):
        """Stop the running job and forget the waiting one."""
        with self._lock:
            self._waiting = None
            self._cancel.set()

    def wait(self, timeout_s=None):
        """Block until nothing runs; False when that took longer than `timeout_s`."""
        return self._idle.wait(timeout_s)

    def progress(self, stage, done, total):
        """Report from inside a job."""
        now = time.monotonic()
        if stage != self.stage or done == 0:
            self._stage_began = now
        spent = now - self._stage_began
        left = spent / done * (total - done) if done and total > done else 0.0
        with self.hold_trait_notifications():
            self.stage, self.done, self.total = stage, int(done), int(total or 0)
            self.remaining_s = left

    def _loop(self):
        while True:
            with self._lock:
                if self._waiting is None:
                    self._thread = None
                    self._idle.set()
                    self._quietly("busy", False)
                    return
                work, on_done = self._waiting
                self._waiting = None
                self._cancel = cancel = threading.Event()
            self._run(work, on_done, cancel)

    def _run(self, work, on_done, cancel):
        self._quietly("error", None)
        self._quietly("stopped", False)
        self._quietly("busy", True)
        try:
            result = work(self.progress, cancel)
            if on_done is not None and not cancel.is_set():
                on_done(result)
        except Cancelled:
            self._quietly("stopped", True)
        except Exception as error:  # shown in the error box; the studio must stay alive
            if not cancel.is_set():
                log.debug("job failed", exc_info=error)
                self._quietly("error", error)
        finally:
            with self.hold_trait_notifications():
                self.stage, self.done, self.total, self.remaining_s = "", 0, 0, 0.0

    def _quietly(self, name, value):
        """Set a trait; a view that fails to redraw must not end the worker."""
        try:
            setattr(self, name, value)
        except Exception:
            log.exception("a view of %s failed", name)
