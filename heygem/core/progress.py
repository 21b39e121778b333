"""Progress of a batch as one line of text, in terminals and notebooks alike."""

import sys
import threading
from types import TracebackType
from typing import TextIO

from tqdm import tqdm


class Bar:
    """A progress bar of the current item: stage, share done, speed, time left.

    A context manager; pass it to `heygem.batch.runner.run(progress=...)`. It may be called from
    any thread.

    Parameters
    ----------
    stream : text stream, optional
        `sys.stderr` when not given. On a stream that is no terminal and no notebook, such as a log
        file, the bar is off.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._off = not self._stream.isatty() and not _in_notebook()
        self._lock = threading.Lock()
        self._bar: tqdm | None = None
        self._key: tuple[str, str] | None = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.clear()
        if _in_notebook():  # keep finished progress out of an executed notebook
            from IPython.display import clear_output

            clear_output()

    def __call__(
        self, name: str, number: int, count: int, stage: str, done: int, total: int
    ) -> None:
        """Show progress.

        Parameters
        ----------
        name : str
            Of the item.
        number, count : int
            The item's index from 0, and how many items there are.
        stage : str
        done, total : int
            Steps of the stage; `total` 0 means unknown.
        """
        with self._lock:
            if self._bar is None or (name, stage) != self._key:
                self._end()
                self._bar = tqdm(
                    total=total or None,
                    desc=f"[{number + 1}/{count}] {_short(name)}: {stage}",
                    file=self._stream,
                    unit="it" if total == 1 else " frames",
                    mininterval=0.5,
                    dynamic_ncols=True,
                    leave=False,
                    disable=self._off,
                )
                self._key = (name, stage)
            if self._off:
                return
            if total and self._bar.total != total:
                self._bar.total = total
            self._bar.update(max(0, done - self._bar.n))

    def clear(self) -> None:
        """Remove the bar from the screen, so that other text can be printed."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = self._key = None


def _short(name: str, length: int = 32) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _in_notebook() -> bool:
    """Whether this process is a notebook's kernel; an import of ipykernel alone is not enough."""
    if "ipykernel" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
