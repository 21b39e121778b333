"""Progress of a batch as one line of text, for terminals and notebooks alike."""

import sys
import threading

from tqdm import tqdm


class Bar:
    """Shows the stage of the item at work: how far, how fast, how long still.

    Use it as a context manager and hand it to `heygem.batch.runner.run(progress=...)`; it may
    be called from any thread.
    """

    def __init__(self, stream=None):
        self._stream = stream or sys.stderr
        # A log file wants no line that redraws itself; a notebook's stream can show one.
        self._off = not self._stream.isatty() and "ipykernel" not in sys.modules
        self._lock = threading.Lock()
        self._bar = None
        self._key = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.clear()
        if "ipykernel" in sys.modules:  # an executed notebook is no place for old progress
            from IPython.display import clear_output

            clear_output()

    def __call__(self, name, number, count, stage, done, total):
        with self._lock:
            key = (name, stage)
            if key != self._key:
                self._end()
                title = f"[{number + 1}/{count}] {_short(name)}: {stage}"
                self._bar = tqdm(
                    total=total or None,
                    desc=title,
                    file=self._stream,
                    unit="it" if total == 1 else " frames",
                    mininterval=0.5,
                    dynamic_ncols=True,
                    leave=False,
                    disable=self._off,
                )
                self._key = key
            if self._off:
                return
            if total and self._bar.total != total:
                self._bar.total = total
            self._bar.update(max(0, done - self._bar.n))

    def clear(self):
        """Take the line away, so that something else can be printed."""
        with self._lock:
            self._end()

    def _end(self):
        if self._bar is not None:
            self._bar.close()
        self._bar = self._key = None


def _short(name, length=32):
    return name if len(name) <= length else name[: length - 1] + "…"
